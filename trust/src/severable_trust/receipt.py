"""Receipts: the coordinator's statement of what a removal did, and of what it could not do.

A receipt says what was erased and how, which composites changed, what was checked, what remains for a while
(`residual`: backups, caches of others) and what is kept by right (`retained`: contract, receipt). It states; together
with the composites' digests it can be checked; it does not prove that no copy was ever made.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from severable_trust.digest import Digest
from severable_trust.errors import StatementError
from severable_trust.instant import check_instant
from severable_trust.recall import Artifact
from severable_trust.statement import Kind, Record
from severable_trust.terms import check_id, require_text, require_unique


class ChangeStatus(StrEnum):
    """What became of a composite that held a removed shard."""

    REBUILT = "rebuilt"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureAction:
    """One thing that was erased.

    Attributes:
        artifact: what it was: `shard`, `bank`, `router`, `composite`, `key`.
        digest: its digest; of a shard, the shard's id.
        kind: what was done to it: `Erase`.
        method: how, such as `cryptographic erase, unlink; consistent with NIST SP 800-88 cryptographic erase`.
        at: when (UTC, whole seconds).
    """

    artifact: str
    digest: Digest
    kind: str
    method: str
    at: datetime

    def __post_init__(self) -> None:
        for name in ("artifact", "kind", "method"):
            require_text(getattr(self, name), f"receipt: action {name}")
        check_instant(self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeChange:
    """What became of the composite of one access group.

    Attributes:
        group: the access group.
        before: content digest of the composite that held the removed shard.
        after: content digest of the one that replaces it; None if it was retired.
        router_before: digest of the old router.
        router_after: digest of the new router; None if the composite was retired.
        status: `rebuilt` or `retired`.
    """

    group: str
    before: Digest
    after: Digest | None
    router_before: Digest
    router_after: Digest | None
    status: ChangeStatus

    def __post_init__(self) -> None:
        check_id(self.group, "receipt: group")
        if self.status not in set(ChangeStatus):
            raise StatementError(f"receipt: composite status {self.status!r} is none of {', '.join(ChangeStatus)}")
        object.__setattr__(self, "status", ChangeStatus(self.status))
        rebuilt = self.status is ChangeStatus.REBUILT
        if (self.after is not None) != rebuilt or (self.router_after is not None) != rebuilt:
            raise StatementError(f"receipt: composite of {self.group} is {self.status}, its new digests say otherwise")
        if self.after == self.before:
            raise StatementError(f"receipt: composite of {self.group} is the same after as before")


@dataclass(frozen=True, slots=True)
class Check:
    """A check that the coordinator made after erasing: what, with which result, when (UTC, whole seconds)."""

    check: str
    result: str
    at: datetime

    def __post_init__(self) -> None:
        require_text(self.check, "receipt: check")
        require_text(self.result, "receipt: result")
        check_instant(self.at)


@dataclass(frozen=True, slots=True)
class Residual:
    """Something that the removal could not reach: what, why, and until when in words (`2027-01-31`, `unknown`)."""

    what: str
    why: str
    until: str

    def __post_init__(self) -> None:
        for name in ("what", "why", "until"):
            require_text(getattr(self, name), f"receipt: residual {name}")


@dataclass(frozen=True, slots=True)
class Retained:
    """Something kept on purpose: what, and on which basis."""

    what: str
    basis: str

    def __post_init__(self) -> None:
        require_text(self.what, "receipt: retained what")
        require_text(self.basis, "receipt: retained basis")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallNotice:
    """A recall that the removal issued; its recipient is not named.

    Attributes:
        recall: statement id of the recall.
        artifact: what had been handed out.
        recalled: its digest.
        replacement: content digest of the composite that takes its place, or None.
        answer_by: when an answer is due.
        answer: statement id of the recipient's answer, if there was one when the receipt was issued.
    """

    recall: Digest
    artifact: Artifact
    recalled: Digest
    replacement: Digest | None
    answer_by: datetime
    answer: Digest | None

    def __post_init__(self) -> None:
        check_instant(self.answer_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Record):
    """What one removal did.

    Attributes:
        receipt_id: the receipt's name, unique at its publisher.
        issued: when (UTC, whole seconds); no action or check is later.
        publisher: the coordinator's id.
        party: the party whose shards were removed.
        request: statement id of the erasure request.
        contract: statement id of the contract.
        subjects: ids of the removed shards; kept sorted, none twice; each is erased by an action.
        actions: what was erased, in order.
        composites: what became of the composites that held them.
        checks: what was checked afterwards.
        residual: what could not be reached.
        retained: what was kept on purpose.
        outcome: the result in a word or a line, such as `complete`.
        recalls: what was recalled; None, and not written, where nothing of the shards had been handed out.

    Raises:
        StatementError: a field outside its range, or a subject without an action that erased it.
        MalformedError: a time is not UTC in whole seconds.
    """

    KIND: ClassVar[Kind] = Kind.RECEIPT

    receipt_id: str
    issued: datetime
    publisher: str
    party: str
    request: Digest
    contract: Digest
    subjects: tuple[Digest, ...]
    actions: tuple[ErasureAction, ...]
    composites: tuple[CompositeChange, ...]
    checks: tuple[Check, ...]
    residual: tuple[Residual, ...]
    retained: tuple[Retained, ...]
    outcome: str
    recalls: tuple[RecallNotice, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "subjects", tuple(sorted(self.subjects)))
        require_text(self.receipt_id, "receipt: receipt_id")
        require_text(self.outcome, "receipt: outcome")
        check_id(self.publisher, "receipt: publisher")
        check_id(self.party, "receipt: party")
        check_instant(self.issued)
        require_unique(self.subjects, "receipt: subjects")
        require_unique(tuple(change.group for change in self.composites), "receipt: composites")
        if self.recalls is not None:
            if not self.recalls:
                raise StatementError("receipt: recalls is empty, leave it out")
            require_unique(tuple(notice.recall for notice in self.recalls), "receipt: recalls")
        erased = {action.digest for action in self.actions}
        for subject in self.subjects:
            if subject not in erased:
                raise StatementError(f"receipt: shard {subject} is a subject but no action erased it")
        times = (*(action.at for action in self.actions), *(check.at for check in self.checks))
        if any(at > self.issued for at in times):
            raise StatementError("receipt: an action or a check is later than the receipt itself")

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """The request and the removed shards."""
        return (("request", self.request), *((f"shard/{n}", shard) for n, shard in enumerate(self.subjects)))
