"""Recall files: a recall with what its recipient needs to check it offline, given a trust root; and the answer to it.

One canonical JSON file: the recall and the roster as signed envelopes, and the proof that the recall is in the log.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from severable_trust.canonical import decode, encode
from severable_trust.checkpoint import Checkpoint, LogProof
from severable_trust.entry import LogEntry
from severable_trust.envelope import Envelope
from severable_trust.errors import MalformedError, StatementError
from severable_trust.keys import PublicKey
from severable_trust.merkle import leaf_hash, verify_inclusion
from severable_trust.note import LogKey, open_cosigned
from severable_trust.recall import Recall, RecallAnswer
from severable_trust.roster import Roster
from severable_trust.statement import Proven, open_statement
from severable_trust.trust_root import TrustRoot, known_witnesses, open_roster

RECALL_FORMAT = "severable-recall/v1"
MAX_RECALL = 4 << 20  # bytes
_ENVELOPES = ("recall", "roster")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallBundle:
    """The parts of a recall file, as they stand in it; nothing is verified yet.

    Law: `RecallBundle.parse(b.to_bytes()) == b` and `RecallBundle.parse(d).to_bytes() == d`.

    Attributes:
        recall: signed by the coordinator.
        roster: signed by the coordinator; it says whose the cosignatures under the log are.
        proof: that the recall's entry is in the log (C2SP tlog-proof).
    """

    recall: Envelope
    roster: Envelope
    proof: LogProof

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The bundle that canonical JSON bytes hold.

        Raises:
            MalformedError: not the one accepted form.
        """
        value = decode(data, "recall", MAX_RECALL)
        if not isinstance(value, dict) or value.get("format") != RECALL_FORMAT:
            raise MalformedError(f"recall: format is not {RECALL_FORMAT!r}")
        if value.keys() != {"format", "proof", *_ENVELOPES} or not isinstance(value["proof"], str):
            raise MalformedError(f"recall: members are not format, proof, {', '.join(_ENVELOPES)}")
        envelopes = {name: Envelope.from_object(value[name]) for name in _ENVELOPES}
        return cls(**envelopes, proof=LogProof.parse(value["proof"]))

    def to_bytes(self) -> bytes:
        """The bundle as canonical JSON."""
        envelopes = {name: getattr(self, name).to_object() for name in _ENVELOPES}
        return encode({"format": RECALL_FORMAT, "proof": self.proof.to_text(), **envelopes})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRecall:
    """A recall all of whose parts have been verified. Only `verify_recall` makes one.

    Attributes:
        recall: what the coordinator asks.
        roster: whose the keys are.
        log_index: the recall's place in the log, from 0.
        checkpoint: the log's commitment under which it is.
        cosigners: the party (or witness) and the time (UTC) of every cosignature under that commitment.
    """

    recall: Proven[Recall]
    roster: Proven[Roster]
    log_index: int
    checkpoint: Checkpoint
    cosigners: tuple[tuple[str, datetime], ...]


def verify_recall(data: bytes, root: TrustRoot) -> VerifiedRecall:
    """The recall that this file proves, given whose signatures count.

    Raises:
        TrustError: a part is malformed, not the coordinator's, or the recall is not in the log.
    """
    bundle = RecallBundle.parse(data)
    roster = open_roster(bundle.roster, root)
    recall = open_statement(bundle.recall, Recall, [root.coordinator_key])
    if recall.value.publisher != root.coordinator_id:
        raise StatementError(f"recall's publisher is {recall.value.publisher}, expected {root.coordinator_id}")
    cosigned = open_cosigned(
        bundle.proof.checkpoint, root.log_vkey, root.witnesses, known_witnesses(root, roster.value)
    )
    leaf, checkpoint = leaf_hash(LogEntry.of(recall).leaf), cosigned.checkpoint
    verify_inclusion(bundle.proof.index, checkpoint.size, leaf, bundle.proof.hashes, checkpoint.root)
    return VerifiedRecall(
        recall=recall,
        roster=roster,
        log_index=bundle.proof.index,
        checkpoint=checkpoint,
        cosigners=tuple((LogKey.parse(vkey).name, at) for vkey, at in cosigned.cosigners),
    )


def open_answer(data: bytes, recall: Proven[Recall], key: PublicKey) -> Proven[RecallAnswer]:
    """The recipient's own answer to a recall.

    Raises:
        TrustError: not an answer, not signed by the key, of another recall or recipient, entered for somebody else, or
            earlier than the recall.
    """
    proven = open_statement(data, RecallAnswer, [key])
    said = proven.value
    if said.said_by is not None:
        raise StatementError("recall answer: a recipient signs its own answer, said_by has no place in it")
    require_answer_to(said, recall)
    return proven


def require_answer_to(said: RecallAnswer, recall: Proven[Recall]) -> None:
    """Refuse an answer to another recall, of another recipient, or earlier than the recall. StatementError."""
    if said.recall != recall.id:
        raise StatementError(f"recall answer: is to recall {said.recall}, expected {recall.id}")
    if said.recipient != recall.value.recipient:
        raise StatementError(f"recall answer: is {said.recipient}'s, expected {recall.value.recipient}'s")
    if said.answered < recall.value.issued:
        raise StatementError("recall answer: is earlier than the recall")
