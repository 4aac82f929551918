"""Removals that no party asked for: the coordinator's order, which starts one as a party's request does.

A receipt answers one of two statements, its *trigger*: the party's erasure request, or the coordinator's order. That
one counts only where the contract names its clause among what starts the deletion.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from severable_trust.contract import Contract
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import StatementError
from severable_trust.instant import check_instant, format_instant
from severable_trust.keys import PublicKey
from severable_trust.removal import ErasureRequest, check_request_id
from severable_trust.statement import Kind, Proven, Record, open_statement, read_unverified
from severable_trust.terms import check_id, require_text, require_unique


class OrderClause(StrEnum):
    """What of the contract an order relies on."""

    EXPIRY = "expiry"
    TERMINATION = "termination"
    BREACH = "breach"


class OrderReason(StrEnum):
    """Why the coordinator orders a removal: a closed list."""

    CONTRACT_EXPIRED = "contract-expired"
    OPERATOR_DECISION = "operator-decision"
    KEY_REVOKED = "key-revoked"
    PARTY_EXIT = "party-exit"
    LEGAL_ORDER = "legal-order"
    PURPOSE_ENDED = "purpose-ended"
    DATA_NOT_PERMITTED = "data-not-permitted"
    DATA_NOT_AS_DESCRIBED = "data-not-as-described"
    FALSE_STATEMENT = "false-statement"
    HARMFUL_WEIGHTS = "harmful-weights"
    TERMS_NOT_KEPT = "terms-not-kept"


_R = OrderReason
REASONS: Mapping[OrderClause, tuple[OrderReason, ...]] = {
    OrderClause.EXPIRY: (_R.CONTRACT_EXPIRED,),
    OrderClause.TERMINATION: (_R.OPERATOR_DECISION, _R.KEY_REVOKED, _R.PARTY_EXIT, _R.LEGAL_ORDER, _R.PURPOSE_ENDED),
    OrderClause.BREACH: (
        _R.DATA_NOT_PERMITTED, _R.DATA_NOT_AS_DESCRIBED, _R.FALSE_STATEMENT, _R.HARMFUL_WEIGHTS, _R.TERMS_NOT_KEPT,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalOrder(Record):
    """The coordinator orders the removal of a party's shards under a contract.

    Attributes:
        request_id: a UUID in its canonical lower-case form; no two requests or orders share one.
        publisher: the coordinator's id.
        party: whose shards.
        contract: statement id of the contract the order relies on.
        clause: the clause it relies on; the contract names it among its triggers.
        reason_code: one of the clause's reasons.
        reason: the reason in words; may be empty.
        evidence: what shows it, in words; may be empty, but not with `breach`.
        subjects: ids of the shards to erase; kept sorted, none twice; empty for all under the contract.
        submitted: when it was made (UTC, whole seconds).

    Raises:
        StatementError: a field outside its range, or a reason of another clause.
        MalformedError: `submitted` is not UTC in whole seconds.
    """

    KIND: ClassVar[Kind] = Kind.REMOVAL_ORDER

    request_id: str
    publisher: str
    party: str
    contract: Digest
    clause: OrderClause
    reason_code: OrderReason
    reason: str
    evidence: str
    subjects: tuple[Digest, ...]
    submitted: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "subjects", tuple(sorted(self.subjects)))
        check_request_id(self.request_id, "removal order")
        check_id(self.publisher, "removal order: publisher")
        check_id(self.party, "removal order: party")
        if self.publisher == self.party:
            raise StatementError("removal order: publisher and party are the same")
        for name, kind in (("clause", OrderClause), ("reason_code", OrderReason)):
            value = getattr(self, name)
            if value not in set(kind):
                raise StatementError(f"removal order: {name} {value!r} is none of {', '.join(kind)}")
            object.__setattr__(self, name, kind(value))
        if self.reason_code not in REASONS[self.clause]:
            allowed = ", ".join(REASONS[self.clause])
            raise StatementError(f"removal order: reason_code of clause {self.clause} must be one of {allowed}")
        if self.clause is OrderClause.BREACH:
            require_text(self.evidence, "removal order: evidence of a breach")
        require_unique(self.subjects, "removal order: subjects")
        check_instant(self.submitted)

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """The contract and the shards to erase."""
        return (("contract", self.contract), *((f"shard/{n}", shard) for n, shard in enumerate(self.subjects)))

    def require_allowed(self, contract: Contract) -> None:
        """Refuse an order that its contract does not allow.

        Raises:
            StatementError: the clause is not among the contract's triggers, or the term is not over yet.
        """
        if self.clause not in contract.deletion.triggers:
            triggers = ", ".join(contract.deletion.triggers)
            raise StatementError(f"removal order: the contract starts no deletion on {self.clause}, only on {triggers}")
        if self.clause is OrderClause.EXPIRY and self.submitted < contract.valid_until:
            until = format_instant(contract.valid_until)
            raise StatementError(f"removal order: was made by expiry before the contract's term ended at {until}")


Trigger = ErasureRequest | RemovalOrder


def read_trigger(data: bytes | Envelope) -> Trigger:
    """What a request or an order claims, its signatures unchecked.

    Raises:
        MalformedError: not an envelope, or the payload is not canonical JSON.
        StatementError: a statement of neither kind.
    """
    envelope = data if isinstance(data, Envelope) else Envelope.parse(data)
    if is_order(envelope):
        return read_unverified(envelope, RemovalOrder)
    return read_unverified(envelope, ErasureRequest)


def open_trigger(
    envelope: Envelope, party: tuple[PublicKey, ...] | list[PublicKey], coordinator: PublicKey
) -> Proven[ErasureRequest] | Proven[RemovalOrder]:
    """The request that the party signed, or the order that the coordinator signed.

    Raises:
        TrustError: signed by another than whom its kind must be, or of neither kind.
    """
    if is_order(envelope):
        return open_statement(envelope, RemovalOrder, [coordinator])
    return open_statement(envelope, ErasureRequest, party)


def is_order(envelope: Envelope) -> bool:
    """Whether a statement calls itself an order; nothing of it is verified."""
    try:
        value = json.loads(envelope.payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("predicateType") == Kind.REMOVAL_ORDER.predicate_type
