"""A recall of the composite that the small federation's removal took a shard out of, and a museum that answers it."""

from trust.samples import LOG_NAME, Federation, MemoryLog, at

from severable_trust.digest import Digest
from severable_trust.entry import LogEntry
from severable_trust.envelope import Envelope
from severable_trust.merkle import inclusion_proof, root
from severable_trust.note import Checkpoint, LogProof, sign_note
from severable_trust.recall import Answer, Artifact, Recall, RecallAnswer
from severable_trust.recall_bundle import RecallBundle
from severable_trust.statement import Kind, sign_statement, statement_id


def make_recall(removal: Digest, *shards: Digest) -> Recall:
    return Recall(
        recall_id="0c6e8b8e-5d0c-4b5c-8f1e-2f6a9d3b7a55",
        publisher="hub",
        removal=removal,
        recipient="museum",
        artifact=Artifact.COMPOSITE,
        recalled=Digest.of(b"composite of three"),
        shards=shards or (Digest.of(b"shard of alice"),),
        replacement=Digest.of(b"composite of two"),
        exported=at(9),
        issued=at(14),
        answer_by=at(14).replace(day=8),
    )


def make_answer(recall: Digest, said_by: str | None = None) -> RecallAnswer:
    return RecallAnswer(
        recall=recall,
        recipient="museum",
        answer=Answer.ERASED,
        answered=at(16),
        note="two copies, both destroyed",
        said_by=said_by,
    )


def recall_bundle(federation: Federation, recall: Envelope | None = None) -> RecallBundle:
    """The recall, logged after one other entry and before another."""
    envelope = recall or sign_statement(make_recall(federation.request.id), federation.keys.coordinator)
    log = MemoryLog()
    log.append(b"entry")
    signers = tuple(signature.key_id for signature in envelope.signatures)
    index = log.append(LogEntry(kind=Kind.RECALL, statement=statement_id(envelope), signers=signers).leaf)
    log.append(b"later")
    checkpoint = Checkpoint(LOG_NAME, log.size, root(log, log.size))
    proof = LogProof(index, inclusion_proof(log, index, log.size), sign_note(checkpoint.text, federation.keys.log))
    return RecallBundle(recall=envelope, roster=federation.roster.envelope, proof=proof)
