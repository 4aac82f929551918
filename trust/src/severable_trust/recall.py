"""Recalls: whoever was handed a copy that held a removed shard is told so, in a signed statement, and may answer it.

The recall names its recipient; its statement id does not: `recall_id` is random, so a receipt can count and name
recalls by their ids and tell nobody who the recipients are. Each recipient can find its own.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from severable_trust.digest import Digest
from severable_trust.errors import StatementError
from severable_trust.instant import check_instant
from severable_trust.statement import Kind, Record
from severable_trust.terms import check_id, require_text, require_unique


class Artifact(StrEnum):
    """What was handed out."""

    COMPOSITE = "composite"
    SHARDS = "shards"  # a handover to another coordinator


class Answer(StrEnum):
    """What a recipient says became of its copy."""

    ERASED = "erased"
    NOT_HELD = "not-held"  # it had none any more
    KEPT = "kept"  # it refuses; the copy stays a residual of the removal

    @property
    def settles(self) -> bool:
        """Whether no copy is left at the recipient, by its own word."""
        return self is not Answer.KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall(Record):
    """The coordinator asks a recipient to destroy a copy, and says what may be used in its place.

    Attributes:
        recall_id: a random UUID in its canonical lower-case form.
        publisher: the coordinator's id.
        removal: statement id of what the removal was asked for with, such as an erasure request.
        recipient: whom the copy was handed to.
        artifact: what it was.
        recalled: the composite's content digest; of a handover, the digest of the canonical JSON list of its shard ids.
        shards: ids of the removed shards that it holds; kept sorted, none twice, at least one.
        replacement: content digest of the composite that takes its place, or None if there is none.
        exported: when it was handed over last (UTC, whole seconds).
        issued: when it was recalled (UTC, whole seconds), not before `exported`.
        answer_by: when an answer is due, not before `issued`.

    Raises:
        StatementError: a field outside its range.
        MalformedError: a time is not UTC in whole seconds.
    """

    KIND: ClassVar[Kind] = Kind.RECALL

    recall_id: str
    publisher: str
    removal: Digest
    recipient: str
    artifact: Artifact
    recalled: Digest
    shards: tuple[Digest, ...]
    replacement: Digest | None
    exported: datetime
    issued: datetime
    answer_by: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "shards", tuple(sorted(self.shards)))
        _check_uuid(self.recall_id)
        check_id(self.publisher, "recall: publisher")
        check_id(self.recipient, "recall: recipient")
        if self.artifact not in set(Artifact):
            raise StatementError(f"recall: artifact {self.artifact!r} is none of {', '.join(Artifact)}")
        object.__setattr__(self, "artifact", Artifact(self.artifact))
        if not self.shards:
            raise StatementError("recall: names no removed shard")
        require_unique(self.shards, "recall: shards")
        if self.replacement == self.recalled:
            raise StatementError("recall: the replacement is what is recalled")
        for at in (self.exported, self.issued, self.answer_by):
            check_instant(at)
        if not self.exported <= self.issued <= self.answer_by:
            raise StatementError("recall: exported, issued and answer_by are not in this order")

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """What is recalled, under its kind, and the removal."""
        return ((str(self.artifact), self.recalled), ("removal", self.removal))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallAnswer(Record):
    """What a recipient answers to a recall: signed with its key, or by the coordinator where it has none on record.

    Attributes:
        recall: statement id of the recall.
        recipient: whose answer it is.
        answer: what became of the copy.
        answered: when the recipient said so (UTC, whole seconds).
        note: in words; may be empty.
        said_by: who at the recipient said so, where the operator enters it and the coordinator signs; None, and not
            written, where the recipient signs.

    Raises:
        StatementError: a field outside its range.
        MalformedError: `answered` is not UTC in whole seconds.
    """

    KIND: ClassVar[Kind] = Kind.RECALL_ANSWER

    recall: Digest
    recipient: str
    answer: Answer
    answered: datetime
    note: str
    said_by: str | None = None

    def __post_init__(self) -> None:
        check_id(self.recipient, "recall answer: recipient")
        if self.answer not in set(Answer):
            raise StatementError(f"recall answer: answer {self.answer!r} is none of {', '.join(Answer)}")
        object.__setattr__(self, "answer", Answer(self.answer))
        if self.said_by is not None:
            require_text(self.said_by, "recall answer: said_by")
        check_instant(self.answered)

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """The recall."""
        return (("recall", self.recall),)


def _check_uuid(text: str) -> None:
    try:
        canonical = str(uuid.UUID(text))
    except ValueError as error:
        raise StatementError(f"recall: recall_id {text[:80]!r} is not a UUID") from error
    if canonical != text:
        raise StatementError(f"recall: recall_id {text[:80]!r} is not a lower-case UUID with hyphens")
