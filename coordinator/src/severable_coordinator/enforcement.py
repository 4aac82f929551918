"""What the contracts and requests say is due: the loop in `up` asks here, does it, and asks again.

Everything is read from the records, nothing is remembered between two looks: a coordinator that was down for a week
finds the same as one that was not. Times that matter are those of confirmed_time.py.
"""

from dataclasses import dataclass
from datetime import datetime

from severable_coordinator.errors import CoordinatorError
from severable_coordinator.membership import PartyStore
from severable_coordinator.orders import IN_FORCE, Orders
from severable_coordinator.ports import ContractStore, RemovalRecord, RemovalStore
from severable_coordinator.removal_steps import TOLD
from severable_coordinator.requests import Requests
from severable_trust.contract import Contract, ContractState
from severable_trust.digest import Digest
from severable_trust.errors import TrustError
from severable_trust.order import RemovalOrder, read_trigger
from severable_trust.removal import RECORDS, Acknowledgement
from severable_trust.roster import PartyStatus
from severable_trust.statement import read_unverified

_MAY_EXPIRE = IN_FORCE | {ContractState.OFFERED, ContractState.SIGNED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforcement:
    """Finds what is due."""

    contracts: ContractStore
    parties: PartyStore
    removals: RemovalStore
    requests: Requests
    orders: Orders

    def settle(self, now: datetime | None) -> list[RemovalRecord]:
        """Bring contracts up to date; returns the removals that were ordered for it. Done twice, it does nothing.

        Contracts of open orders are ended, and those whose term is over.

        Args:
            now: the confirmed time (UTC), or None: then no term is looked at.

        Raises:
            CoordinatorError, TrustError: a contract could not be ended; the others were.
        """
        for record in self.removals.removals():
            if not record.ended:
                self.orders.enact(record)
        return [] if now is None else self._expire(now)

    def _expire(self, now: datetime) -> list[RemovalRecord]:
        ordered, problems = list[RemovalRecord](), list[Exception]()
        for contract in self.contracts.contracts():
            if contract.state not in _MAY_EXPIRE or read_unverified(contract.envelope, Contract).valid_until > now:
                continue
            try:
                if (record := self.orders.expire(contract)) is not None:
                    ordered.append(record)
            except (CoordinatorError, TrustError) as error:  # one contract's trouble is not the others'
                problems.append(error)
        if problems:
            raise problems[0]
        return ordered

    def due(self, now: datetime | None) -> list[RemovalRecord]:
        """Removals to carry out: first those that have begun, then those that may begin, in the order of the requests.

        Args:
            now: the confirmed time (UTC), or None: then only what is due by no clock, since it was due when it came.
        """
        waiting = [record for record in self.removals.removals() if not record.ended]
        begun = [record for record in waiting if record.state == "in_progress"]
        return begun + [r for r in waiting if r.state == "open" and self._may_begin(r, now)]

    def _may_begin(self, record: RemovalRecord, now: datetime | None) -> bool:
        due = self.requests.due(record)
        received = read_unverified(record.acknowledgement, Acknowledgement).received
        return due <= received or (now is not None and due <= now)

    def untold(self) -> list[RemovalRecord]:
        """Removals that have ended, whose notices were not written down: a crash came between."""
        return [r for r in self.removals.removals() if r.ended and TOLD not in self.removals.steps(r.request)]

    def undecided(self) -> list[tuple[str, Digest]]:
        """Revoked parties with shards and no removal under way: party and contract. The operator decides."""
        revoked = {party.id for party in self.parties.parties() if party.status == PartyStatus.REVOKED}
        under_way = {record.party for record in self.removals.removals() if not record.ended}
        return [
            (contract.party, contract.id)
            for contract in self.contracts.contracts()
            if contract.party in revoked - under_way
            and contract.state is ContractState.SUSPENDED
            and self.orders.left(contract.id)
        ]


def trigger_of(record: RemovalRecord) -> str:
    """What started a removal, in a word: `request`, `record-erasure`, or an order's clause."""
    trigger = read_trigger(record.envelope)
    if isinstance(trigger, RemovalOrder):
        return trigger.clause.value
    return RECORDS if trigger.clause == RECORDS else "request"
