"""Removals as the coordinator decides about them: ordering one, denying one, letting one lapse that was overtaken.

An order is signed, logged and acknowledged like a party's request, and what follows is the same removal. It is opened
before its contract is ended, and ending it again does no harm: a crash between the two is made good by `enact`.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from severable_coordinator.contracting import Contracting
from severable_coordinator.errors import ConflictError
from severable_coordinator.logbook import Logbook
from severable_coordinator.ports import (
    Clock,
    ContractRecord,
    ContractStore,
    RemovalRecord,
    RemovalStore,
    ShardState,
    ShardStore,
)
from severable_trust.contract import Contract, ContractEvent, ContractState, advance
from severable_trust.denial import Denial, DenialReason
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.order import OrderClause, OrderReason, RemovalOrder, read_trigger
from severable_trust.removal import RECORDS, Acknowledgement
from severable_trust.statement import Kind, read_unverified, sign_statement, statement_id

IN_FORCE = frozenset({ContractState.ACTIVE, ContractState.SUSPENDED})
_UNSIGNED = frozenset({ContractState.OFFERED, ContractState.SIGNED})
_EVENTS = {
    OrderClause.EXPIRY: ContractEvent.EXPIRE,
    OrderClause.TERMINATION: ContractEvent.TERMINATE,
    OrderClause.BREACH: ContractEvent.BREACH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a removal is ordered: the contract's clause, a reason of its list, words, and what shows it."""

    clause: OrderClause
    code: OrderReason
    reason: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Orders removals, denies them, lets them lapse."""

    contracting: Contracting
    contracts: ContractStore
    shards: ShardStore
    removals: RemovalStore
    logbook: Logbook
    clock: Clock
    announce: Callable[[RemovalRecord], None]  # tells both sides of a removal that was ordered or has ended

    def order(self, contract_id: Digest, cause: Cause) -> RemovalRecord:
        """Order the removal of every shard under a contract and its earlier versions, and end the contract.

        Raises:
            ConflictError: nobody signed it, or a removal under it is under way or has left nothing.
            ContractError: it ended in another way already.
            StatementError: it names no such clause among its triggers, or the reason is of another clause.
        """
        contract = self.contracting.governing(contract_id)
        if contract.state in _UNSIGNED:
            raise ConflictError(f"contract {contract.id} is {contract.state}: nothing was made under it to remove")
        self._require_nothing_under_way(contract)
        if contract.state not in IN_FORCE and cause.clause is not OrderClause.TERMINATION:
            advance(contract.state, _EVENTS[cause.clause])
        now, agreed = self.clock(), self.contracting.prove(contract).value
        if not self._is_ours(agreed):
            raise ConflictError(f"contract {contract.id} is with {agreed.assignee.id}, which alone can order by it")
        order = RemovalOrder(
            request_id=str(uuid.uuid4()),
            publisher=self.logbook.coordinator,
            party=contract.party,
            contract=contract.id,
            clause=cause.clause,
            reason_code=cause.code,
            reason=cause.reason,
            evidence=cause.evidence,
            subjects=(),
            submitted=now,
        )
        order.require_allowed(agreed)
        record = self._open(order, self._due(contract, agreed, cause.clause, now), agreed)
        self.enact(record)
        self.announce(record)
        return record

    def _open(self, order: RemovalOrder, due: datetime, agreed: Contract) -> RemovalRecord:
        envelope = sign_statement(order, self.logbook.signer)
        completion = due + timedelta(days=agreed.deletion.deadline_days)
        acknowledgement = sign_statement(
            Acknowledgement(request=statement_id(envelope), received=order.submitted, expected_completion=completion),
            self.logbook.signer,
        )
        self.logbook.record(Kind.REMOVAL_ORDER, envelope)
        self.logbook.record(Kind.ACKNOWLEDGEMENT, acknowledgement)
        return self.removals.open(
            RemovalRecord(
                request=statement_id(envelope),
                party=order.party,
                contract=order.contract,
                envelope=envelope.to_bytes(),
                acknowledgement=acknowledgement.to_bytes(),
                state="open",
            )
        )

    def _due(self, contract: ContractRecord, agreed: Contract, clause: OrderClause, now: datetime) -> datetime:
        if clause is OrderClause.TERMINATION and contract.state in IN_FORCE:
            return notice_end(agreed, now)
        return now

    def _is_ours(self, agreed: Contract) -> bool:
        """Whether a contract is with this coordinator, and not with a peer that handed shards over."""
        return agreed.assignee.id == self.logbook.coordinator

    def _of(self, contract: ContractRecord) -> list[RemovalRecord]:
        """Removals of all that is under a contract, or was under a version before."""
        versions = self.contracting.versions(contract.id)
        found = [record for record in self.removals.removals() if record.contract in versions]
        return [record for record in found if read_trigger(record.envelope).clause != RECORDS]

    def _under_way(self, contract: ContractRecord) -> RemovalRecord | None:
        return next((record for record in self._of(contract) if not record.ended), None)

    def _require_nothing_under_way(self, contract: ContractRecord) -> None:
        if (other := self._under_way(contract)) is not None:
            raise ConflictError(
                f"a removal under contract {contract.id} is {other.state} already: request {other.request}"
            )
        done = [record for record in self._of(contract) if record.state == "fulfilled"]
        if done and not self.left(contract.id):
            raise ConflictError(f"nothing is left under contract {contract.id}: {done[-1].request} is fulfilled")

    def enact(self, record: RemovalRecord) -> None:
        """End the contract that an order rests on, should it still be in force. Other removals are left alone."""
        order = read_trigger(record.envelope)
        contract = self.contracts.contract(record.contract)
        if isinstance(order, RemovalOrder) and contract.state in IN_FORCE:
            self.contracts.put(replace(contract, state=advance(contract.state, _EVENTS[order.clause])))

    def expire(self, contract: ContractRecord) -> RemovalRecord | None:
        """End a contract whose term is over; orders the removal where the contract says so and nobody has before."""
        agreed = read_unverified(contract.envelope, Contract)
        named = OrderClause.EXPIRY in agreed.deletion.triggers and self._is_ours(agreed)
        if contract.state in IN_FORCE and named and not self._under_way(contract):
            cause = Cause(clause=OrderClause.EXPIRY, code=OrderReason.CONTRACT_EXPIRED)
            return self.order(contract.id, cause)
        self.contracts.put(replace(contract, state=advance(contract.state, ContractEvent.EXPIRE)))
        return None

    def deny(self, record: RemovalRecord, code: DenialReason, reason: str) -> RemovalRecord:
        """End a removal that has not begun, with a signed and logged denial. ConflictError: it has begun or ended."""
        if record.state != "open":
            raise ConflictError(f"request {record.request} is {record.state}; only an open one can be denied")
        denial = self._denial_of(record) or self.logbook.issue(
            Denial(
                request=record.request,
                publisher=self.logbook.coordinator,
                party=record.party,
                reason_code=code,
                reason=reason,
                decided=self.clock(),
            )
        )
        said = read_unverified(denial, Denial)
        self.removals.deny(record.request, said.reason_code.state, denial.to_bytes())
        ended = self.removals.removal(record.request)
        self.announce(ended)
        return ended

    def _denial_of(self, record: RemovalRecord) -> Envelope | None:
        """The denial of this request, if a crash came after it was logged: there must not be two."""
        for logged in self.logbook.log.statements(Kind.DENIAL):
            envelope = Envelope.parse(self.logbook.log.body(logged))
            if read_unverified(envelope, Denial).request == record.request:
                return envelope
        return None

    def judge(self, record: RemovalRecord) -> RemovalRecord:
        """Deny a party's request as it comes that names unknown shards, or only erased ones while nothing is left."""
        record, named = self.deny_unknown(record), set(read_trigger(record.envelope).subjects)
        if record.state != "open" or not named or self.left(record.contract):
            return record
        if any(one.state is not ShardState.ERASED for one in self.shards.shards(None, record.party) if one.id in named):
            return record
        return self.deny(record, DenialReason.ALREADY_ERASED, "every shard that was named was erased before")

    def deny_unknown(self, record: RemovalRecord) -> RemovalRecord:
        """Deny an open request that names a shard which never was here: no receipt could answer for it."""
        known = {shard.id for shard in self.shards.shards(None, record.party)}
        unknown = sorted(set(read_trigger(record.envelope).subjects) - known)
        if record.state != "open" or not unknown:
            return record
        return self.deny(record, DenialReason.UNKNOWN_SHARDS, f"no shard {unknown[0]} was ever admitted here")

    def lapse(self, record: RemovalRecord) -> bool:
        """End an open order that another removal has left nothing to do; returns whether it was so."""
        if record.state != "open" or not isinstance(read_trigger(record.envelope), RemovalOrder):
            return False
        versions = self.contracting.versions(record.contract)
        others = [r for r in self.removals.removals() if r.contract in versions and r.state == "fulfilled"]
        if not others or self.left(record.contract):
            return False
        self.deny(record, DenialReason.OVERTAKEN, f"request {others[-1].request} was fulfilled before")
        return True

    def left(self, contract_id: Digest) -> list[Digest]:
        """Shards under a contract and its earlier versions that are not erased."""
        versions, party = self.contracting.versions(contract_id), self.contracts.contract(contract_id).party
        held = self.shards.shards(None, party)
        return [one.id for one in held if one.contract in versions and one.state is not ShardState.ERASED]


def notice_end(agreed: Contract, now: datetime) -> datetime:
    """When a termination takes effect that is given now: the notice period later, or at the end of the term."""
    return max(now, min(now + timedelta(days=agreed.notice_days), agreed.valid_until))
