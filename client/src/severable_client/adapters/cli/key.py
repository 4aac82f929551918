"""`key rotate` and `key show`: the statement key."""

import typer

from severable_client.adapters import rotation
from severable_client.adapters.cli.options import DEFAULT_HOME, Format, FormatOption, HomeOption, YesOption, write_json
from severable_client.adapters.keys import read_former, read_public, read_witness
from severable_client.adapters.lock import held
from severable_client.bootstrap import now, open_home
from severable_client.errors import HomeError
from severable_client.ports import JournalEntry

app = typer.Typer(no_args_is_help=True)


@app.command(epilog="Example: severable-client key rotate")
def rotate(yes: YesOption = False, home: HomeOption = DEFAULT_HOME) -> None:
    """Replace the statement key: after staff left, or once a year. A stolen key needs `party revoke` instead.

    Stop the daemon first. Contracts and shards signed under the old key stay valid; nothing new is accepted under it.
    """
    opened = open_home(home)
    if opened.config.statement_key:
        raise HomeError(f"the statement key is not in this home but at {opened.config.statement_key}: rotate it there")
    with held(opened.layout.lock):
        rotation.require_idle(opened.jobs)
        if not yes:
            typer.confirm("replace the statement key? The old one signs nothing any more", abort=True)
        opened.journal.note(JournalEntry(at=now(), what="new public statement key", subject="key rotation", bytes=0))
        with opened.exchange() as exchange:
            key = rotation.rotate(opened.layout, opened.config.party, opened.trust_root, exchange, now())
    print(f"the statement key is now {key.key_id}")
    print("start the daemon again; back up the new key")


@app.command(epilog="Example: severable-client key show")
def show(how: FormatOption = Format.TEXT, home: HomeOption = DEFAULT_HOME) -> None:
    """Show this party's public keys, to compare them with what the coordinator's `party list` says."""
    opened = open_home(home)
    facts = {
        "statement_key": read_public(opened.layout).key_id,
        "former_keys": [key.key_id for key in read_former(opened.layout)],
        "witness_key": read_witness(opened.layout, opened.config.party).vkey,
    }
    if how is Format.JSON:
        write_json(facts)
        return
    typer.echo(f"statement key: {facts['statement_key']}")
    for key_id in facts["former_keys"]:
        typer.echo(f"before that:   {key_id}")
    typer.echo(f"witness key:   {facts['witness_key']}")
