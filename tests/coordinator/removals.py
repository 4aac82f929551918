"""Removals by every trigger, for tests that walk them: what starts each, in a world with one party."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from coordinator.federation import World

from severable_coordinator.orders import Cause
from severable_coordinator.ports import RemovalRecord
from severable_trust.contract import ContractState
from severable_trust.digest import Digest
from severable_trust.order import OrderClause, OrderReason
from severable_trust.removal import RECORDS, ErasureRequest
from severable_trust.statement import sign_statement

PARTY = "agency"
NOTICE_DAYS = 30
DAYS = 365


@dataclass(frozen=True)
class Way:
    """One way for a removal to start.

    Attributes:
        start: starts it; it takes the world and the contract.
        ends: the state that the contract is in then.
        waits: how long after that it is due.
        ordered: whether the coordinator ordered it, and the party did not ask.
    """

    start: Callable[[World, Digest], RemovalRecord]
    ends: ContractState
    waits: timedelta
    ordered: bool = True


def _request(world: World, contract: Digest) -> RemovalRecord:
    return world.coordinator.requests.receive(PARTY, world.ask_for_erasure(PARTY, contract))


def records_erased(world: World, contract: Digest, **changes: Any) -> RemovalRecord:
    """The party asks for the replacement of all its live shards, or as changed."""
    usual: dict[str, Any] = {
        "request_id": str(uuid.uuid4()),
        "party": PARTY,
        "contract": contract,
        "clause": RECORDS,
        "reason_code": "record-erased",
        "reason": "",
        "subjects": tuple(shard.id for shard in world.coordinator.shards.shards(party=PARTY)),
        "submitted": world.clock(),
    }
    request = sign_statement(ErasureRequest(**(usual | changes)), world.owners[PARTY].signer)
    return world.coordinator.requests.receive(PARTY, request)


def _expiry(world: World, _contract: Digest) -> RemovalRecord:
    world.clock.advance(days=DAYS)
    (ordered,) = world.coordinator.enforcement.settle(world.clock())
    return ordered


def ordered(world: World, contract: Digest, code: OrderReason = OrderReason.LEGAL_ORDER) -> RemovalRecord:
    """The operator terminates the contract."""
    return world.coordinator.orders.order(contract, Cause(clause=OrderClause.TERMINATION, code=code, reason="ordered"))


def _breach(world: World, contract: Digest) -> RemovalRecord:
    cause = Cause(clause=OrderClause.BREACH, code=OrderReason.FALSE_STATEMENT, evidence="the claim names other images")
    return world.coordinator.orders.order(contract, cause)


def _revoked(world: World, contract: Digest) -> RemovalRecord:
    world.standing.revoke(PARTY)
    assert world.coordinator.contracts.contract(contract).state is ContractState.SUSPENDED
    wanted = [(PARTY, contract)] if world.coordinator.shards.shards() else []
    assert world.coordinator.enforcement.undecided() == wanted
    return ordered(world, contract, OrderReason.KEY_REVOKED)


_NOTICE, _NONE = timedelta(days=NOTICE_DAYS), timedelta()
WAYS = {
    "request": Way(_request, ContractState.TERMINATED, _NOTICE, ordered=False),
    "record-erasure": Way(records_erased, ContractState.ACTIVE, _NONE, ordered=False),
    "expiry": Way(_expiry, ContractState.EXPIRED, _NONE),
    "termination": Way(ordered, ContractState.TERMINATED, _NOTICE),
    "breach": Way(_breach, ContractState.BREACHED, _NONE),
    "revoked key": Way(_revoked, ContractState.TERMINATED, _NOTICE),
}


def agreed(world: World, **changes: Any) -> Digest:
    """The party's contract, with notice; its shard is shipped unless `ship` is false."""
    ship = changes.pop("ship", True)
    world.join(PARTY)
    contract = world.agree(PARTY, **({"notice_days": NOTICE_DAYS, "days": DAYS} | changes))
    if ship:
        world.ship(PARTY)
    return contract
