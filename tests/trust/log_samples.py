"""A whole log in memory: joined, agreed, trained, composed, removed, a key rotated. Everything is real and signed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from trust.samples import LOG_NAME, NOON, Federation, at, make_manifest, make_roster

from severable_trust.entry import LogEntry, LoggedStatement
from severable_trust.envelope import Envelope
from severable_trust.errors import TrustError
from severable_trust.keys import PemSigner, Signer
from severable_trust.log_bundle import LogBundle, VerifiedLog, verify_log_bundle
from severable_trust.merkle import root_of
from severable_trust.note import Checkpoint, KeyType, LogSigner, cosign, sign_note
from severable_trust.removal import Acknowledgement
from severable_trust.roster import Roster
from severable_trust.rotation import KeyRotation
from severable_trust.statement import Kind, sign_statement, statement_id

ROSTER, CONTRACT, SHARD, COMPOSITE, REQUEST, ACKNOWLEDGEMENT, RECEIPT, ROTATION, NEWEST = range(9)  # the usual log


def logged(kind: Kind, envelope: Envelope, *, erased: bool = False) -> LoggedStatement:
    """What a log holds of a statement."""
    signers = tuple(signature.key_id for signature in envelope.signatures)
    entry = LogEntry(kind=kind, statement=statement_id(envelope), signers=signers)
    return LoggedStatement(entry, None if erased else envelope)


@dataclass(frozen=True)
class WholeLog:
    """A federation's log, with the keys to sign other ones."""

    federation: Federation
    next_key: Signer
    witness: LogSigner
    entries: tuple[LoggedStatement, ...]

    @classmethod
    def build(cls, federation: Federation, next_key: Signer, witness: LogSigner) -> "WholeLog":
        """Nine entries; the shard's body was erased."""
        keys, coordinator = federation.keys, federation.keys.coordinator
        received = Acknowledgement(request=federation.request.id, received=NOON, expected_completion=at(20))
        rotation = KeyRotation(party="alice", previous=keys.alice.public_key, next=next_key.public_key, issued=at(16))
        rotated = sign_statement(rotation, *sorted((keys.alice, next_key), key=lambda key: key.public_key.key_id))
        entries = (
            logged(Kind.ROSTER, federation.roster.envelope),
            logged(Kind.CONTRACT, federation.contract.envelope),
            logged(Kind.SHARD, federation.claim.envelope, erased=True),
            logged(Kind.COMPOSITE, sign_statement(make_manifest({"model_index.json": b"{}"}), coordinator)),
            logged(Kind.ERASURE_REQUEST, federation.request.envelope),
            logged(Kind.ACKNOWLEDGEMENT, sign_statement(received, coordinator)),
            logged(Kind.RECEIPT, federation.receipt.envelope),
            logged(Kind.KEY_ROTATION, rotated),
            logged(Kind.ROSTER, sign_statement(roster_after(federation, next_key, witness), coordinator)),
        )
        return cls(federation, next_key, witness, entries)

    @classmethod
    def generate(cls, federation: Federation) -> "WholeLog":
        return cls.build(federation, PemSigner.generate(), LogSigner.generate("alice", KeyType.COSIGNATURE))

    def note(self, entries: Sequence[LoggedStatement]) -> str:
        """The log's checkpoint over these entries."""
        root = root_of(item.entry.leaf for item in entries)
        return sign_note(Checkpoint(LOG_NAME, len(entries), root).text, self.federation.keys.log)

    def cosigned(self) -> str:
        """The checkpoint over the usual entries, cosigned by alice."""
        return cosign(self.note(self.entries), self.witness, at(18))

    def bundle(self) -> LogBundle:
        """The usual log."""
        return LogBundle(checkpoint=self.cosigned(), roster=self.newest, entries=self.entries)

    def of(self, *entries: LoggedStatement) -> LogBundle:
        """Another log that the same coordinator signs, with the usual newest roster as its last entry."""
        every = (*entries, self.entries[-1])
        return LogBundle(checkpoint=self.note(every), roster=self.newest, entries=every)

    @property
    def newest(self) -> Envelope:
        """The newest roster."""
        return held(self.entries[-1])


def held(item: LoggedStatement) -> Envelope:
    """The body, which must be there."""
    assert item.envelope is not None
    return item.envelope


def roster_after(federation: Federation, next_key: Signer, witness: LogSigner) -> Roster:
    """The second roster: alice rotated her key and names a witness key."""
    usual = make_roster(federation.keys)
    alice, bob = usual.parties
    rotated = replace(
        alice, statement_key=next_key.public_key, former_keys=(alice.statement_key,), witness=witness.vkey
    )
    return replace(usual, version=2, parties=(rotated, bob))


def verified(log: WholeLog, bundle: LogBundle) -> VerifiedLog:
    return verify_log_bundle(bundle.to_bytes(), log.federation.root)


def refused(log: WholeLog, bundle: LogBundle, error: type[TrustError], why: str) -> None:
    with pytest.raises(error, match=why):
        verified(log, bundle)
