"""`contract offer`, `template`, `list`, `show`, `suspend`, `resume` and `breach`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_GROUP, DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.adapters.cli.removals import said
from severable_coordinator.adapters.terms_file import TEMPLATE, Draft, read_terms
from severable_coordinator.bootstrap import Coordinator, open_home, read_recipe
from severable_coordinator.errors import ConfigError, NotFoundError
from severable_coordinator.offers import Terms
from severable_coordinator.orders import Cause
from severable_coordinator.ports import ContractRecord, ContractStore
from severable_trust.contract import Action, Contract, describe
from severable_trust.digest import Digest
from severable_trust.order import OrderClause, OrderReason
from severable_trust.statement import read_unverified, statement_id
from severable_trust.terms import MAX_SUB_SHARDS

app = typer.Typer(no_args_is_help=True)
ContractId = Annotated[str, typer.Argument(help="The contract's id, or its beginning.")]


_TERMS = ("target", "permit", "group", "days", "notice_days", "deletion_days", "weight", "min_images", "ceiling",
          "sub_shards", "law", "basis")  # fmt: skip


@app.command(epilog="Example: severable-coordinator contract offer hospital-a --recipe digits.json --terms terms.yaml")
def offer(
    context: typer.Context,
    parties: Annotated[list[str], typer.Argument(metavar="PARTY...", help="The party or parties to offer it to.")],
    recipe: Annotated[Path, typer.Option(help="The recipe (JSON) that shards under this contract follow.")],
    terms: Annotated[
        Path | None, typer.Option(help="Take all terms from this YAML file; `contract template` prints one.")
    ] = None,
    amends: Annotated[
        str, typer.Option(help="The contract in force that this amends: its id, or its beginning (one party).")
    ] = "",
    target: Annotated[str, typer.Option(help="Name of the party's data set.")] = "images",
    permit: Annotated[list[Action] | None, typer.Option(help="An action to permit; repeat it. All by default.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="An access group that may hold composites; repeat it.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="Days from now until the contract ends.")] = 365,
    notice_days: Annotated[int, typer.Option(min=0, help="Days of notice before a termination takes effect.")] = 0,
    deletion_days: Annotated[int, typer.Option(min=0, help="Days that a removal may take.")] = 7,
    weight: Annotated[float, typer.Option(help="lambda: the shard's weight in a composite, over 0.")] = 1.0,
    min_images: Annotated[int, typer.Option(min=1, help="Smallest data set that may become a shard.")] = 64,
    ceiling: Annotated[float, typer.Option(min=0, max=1, help="Largest share of memorized samples.")] = 0.1,
    sub_shards: Annotated[
        int, typer.Option(min=1, max=MAX_SUB_SHARDS, help="Shards that the party's records are divided over.")
    ] = 1,
    law: Annotated[str, typer.Option(help="Governing law.")] = "to be agreed",
    basis: Annotated[str, typer.Option(help="Legal basis.")] = "contract",
    home: Home = DEFAULT_HOME,
) -> None:
    """Sign an offer for each party; it fetches its own with `severable-client contract review`."""
    coordinator = open_home(home)
    if amends and len(parties) != 1:
        raise ConfigError(f"--amends is for one contract of one party, {len(parties)} parties are given")
    previous = find(coordinator.contracts, amends).id if amends else None
    draft = Draft(
        Terms(
            target=target,
            permissions=tuple(permit or Action),
            recipients=tuple(group or [DEFAULT_GROUP]),
            days=days,
            notice_days=notice_days,
            weight=weight,
            min_images=min_images,
            memorization_ceiling=ceiling,
            sub_shards=sub_shards,
            deletion_days=deletion_days,
            governing_law=law,
            legal_basis=basis,
        )
    )
    if terms is not None:
        _refuse_terms_twice(context, terms)
        draft = read_terms(terms)
    _sign_offers(coordinator, parties, recipe, draft, previous)


def _sign_offers(
    coordinator: Coordinator, parties: list[str], recipe: Path, draft: Draft, previous: Digest | None
) -> None:
    record, further = read_recipe(recipe), [read_recipe(path) for path in draft.recipes]
    for other in further:
        coordinator.contracts.add_recipe(other)
    terms = replace(draft.terms, recipes=(*draft.terms.recipes, *(other.digest for other in further)))
    for party in parties:
        envelope = coordinator.contracting.offer(party, record, terms, previous)
        print(f"contract {statement_id(envelope)} offered to {party}")


def _refuse_terms_twice(context: typer.Context, terms: Path) -> None:
    for name in _TERMS:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ConfigError(
                f"--{name.replace('_', '-')}: the terms are in {terms}; say it there or leave --terms out"
            )


@app.command(epilog="Example: severable-coordinator contract template > terms.yaml")
def template() -> None:
    """Print a terms file with comments, to fill in and offer with --terms."""
    print(TEMPLATE.read_text(encoding="utf-8"), end="")


@app.command("list", epilog="Example: severable-coordinator contract list --format json")
def list_contracts(how: As = Format.TEXT, home: Home = DEFAULT_HOME) -> None:
    """List contracts and their states."""
    rows: list[dict[str, object]] = []
    for record in open_home(home).contracts.contracts():
        contract = read_unverified(record.envelope, Contract)
        rows.append(
            {
                "party": record.party,
                "state": record.state.value,
                "version": contract.version,
                "until": f"{contract.valid_until:%Y-%m-%d}",
                "groups": ",".join(contract.recipients),
                "id": str(record.id),
            }
        )
    listing(rows, how, "no contract yet; make one with `contract offer PARTY --recipe FILE`")


@app.command(epilog="Example: severable-coordinator contract show sha256:3f2a")
def show(contract: ContractId, home: Home = DEFAULT_HOME) -> None:
    """Show a contract in plain sentences."""
    record = find(open_home(home).contracts, contract)
    print(f"contract {record.id} with {record.party}: {record.state}")
    print(describe(read_unverified(record.envelope, Contract)))


@app.command(epilog="Example: severable-coordinator contract suspend sha256:3f2a")
def suspend(contract: ContractId, home: Home = DEFAULT_HOME) -> None:
    """Put a contract on hold: nothing is trained, composed, sampled or exported under it until `resume`."""
    coordinator = open_home(home)
    record = find(coordinator.contracts, contract)
    coordinator.contracting.suspend(record)
    print(f"contract {record.id} with {record.party} is suspended; `contract resume` puts it in force again")


@app.command(epilog="Example: severable-coordinator contract resume sha256:3f2a")
def resume(contract: ContractId, home: Home = DEFAULT_HOME) -> None:
    """Put a suspended contract in force again."""
    coordinator = open_home(home)
    record = find(coordinator.contracts, contract)
    coordinator.contracting.resume(record)
    print(f"contract {record.id} with {record.party} is in force again")


@app.command(
    epilog="Example: severable-coordinator contract breach sha256:3f2a --reason-code false-statement --evidence '...'"
)
def breach(
    contract: ContractId,
    reason_code: Annotated[OrderReason, typer.Option(help="What was broken, one of a breach's reasons.")],
    evidence: Annotated[str, typer.Option(help="What shows it, in words; the party and every auditor read them.")],
    reason: Annotated[str, typer.Option(help="More words.")] = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Find a breach: the contract ends at once, and the removal of the party's shards is ordered, signed and logged."""
    coordinator = open_home(home)
    record = find(coordinator.contracts, contract)
    cause = Cause(clause=OrderClause.BREACH, code=reason_code, reason=reason, evidence=evidence)
    said(coordinator, coordinator.orders.order(record.id, cause))


def find(contracts: ContractStore, beginning: str) -> ContractRecord:
    """The one contract whose id begins so. NotFoundError when there is none, or more than one."""
    wanted = beginning.removeprefix("sha256:")
    found = [record for record in contracts.contracts() if record.id.hex.startswith(wanted)]
    if len(found) != 1:
        raise NotFoundError(f"{len(found)} contracts begin with {beginning!r}; `contract list` shows their ids")
    return found[0]
