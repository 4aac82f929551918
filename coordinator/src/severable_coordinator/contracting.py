"""Contracts at the coordinator: offering, taking the party's signature, what is in force, ending.

What a contract permits when is `severable_trust.contract`'s business; here is only who may do what to it.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from severable_coordinator.errors import ConflictError, NotFoundError, RefusedError
from severable_coordinator.logbook import Logbook
from severable_coordinator.membership import PartyStore
from severable_coordinator.offers import Terms
from severable_coordinator.ports import Clock, ContractRecord, ContractStore, RecipeRecord
from severable_trust.agreement import open_agreement
from severable_trust.amendment import require_successor
from severable_trust.contract import (
    Action,
    Contract,
    ContractEvent,
    ContractState,
    PartyRef,
    advance,
    require,
)
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import ContractError, SignatureError
from severable_trust.roster import PartyStatus
from severable_trust.statement import Kind, Proven, read_unverified, sign_statement, statement_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracting:
    """Offers contracts and keeps their states."""

    contracts: ContractStore
    parties: PartyStore
    logbook: Logbook
    clock: Clock
    legal_name: str
    app: Callable[[], Digest]  # SHA-256 of the Flower bundle that parties are to accept

    def offer(self, party_id: str, recipe: RecipeRecord, terms: Terms, amends: Digest | None = None) -> Envelope:
        """Sign an offer and keep it for the party to fetch.

        Args:
            party_id: whom it is for.
            recipe: the recipe that shards under it follow.
            terms: everything else.
            amends: the contract in force that it is to take the place of, or None for a new one.

        Raises:
            NotFoundError: no such party or contract.
            ConflictError: the party is revoked, has an offer open or another contract in force, what is to be amended
                is not in force or not the party's, or it divides the records in another way.
        """
        party = self.parties.party(party_id)
        if party.status == PartyStatus.REVOKED:
            raise ConflictError(f"party {party_id} is revoked; invite it anew under another name")
        previous = self._amended(party_id, amends)
        for record in self.contracts.contracts(party_id):
            if record.state in OPEN_STATES and record.id != amends:
                raise ConflictError(
                    f"{party_id} has contract {record.id} ({record.state}); end it before a new offer, or amend it"
                )
        contract = terms.contract(
            uid=previous.value.uid if previous else f"urn:uuid:{uuid.uuid4()}",
            version=previous.value.version + 1 if previous else 1,
            previous=previous.id if previous else None,
            assigner=PartyRef(id=party.id, legal_name=party.legal_name, key_id=party.statement_key.key_id),
            assignee=PartyRef(id=self.logbook.coordinator, legal_name=self.legal_name, key_id=self.logbook.key.key_id),
            recipe=recipe.digest,
            app=self.app(),
            now=self.clock(),
        )
        if previous is not None:
            require_successor(previous, contract)
            _require_same_division(previous.value, contract)
        envelope = sign_statement(contract, self.logbook.signer)
        self.contracts.add_recipe(recipe)
        self.contracts.put(_record(envelope, party_id, ContractState.OFFERED))
        return envelope

    def _amended(self, party_id: str, amends: Digest | None) -> Proven[Contract] | None:
        if amends is None:
            return None
        record = self.contracts.contract(amends)
        if record.party != party_id or record.state is not ContractState.ACTIVE:
            raise ConflictError(
                f"contract {amends} is {record.party}'s and {record.state}; only one in force is amended"
            )
        return self.prove(record)

    def accept(self, party_id: str, envelope: Envelope) -> ContractState:
        """Take a party's signature under an offer, log the contract and put it in force. RefusedError."""
        record = self.contracts.contract(statement_id(envelope))
        if record.party != party_id:
            raise RefusedError(f"contract {record.id} is not yours to sign")
        if record.state is ContractState.ACTIVE:
            return record.state
        proven = self.prove(replace(record, envelope=envelope.to_bytes()))
        if self.clock() >= proven.value.valid_until:
            raise RefusedError(f"the offer {record.id} ran out; ask for a new one")
        signed = advance(record.state, ContractEvent.SIGN)
        active = advance(signed, ContractEvent.ACTIVATE)
        ended = self._superseded(proven)
        self.logbook.record(Kind.CONTRACT, envelope)
        self.contracts.put(_record(envelope, party_id, active), *ended)
        return active

    def _superseded(self, proven: Proven[Contract]) -> list[ContractRecord]:
        """The version that an amendment takes the place of, ended. ContractError when it is not in force any more."""
        if proven.value.previous is None:
            return []
        record = self.contracts.contract(proven.value.previous)
        require_successor(self.prove(record), proven.value)
        return [replace(record, state=advance(record.state, ContractEvent.SUPERSEDE))]

    def prove(self, record: ContractRecord) -> Proven[Contract]:
        """A contract with both its signatures verified: the party's, and this coordinator's or an accepted peer's.

        Raises:
            TrustError: a signature is missing or wrong, or the contract names other keys than those that signed.
        """
        party = self.parties.party(record.party)
        return open_agreement(record.envelope, party.keys, [self.logbook.key, *self.parties.peer_keys()])

    def in_force(self, action: Action, recipe: Digest | None = None) -> list[tuple[ContractRecord, Proven[Contract]]]:
        """Every contract of a party in good standing that permits an action now."""
        revoked = {party.id for party in self.parties.parties() if party.status == PartyStatus.REVOKED}
        found = []
        for record in self.contracts.contracts():
            if record.state is not ContractState.ACTIVE or record.party in revoked:
                continue
            proven = self.prove(record)
            try:
                require(proven.value, record.state, action, self.clock(), recipe=recipe)
            except ContractError:
                continue
            found.append((record, proven))
        return found

    def governing(self, contract_id: Digest) -> ContractRecord:
        """The version that governs now what was done under a contract: itself, or the last one that amended it."""
        record = self.contracts.contract(contract_id)
        while record.state is ContractState.SUPERSEDED:
            record = self._following(record)
        return record

    def _following(self, record: ContractRecord) -> ContractRecord:
        for other in self.contracts.contracts(record.party):
            claimed = read_unverified(other.envelope, Contract)
            if claimed.previous == record.id and other.state is not ContractState.OFFERED:
                try:
                    self.prove(other)
                except SignatureError:  # an offer that ended before the party signed it
                    continue
                return other
        raise NotFoundError(f"contract {record.id} was superseded, but the version in its place is not here")

    def versions(self, contract_id: Digest) -> list[Digest]:
        """A contract and every earlier version of it, newest first."""
        found = [contract_id]
        while (previous := self.prove(self.contracts.contract(found[-1])).value.previous) is not None:
            found.append(previous)
        return found

    def suspend(self, record: ContractRecord) -> None:
        """Put a contract in force on hold: until it is resumed, it permits nothing. ContractError."""
        self.contracts.put(replace(record, state=advance(record.state, ContractEvent.SUSPEND)))

    def suspend_all(self, party_id: str) -> int:
        """Put every contract of a party that is in force on hold; returns how many there were."""
        active = [record for record in self.contracts.contracts(party_id) if record.state is ContractState.ACTIVE]
        for record in active:
            self.suspend(record)
        return len(active)

    def resume(self, record: ContractRecord) -> None:
        """Put a suspended contract in force again, within its term.

        Raises:
            ContractError: it is not suspended.
            ConflictError: its term is over, or the party is revoked.
        """
        state = advance(record.state, ContractEvent.RESUME)
        if self.clock() >= self.prove(record).value.valid_until:
            raise ConflictError(f"the term of contract {record.id} is over; offer a new one")
        if self.parties.party(record.party).status == PartyStatus.REVOKED:
            raise ConflictError(f"party {record.party} is revoked; invite it anew under another name")
        self.contracts.put(replace(record, state=state))

    def terminate(self, record: ContractRecord, at: datetime) -> datetime:
        """End a contract on the party's notice; returns when it takes effect (the notice period later)."""
        contract = self.prove(record).value
        self.contracts.put(replace(record, state=advance(record.state, ContractEvent.TERMINATE)))
        return at + timedelta(days=contract.notice_days)


OPEN_STATES = frozenset({ContractState.OFFERED, ContractState.SIGNED, ContractState.ACTIVE, ContractState.SUSPENDED})


def _require_same_division(before: Contract, after: Contract) -> None:
    """Refuse to divide records anew under shards that were trained on the old parts: they would count twice."""
    if before.limits.shards != after.limits.shards:
        raise ConflictError(
            f"contract {before.uid}: sub_shards is {before.limits.shards} and an amendment keeps it; "
            "end the contract and offer a new one"
        )


def _record(envelope: Envelope, party: str, state: ContractState) -> ContractRecord:
    return ContractRecord(id=statement_id(envelope), party=party, envelope=envelope.to_bytes(), state=state)
