"""`contract list | review | sign | terminate`."""

import uuid
from dataclasses import asdict
from typing import Annotated

import typer

from severable_client.adapters.cli.options import (
    DEFAULT_HOME,
    Format,
    FormatOption,
    HomeOption,
    YesOption,
    short,
    write_json,
    write_table,
)
from severable_client.adapters.recipe_words import describe_recipe
from severable_client.bootstrap import Home, now, open_home
from severable_client.contracts import FINAL, amended, find, open_contract, refresh, sign_contract, versions
from severable_client.errors import ContractProblemError, UnreachableError
from severable_client.ports import ContractRecord
from severable_client.removal import make_request, shipped_shards
from severable_client.removal import terminate as end_contract
from severable_trust.amendment import changes, describe_changes
from severable_trust.contract import Contract, ContractState
from severable_trust.contract import describe as describe_contract
from severable_trust.statement import read_unverified

app = typer.Typer(no_args_is_help=True)

IdArgument = Annotated[
    str,
    typer.Argument(metavar="[ID]", help="The contract's id or its first digits; may be left out if there is only one."),
]


@app.command("list", epilog="Example: severable-client contract list --format json")
def list_contracts(home: HomeOption = DEFAULT_HOME, how: FormatOption = Format.TEXT) -> None:
    """List contracts, as the coordinator has them; as last known when it cannot be reached."""
    opened = open_home(home)
    try:
        records = _refreshed(opened)
    except UnreachableError as error:
        typer.echo(f"severable-client: {error}; this is as last known", err=True)
        records = opened.contracts.all()
    rows = [_row(record) for record in records]
    if how is Format.JSON:
        write_json(rows)
        return
    for row in rows:
        row["id"] = short(row["id"])
    write_table(rows, "no contract yet; the coordinator offers one")


@app.command("review", epilog="Example: severable-client contract review")
def review(contract_id: IdArgument = "", home: HomeOption = DEFAULT_HOME, how: FormatOption = Format.TEXT) -> None:
    """Fetch an offer and show in plain words what signing it would mean."""
    opened = open_home(home)
    record = _chosen(contract_id, _refreshed(opened), {ContractState.OFFERED}, "on offer", opened)
    proven = open_contract(record.envelope, opened.sides)
    contract = proven.value
    before = amended(proven, opened.holdings) if record.state is ContractState.OFFERED else None
    if how is Format.JSON:
        found = [asdict(change) for change in changes(before, contract)] if before else []
        write_json(_row(record) | {"contract": contract.to_predicate(), "changes": found})
        return
    _show(record, contract, opened)
    if before is not None:
        typer.echo(f"\n{describe_changes(before, contract)}")
    if record.state is ContractState.OFFERED:
        typer.echo(f"\nTo sign it: severable-client contract sign {short(record.id)}")


@app.command("sign", epilog="Example: severable-client contract sign 3f2a9c --yes")
def sign(
    contract_id: IdArgument = "",
    home: HomeOption = DEFAULT_HOME,
    yes: YesOption = False,
    how: FormatOption = Format.TEXT,
) -> None:
    """Sign an offer: from then on the coordinator may ask this machine to train under its terms."""
    opened = open_home(home)
    record = _chosen(contract_id, _refreshed(opened), {ContractState.OFFERED}, "on offer", opened)
    proven = open_contract(record.envelope, opened.sides)
    contract, before = proven.value, amended(proven, opened.holdings)
    if not yes:
        _show(record, contract, opened)
        if before is not None:
            typer.echo(f"\n{describe_changes(before, contract)}")
        typer.confirm(f"\nSign this contract as {contract.assigner.legal_name}?", abort=True)
    with opened.exchange() as exchange:
        kept = sign_contract(record, opened.signer(), exchange, opened.holdings)
    if how is Format.JSON:
        write_json(_row(kept))
        return
    typer.echo(f"contract {short(kept.id)} is {kept.state}; next: severable-client approve, and up")


@app.command("terminate", epilog="Example: severable-client contract terminate --reason 'consent withdrawn'")
def terminate(
    reason: Annotated[str, typer.Option("--reason", help="One line that goes into the request and the log.")],
    contract_id: IdArgument = "",
    home: HomeOption = DEFAULT_HOME,
    yes: YesOption = False,
    how: FormatOption = Format.TEXT,
) -> None:
    """End a contract and ask for the erasure of every shard that was admitted under it."""
    opened = open_home(home)
    standing = {state for state in ContractState if state not in FINAL | {ContractState.OFFERED}}
    record = _chosen(contract_id, opened.contracts.all(), standing, "in force", opened)
    contract = open_contract(record.envelope, opened.sides).value
    jobs = opened.jobs.all()
    shipped = [shard for version in versions(record, opened.contracts) for shard in shipped_shards(jobs, version)]
    asked_back = {shard for removal in opened.removals.all() for shard in removal.says.subjects}
    shards = tuple(shard for shard in shipped if shard not in asked_back)
    if not yes:
        typer.echo(f"Contract {contract.uid} ends with {contract.notice_days} days' notice; {len(shards)} shards go.")
        typer.confirm("Terminate it? This cannot be taken back.", abort=True)
    request = make_request(
        record, shards, party=opened.config.party, reason=reason, request_id=str(uuid.uuid4()), at=now()
    )
    with opened.exchange() as exchange:
        signer = opened.signer()
        removal = end_contract(record, request, signer, exchange, opened.holdings, removals=opened.removals)
    answer, asked = removal.answer, removal.says
    due = "" if answer is None else f"{answer.expected_completion:%Y-%m-%d %H:%M} UTC"
    if how is Format.JSON:
        subjects = [str(shard) for shard in asked.subjects]
        write_json({"request": str(removal.id), "contract": record.id, "shards": subjects, "expected": due})
        return
    typer.echo(f"contract {short(record.id)} is terminated; {len(asked.subjects)} shards are to be erased")
    typer.echo(f"request {removal.id} is acknowledged; receipt expected by {due}")
    typer.echo("`severable-client status` shows the receipt when it is there")


def _refreshed(home: Home) -> tuple[ContractRecord, ...]:
    with home.exchange() as exchange:
        return refresh(exchange, home.holdings, lambda line: typer.echo(f"severable-client: {line}", err=True))


def _chosen(
    given: str, records: tuple[ContractRecord, ...], states: set[ContractState], what: str, home: Home
) -> ContractRecord:
    """Return the contract with the given id, or the only one in these states."""
    if given:
        return find(given, home.contracts)
    fitting = [record for record in records if record.state in states]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise ContractProblemError(f"no contract is {what}; see `severable-client contract list`")
    ids = ", ".join(short(record.id) for record in fitting)
    raise ContractProblemError(f"{len(fitting)} contracts are {what}; name one of {ids}")


def _row(record: ContractRecord) -> dict[str, str]:
    contract = read_unverified(record.envelope, Contract)  # verified when it was received
    return {
        "id": record.id,
        "state": record.state.value,
        "target": contract.target,
        "coordinator": contract.assignee.legal_name,
        "until": f"{contract.valid_until:%Y-%m-%d}",
    }


def _show(record: ContractRecord, contract: Contract, home: Home) -> None:
    typer.echo(describe_contract(contract))
    for digest in contract.recipes:
        typer.echo(f"\nRecipe {short(str(digest))}:")
        typer.echo(describe_recipe(home.recipes.get(str(digest))))
    typer.echo(f"\nContract id: {record.id} ({record.state})")
