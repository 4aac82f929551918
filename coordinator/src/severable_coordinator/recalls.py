"""Who was handed what, and the recalls that follow when a shard in it is removed.

Every export is recorded before the copy has its name: nobody has one that this does not know. A removal recalls each
recorded copy that held its shards, once for a recipient and a composite. Answers come from the recipient, signed with
the key on record for it, or by way of the operator where there is none. The newest answer counts, and every one is in
the log. A recall without an answer is overdue for ever; it never holds a removal up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from severable_trust.digest import Digest
from severable_trust.keys import PublicKey
from severable_trust.recall import Artifact, Recall, RecallAnswer
from severable_trust.statement import read_unverified


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Somebody who is handed copies, with the key that its answers are signed with."""

    id: str
    key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A copy that was handed out: to whom, what, its digest, the shards in it, when. `group` is "" for shards."""

    recipient: str
    artifact: Artifact
    digest: Digest
    group: str
    shards: tuple[Digest, ...]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallRecord:
    """A recall and the newest answer to it (empty while there is none), as the envelopes that were signed."""

    id: Digest
    removal: Digest
    envelope: bytes
    answer: bytes = b""

    @property
    def said(self) -> Recall:
        """What the recall says."""
        return read_unverified(self.envelope, Recall)

    @property
    def answered(self) -> RecallAnswer | None:
        """What the newest answer says."""
        return read_unverified(self.answer, RecallAnswer) if self.answer else None

    def standing(self, now: datetime) -> "Standing":
        """Where the recall stands at a time."""
        answer = self.answered
        if answer is not None:
            return Standing.ANSWERED if answer.answer.settles else Standing.KEPT
        return Standing.OPEN if now < self.said.answer_by else Standing.OVERDUE


class Standing(StrEnum):
    """Where a recall stands."""

    OPEN = "open"
    OVERDUE = "overdue"
    ANSWERED = "answered"
    KEPT = "kept"  # the recipient refuses


class RecallStore(Protocol):
    """Recipients' keys, exports, recalls and answers."""

    def put_recipient(self, recipient: Recipient) -> None:
        """Keep a recipient's key. ConflictError when it has another one."""

    def recipients(self) -> list[Recipient]:
        """Every recipient with a key on record, by id."""

    def add_export(self, export: Export) -> None:
        """Record an export."""

    def exports(self) -> list[Export]:
        """Every export, in order."""

    def add_recall(self, recall: RecallRecord) -> RecallRecord:
        """Keep a recall, or return the one that the same removal has made of the same copy for the same recipient."""

    def recalls(self, removal: Digest | None = None) -> list[RecallRecord]:
        """Recalls in their order, of one removal or of all."""

    def set_answer(self, recall: Digest, answer: bytes) -> None:
        """Keep the newest answer to a recall."""


def copies(exports: Iterable[Export], subjects: Iterable[Digest]) -> list[Export]:
    """The last export of each copy (recipient, kind, digest) that holds one of these shards, in order."""
    removed = set(subjects)
    last: dict[tuple[str, Artifact, Digest], Export] = {}
    for export in exports:
        if removed & set(export.shards):
            last.pop(key := (export.recipient, export.artifact, export.digest), None)
            last[key] = export
    return list(last.values())
