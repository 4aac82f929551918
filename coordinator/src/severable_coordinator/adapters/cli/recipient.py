"""`recipient add`, `recipient list` and `recipient exports`: who is handed copies, and what they were handed."""

from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.bootstrap import open_home
from severable_coordinator.errors import ConfigError
from severable_coordinator.recalls import Recipient
from severable_trust.keys import PublicKey
from severable_trust.terms import check_id

app = typer.Typer(no_args_is_help=True)
_MAX_KEY = 65536  # bytes


@app.command(epilog="Example: severable-coordinator recipient add museum --key museum.pub.pem")
def add(
    name: Annotated[str, typer.Argument(help="The recipient's id: letters, digits, '.', '_', '-'.")],
    key: Annotated[Path, typer.Option(help="Its public key (PEM, P-256), with which it signs answers to recalls.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Put a recipient's public key on record. Compare it with the recipient by another channel first."""
    check_id(name, "recipient")
    try:
        with key.open("rb") as stream:
            read = PublicKey.from_pem(stream.read(_MAX_KEY))
    except OSError as error:
        raise ConfigError(f"{key}: cannot be read ({error.strerror}); give the recipient's public key") from error
    open_home(home).recalling.add_recipient(Recipient(id=name, key=read))
    print(f"{name} signs its answers with key {read.key_id[:16]}")


@app.command("list", epilog="Example: severable-coordinator recipient list --format json")
def list_recipients(how: As = Format.TEXT, home: Home = DEFAULT_HOME) -> None:
    """List everybody who was handed a copy, with the key on record and the number of exports."""
    recalling = open_home(home).recalling
    exports = recalling.store.exports()
    names = {known.id for known in recalling.store.recipients()} | {export.recipient for export in exports}
    rows: list[dict[str, object]] = []
    for name in sorted(names):
        key, handed = recalling.key_of(name), [export for export in exports if export.recipient == name]
        rows.append(
            {
                "recipient": name,
                "key": key.key_id[:16] if key else "",
                "exports": len(handed),
                "last": f"{handed[-1].at:%Y-%m-%d %H:%M}" if handed else "",
            }
        )
    listing(rows, how, "nobody was handed anything; `assemble --out` and `shards export` do")


@app.command(epilog="Example: severable-coordinator recipient exports --format json")
def exports(how: As = Format.TEXT, home: Home = DEFAULT_HOME) -> None:
    """List every copy that was handed out: when, to whom, what, how many shards in it, its digest."""
    rows: list[dict[str, object]] = [
        {
            "at": f"{export.at:%Y-%m-%d %H:%M:%S}",
            "recipient": export.recipient,
            "what": export.artifact.value,
            "group": export.group,
            "shards": len(export.shards),
            "digest": str(export.digest),
        }
        for export in open_home(home).recalls.exports()
    ]
    listing(rows, how, "nothing was handed out; `assemble --out` and `shards export` do")
