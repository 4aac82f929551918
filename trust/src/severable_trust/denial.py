"""Denials: the coordinator's statement that a request or an order is not carried out, and why.

Codes in the Data Rights Protocol 0.9: `not-verified` is insuf_verification; `already-erased`, `unknown-shards` and
`overtaken` are no_match; `not-covered` and `retained-by-law` are claim_not_covered; `other` is other.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from severable_trust.digest import Digest
from severable_trust.errors import StatementError
from severable_trust.instant import check_instant
from severable_trust.statement import Kind, Record
from severable_trust.terms import check_id, require_text


class DenialReason(StrEnum):
    """Why a removal does not take place: a closed list."""

    ALREADY_ERASED = "already-erased"  # every shard that was named is gone
    UNKNOWN_SHARDS = "unknown-shards"  # a shard that was named never was here
    RETAINED_BY_LAW = "retained-by-law"
    NOT_COVERED = "not-covered"  # the contract does not give the right that was claimed
    NOT_VERIFIED = "not-verified"  # who asked could not be made sure of
    OVERTAKEN = "overtaken"  # an order that fell due when another removal had left nothing to do
    OTHER = "other"

    @property
    def state(self) -> str:
        """The state that the removal ends in: `denied`, or `expired` where it was only overtaken."""
        return "expired" if self is DenialReason.OVERTAKEN else "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial(Record):
    """A request or order ends without a removal.

    Attributes:
        request: statement id of the erasure request or removal order.
        publisher: the coordinator's id.
        party: whose shards it was about.
        reason_code: why, one of `DenialReason`.
        reason: why, in words.
        decided: when (UTC, whole seconds).

    Raises:
        StatementError: a field outside its range.
        MalformedError: `decided` is not UTC in whole seconds.
    """

    KIND: ClassVar[Kind] = Kind.DENIAL

    request: Digest
    publisher: str
    party: str
    reason_code: DenialReason
    reason: str
    decided: datetime

    def __post_init__(self) -> None:
        check_id(self.publisher, "denial: publisher")
        check_id(self.party, "denial: party")
        if self.reason_code not in set(DenialReason):
            raise StatementError(f"denial: reason_code {self.reason_code!r} is none of {', '.join(DenialReason)}")
        object.__setattr__(self, "reason_code", DenialReason(self.reason_code))
        require_text(self.reason, "denial: reason")
        check_instant(self.decided)

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """The request."""
        return (("request", self.request),)
