"""Removals: the request that starts one, the acknowledgement, and (in `receipt`) the receipt that ends it."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from severable_trust.digest import Digest
from severable_trust.errors import StatementError
from severable_trust.instant import check_instant
from severable_trust.receipt import Check, CompositeChange, ErasureAction, Receipt, Residual, Retained
from severable_trust.statement import Kind, Record
from severable_trust.terms import check_id, require_text, require_unique

__all__ = [
    "Acknowledgement",
    "Check",
    "CompositeChange",
    "ErasureAction",
    "ErasureRequest",
    "Receipt",
    "Residual",
    "Retained",
]


TERMINATION = "termination"  # clause: the contract ends, with all its shards
RECORDS = "record-erasure"  # clause: the contract stays, and the shards that are named are trained anew


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRequest(Record):
    """A party asks for the removal of its shards.

    Attributes:
        request_id: a UUID in its canonical lower-case form; no two requests share one.
        party: the party's id.
        contract: statement id of the contract the request relies on.
        clause: the clause or trigger it relies on: `record-erasure` lets the contract stay and names the shards; any
            other, such as `termination`, ends the contract.
        reason_code: short code of the reason.
        reason: the reason in words; may be empty.
        subjects: ids of the shards to erase; kept sorted, none twice; empty for all of the party's.
        submitted: when it was made (UTC, whole seconds).

    Raises:
        StatementError: a field outside its range.
        MalformedError: `submitted` is not UTC in whole seconds.
    """

    KIND: ClassVar[Kind] = Kind.ERASURE_REQUEST

    request_id: str
    party: str
    contract: Digest
    clause: str
    reason_code: str
    reason: str
    subjects: tuple[Digest, ...]
    submitted: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "subjects", tuple(sorted(self.subjects)))
        check_request_id(self.request_id, "erasure request")
        check_id(self.party, "erasure request: party")
        require_text(self.clause, "erasure request: clause")
        require_text(self.reason_code, "erasure request: reason_code")
        require_unique(self.subjects, "erasure request: subjects")
        if self.clause == RECORDS and not self.subjects:
            raise StatementError(f"erasure request: clause {RECORDS!r} names the shards it is about, subjects is empty")
        check_instant(self.submitted)

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """The contract and the shards to erase."""
        return (("contract", self.contract), *((f"shard/{n}", shard) for n, shard in enumerate(self.subjects)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement(Record):
    """The coordinator has the request and says when it will be done.

    Attributes:
        request: statement id of the request.
        received: when it arrived (UTC, whole seconds).
        expected_completion: when the receipt is expected, not before `received`.

    Raises:
        StatementError: completion is expected before the request arrived.
        MalformedError: a time is not UTC in whole seconds.
    """

    KIND: ClassVar[Kind] = Kind.ACKNOWLEDGEMENT

    request: Digest
    received: datetime
    expected_completion: datetime

    def __post_init__(self) -> None:
        check_instant(self.received)
        check_instant(self.expected_completion)
        if self.expected_completion < self.received:
            raise StatementError("acknowledgement: expected_completion is before received")

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """The request."""
        return (("request", self.request),)


def check_request_id(text: str, what: str) -> None:
    """Refuse an id that is not a UUID in its canonical lower-case form."""
    try:
        canonical = str(uuid.UUID(text))
    except ValueError as error:
        raise StatementError(f"{what}: request_id {text[:80]!r} is not a UUID") from error
    if canonical != text:
        raise StatementError(f"{what}: request_id {text[:80]!r} is not a lower-case UUID with hyphens")
