"""Contracts at the coordinator: offering, taking the party's signature, what is in force, ending.

What a contract permits when is `severable_trust.contract`'s business; here is only who may do what to it.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from severable_coordinator.errors import ConflictError, RefusedError
from severable_coordinator.logbook import Logbook
from severable_coordinator.membership import PartyStore
from severable_coordinator.ports import Clock, ContractRecord, ContractStore, RecipeRecord
from severable_trust.agreement import open_agreement
from severable_trust.contract import (
    Action,
    Contract,
    ContractEvent,
    ContractState,
    DeletionDuty,
    Limits,
    PartyRef,
    advance,
    require,
)
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import ContractError
from severable_trust.statement import Kind, Proven, sign_statement, statement_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an offer says, apart from who and when."""

    target: str
    permissions: tuple[Action, ...]
    recipients: tuple[str, ...]
    days: int
    notice_days: int
    weight: float
    min_images: int
    memorization_ceiling: float
    deletion_days: int
    governing_law: str
    legal_basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracting:
    """Offers contracts and keeps their states."""

    contracts: ContractStore
    parties: PartyStore
    logbook: Logbook
    clock: Clock
    legal_name: str
    app: Callable[[], Digest]  # SHA-256 of the Flower bundle that parties are to accept

    def offer(self, party_id: str, recipe: RecipeRecord, terms: Terms) -> Envelope:
        """Sign an offer and keep it for the party to fetch. NotFoundError, ConflictError."""
        party = self.parties.party(party_id)
        for record in self.contracts.contracts(party_id):
            if record.state in {ContractState.OFFERED, ContractState.ACTIVE, ContractState.SIGNED}:
                raise ConflictError(f"{party_id} has contract {record.id} ({record.state}); end it before a new offer")
        now = self.clock()
        contract = Contract(
            uid=f"urn:uuid:{uuid.uuid4()}",
            version=1,
            assigner=PartyRef(id=party.id, legal_name=party.legal_name, key_id=party.statement_key.key_id),
            assignee=PartyRef(id=self.logbook.coordinator, legal_name=self.legal_name, key_id=self.logbook.key.key_id),
            target=terms.target,
            permissions=terms.permissions,
            recipients=terms.recipients,
            valid_from=now,
            valid_until=now + timedelta(days=terms.days),
            notice_days=terms.notice_days,
            weight=terms.weight,
            recipes=(recipe.digest,),
            apps=(self.app(),),
            limits=Limits(min_images=terms.min_images, memorization_ceiling=terms.memorization_ceiling),
            deletion=_duty(terms),
            governing_law=terms.governing_law,
            legal_basis=terms.legal_basis,
            previous=None,
        )
        envelope = sign_statement(contract, self.logbook.signer)
        self.contracts.add_recipe(recipe)
        self.contracts.put(_record(envelope, party_id, ContractState.OFFERED))
        return envelope

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
        self.logbook.record(Kind.CONTRACT, envelope)
        self.contracts.put(_record(envelope, party_id, active))
        return active

    def prove(self, record: ContractRecord) -> Proven[Contract]:
        """A contract with both its signatures verified: the party's, and this coordinator's or an accepted peer's.

        Raises:
            TrustError: a signature is missing or wrong, or the contract names other keys than those that signed.
        """
        party = self.parties.party(record.party)
        return open_agreement(record.envelope, party.keys, [self.logbook.key, *self.parties.peer_keys()])

    def in_force(self, action: Action, recipe: Digest | None = None) -> list[tuple[ContractRecord, Proven[Contract]]]:
        """Every contract that permits an action now."""
        found = []
        for record in self.contracts.contracts():
            if record.state is not ContractState.ACTIVE:
                continue
            proven = self.prove(record)
            try:
                require(proven.value, record.state, action, self.clock(), recipe=recipe)
            except ContractError:
                continue
            found.append((record, proven))
        return found

    def terminate(self, record: ContractRecord, at: datetime) -> datetime:
        """End a contract on the party's notice; returns when it takes effect (the notice period later)."""
        contract = self.prove(record).value
        self.contracts.put(replace(record, state=advance(record.state, ContractEvent.TERMINATE)))
        return at + timedelta(days=contract.notice_days)


def _duty(terms: Terms) -> DeletionDuty:
    return DeletionDuty(
        deadline_days=terms.deletion_days,
        scope=("shard", "bank", "router", "composites"),
        evidence="signed receipt in the log",
        triggers=("request", "termination", "expiry", "breach"),
    )


def _record(envelope: Envelope, party: str, state: ContractState) -> ContractRecord:
    return ContractRecord(id=statement_id(envelope), party=party, envelope=envelope.to_bytes(), state=state)
