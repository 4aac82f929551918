"""`removals`, `remove order` and `remove deny`: what is under way, ordering a removal, and refusing one."""

from datetime import datetime
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.adapters.cli.remove import remove
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.enforcement import trigger_of
from severable_coordinator.errors import ConflictError, NotFoundError
from severable_coordinator.orders import Cause
from severable_coordinator.ports import RemovalRecord
from severable_trust.contract import ContractState
from severable_trust.denial import DenialReason
from severable_trust.order import OrderClause, OrderReason, read_trigger
from severable_trust.removal import Acknowledgement
from severable_trust.statement import read_unverified

EXAMPLE = "Example: severable-coordinator removals --format json"
GROUP_EXAMPLE = "Example: severable-coordinator remove hospital-a --out receipt.json"
HELP = "Carry out the removals that are due (`remove`, `remove PARTY`), order one, or deny one."
_DEFAULT = "carry-out"
_SHORT = 19  # "sha256:" and twelve digits


class _OrParty(TyperGroup):
    """A group whose first word may be a party's name: then `carry-out` is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in front unless one is named, or help is asked for."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_OrParty, no_args_is_help=False)
app.command(_DEFAULT)(remove)


@app.command(epilog="Example: severable-coordinator remove order hospital-a --reason-code legal-order --reason '...'")
def order(
    party: Annotated[str, typer.Argument(help="The party whose shards are to go.")],
    reason_code: Annotated[OrderReason, typer.Option(help="Why, one of a termination's reasons.")] = (
        OrderReason.OPERATOR_DECISION
    ),
    reason: Annotated[str, typer.Option(help="Why, in words; the party reads them.")] = "",
    evidence: Annotated[str, typer.Option(help="What shows it, in words.")] = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Terminate a party's contract in the coordinator's name, with its notice, and order the removal of its shards.

    The order is signed, logged and carried out like a party's request. For a breach there is `contract breach`.
    """
    coordinator = open_home(home)
    cause = Cause(clause=OrderClause.TERMINATION, code=reason_code, reason=reason, evidence=evidence)
    said(coordinator, coordinator.orders.order(_contract_of(coordinator, party), cause))


@app.command(
    epilog="Example: severable-coordinator remove deny sha256:3f2a --reason-code retained-by-law --reason '...'"
)
def deny(
    request: Annotated[str, typer.Argument(help="The request's or order's id, or its beginning.")],
    reason_code: Annotated[DenialReason, typer.Option(help="Why, one of a closed list.")],
    reason: Annotated[str, typer.Option(help="Why, in words; the party reads them.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """End a removal that has not begun without carrying it out, by a signed and logged denial."""
    coordinator = open_home(home)
    if reason_code is DenialReason.OVERTAKEN:
        raise ConflictError("reason overtaken is found by the coordinator itself; give another one")
    asked = find(coordinator, request)
    with coordinator.withdrawal.turns.carrying_out(asked.party):
        record = coordinator.orders.deny(coordinator.removals.removal(asked.request), reason_code, reason)
    print(f"request {record.request} of {record.party} is {record.state}: {reason_code}")


def removals(how: As = Format.TEXT, home: Home = DEFAULT_HOME) -> None:
    """List every removal: what started it, where it stands, what is due, and what keeps it from going on.

    Parties that are revoked and wait for the operator's decision are listed at the end.
    """
    coordinator = open_home(home)
    rows = [_row(coordinator, record, coordinator.clock()) for record in coordinator.removals.removals()]
    for party, contract in coordinator.enforcement.undecided():
        rows.append(
            dict.fromkeys(rows[0] if rows else _FIELDS, "")
            | {"party": party, "state": "undecided", "trigger": "revoked key", "reason": "see `remove order`"}
            | {"contract": str(contract) if how is Format.JSON else str(contract)[:_SHORT]}
        )
    if how is Format.TEXT:
        rows = [{name: _short(value) for name, value in row.items()} for row in rows]
    listing(rows, how, "no removal yet")


_FIELDS = (
    "party", "state", "trigger", "reason", "due", "expected", "step", "overdue", "failures", "trouble", "contract",
    "request",
)  # fmt: skip


def _row(coordinator: Coordinator, record: RemovalRecord, now: datetime) -> dict[str, Any]:
    trigger = read_trigger(record.envelope)
    expected = read_unverified(record.acknowledgement, Acknowledgement).expected_completion
    trouble = coordinator.removals.troubles().get(record.request)
    steps = coordinator.removals.steps(record.request)
    values = (
        record.party,
        record.state,
        trigger_of(record),
        str(trigger.reason_code),
        f"{coordinator.requests.due(record):%Y-%m-%d %H:%M}",
        f"{expected:%Y-%m-%d %H:%M}",
        list(steps)[-1] if steps and not record.ended else "",
        not record.ended and now > expected,
        trouble.failures if trouble and not record.ended else 0,
        trouble.line if trouble and not record.ended else "",
        str(record.contract),
        str(record.request),
    )
    return dict(zip(_FIELDS, values, strict=True))


def _short(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else ""
    return value[:_SHORT] if isinstance(value, str) and value.startswith("sha256:") else value


def find(coordinator: Coordinator, beginning: str) -> RemovalRecord:
    """The one removal whose request's id begins so. NotFoundError when there is none, or more than one."""
    wanted = beginning.removeprefix("sha256:")
    found = [record for record in coordinator.removals.removals() if record.request.hex.startswith(wanted)]
    if len(found) != 1:
        raise NotFoundError(f"{len(found)} requests begin with {beginning!r}; `removals` shows their ids")
    return found[0]


def said(coordinator: Coordinator, record: RemovalRecord) -> None:
    """Say that a removal was ordered, and when it is due."""
    due = coordinator.requests.due(record)
    print(f"removal of {record.party} is ordered ({trigger_of(record)}): request {record.request}")
    print(f"due {due:%Y-%m-%d %H:%M} UTC; `up` carries it out then, or `remove {record.party}`")


def _contract_of(coordinator: Coordinator, party: str) -> Any:
    coordinator.parties.party(party)
    signed = [
        contract
        for contract in coordinator.contracts.contracts(party)
        if contract.state not in (ContractState.OFFERED, ContractState.SIGNED, ContractState.SUPERSEDED)
    ]
    if not signed:
        raise NotFoundError(f"{party} has signed no contract: nothing of it is here to remove")
    return signed[-1].id
