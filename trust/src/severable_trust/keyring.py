"""Whose key signed a logged statement: the keys that the log's own rosters name, each with its one holder.

A statement of each kind has its signers: the coordinator, the party that it names, or both. A key that no roster names
(a peer coordinator's, or that of a peer's party) is not known here: what it signed is unverifiable, never verified.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from severable_trust.agreement import open_agreement
from severable_trust.composite import CompositeManifest
from severable_trust.contract import Contract
from severable_trust.denial import Denial
from severable_trust.envelope import Envelope, pae
from severable_trust.errors import SignatureError, StatementError
from severable_trust.keys import PublicKey
from severable_trust.order import RemovalOrder
from severable_trust.recall import Recall, RecallAnswer
from severable_trust.removal import Acknowledgement, ErasureRequest, Receipt
from severable_trust.roster import Roster
from severable_trust.rotation import KeyRotation
from severable_trust.shard import ShardClaim
from severable_trust.statement import Kind, Predicate, Proven, open_statement, read_unverified
from severable_trust.trust_root import TrustRoot, open_roster

_STATEMENTS: Mapping[Kind, type[Predicate]] = {
    kind.KIND: kind
    for kind in (
        Contract, ShardClaim, CompositeManifest, ErasureRequest, Acknowledgement, Receipt, Roster, KeyRotation,
        Recall, RecallAnswer, RemovalOrder, Denial,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by key id, and who holds each.

    Attributes:
        root: whose coordinator it is.
        keys: every known key, the coordinator's included.
        holders: the id of the coordinator or the party that holds or held each of them.
    """

    root: TrustRoot
    keys: Mapping[str, PublicKey]
    holders: Mapping[str, str]

    @classmethod
    def of(cls, root: TrustRoot, rosters: Iterable[Roster]) -> Self:
        """The coordinator's key and every key, present and former, of the parties in these rosters.

        Raises:
            StatementError: one key is of two holders, who could then speak for each other.
        """
        coordinator = root.coordinator_key
        keys = {coordinator.key_id: coordinator}
        holders = {coordinator.key_id: root.coordinator_id}
        for roster in rosters:
            for party in roster.parties:
                for key in party.keys:
                    keys[key.key_id] = key
                    if holders.setdefault(key.key_id, party.id) != party.id:
                        other = holders[key.key_id]
                        raise StatementError(f"rosters: key {key.key_id[:16]} is {party.id}'s and {other}'s")
        return cls(root, keys, holders)

    def verify(self, kind: Kind, envelope: Envelope) -> bool:
        """Whether a statement of this kind is verified: signed by exactly whom it must be. False: by an unknown key.

        Signatures of known keys are verified either way, and so is the statement's form.

        Raises:
            TrustError: a signature is wrong, it is signed by another than whom it must be, or is not of this kind.
        """
        signers = [self.keys[s.key_id] for s in envelope.signatures if s.key_id in self.keys]
        if len(signers) == len(envelope.signatures):
            self._open(kind, envelope, signers)
            return True
        message = pae(envelope.payload_type, envelope.payload)
        for signature in envelope.signatures:
            if (key := self.keys.get(signature.key_id)) is not None:
                key.verify(message, signature.value)
        read_unverified(envelope, _STATEMENTS[kind])
        return False

    def _open(self, kind: Kind, envelope: Envelope, signers: list[PublicKey]) -> None:
        if kind is Kind.CONTRACT:
            self._open_contract(envelope, signers)
            return
        if kind is Kind.ROSTER:
            open_roster(envelope, self.root)
            return
        proven = open_statement(envelope, _STATEMENTS[kind], signers, threshold=len(signers))
        value: object = proven.value
        by_party = value.party if isinstance(value, ShardClaim | ErasureRequest | KeyRotation) else None
        if isinstance(value, RecallAnswer) and value.said_by is None:
            by_party = value.recipient
        self._require_holder(proven, by_party or self.root.coordinator_id)
        wanted = [value.previous.key_id, value.next.key_id] if isinstance(value, KeyRotation) else proven.signers[:1]
        if sorted(wanted) != list(proven.signers):
            raise SignatureError(f"{kind} {proven.id}: not signed by exactly the keys that it must be")
        published = value.publisher if isinstance(value, Receipt | RemovalOrder | Denial) else self.root.coordinator_id
        if published != self.root.coordinator_id:
            raise StatementError(f"{kind} {proven.id}: publisher is {published}, not {self.root.coordinator_id}")

    def _open_contract(self, envelope: Envelope, signers: list[PublicKey]) -> None:
        own = self.root.coordinator_key
        agreed = open_agreement(envelope, [key for key in signers if key != own], [own])
        assigner, assignee = agreed.value.assigner, agreed.value.assignee
        for side in (assigner, assignee):
            if self.holders[side.key_id] != side.id:
                raise StatementError(f"contract {agreed.id}: names {side.id}, signed by {self.holders[side.key_id]}")

    def _require_holder(self, proven: Proven[Predicate], holder: str) -> None:
        for key_id in proven.signers:
            if self.holders[key_id] != holder:
                said = f"{proven.value.KIND} {proven.id}"
                raise SignatureError(f"{said}: signed by {self.holders[key_id]}, must be signed by {holder}")
