"""Ending a contract, or asking single shards back: the request, its acknowledgement, and the receipt when it comes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from severable_client.contracts import Holdings, Sides
from severable_client.errors import AnswerError, ContractProblemError, RefusedByCoordinatorError
from severable_client.exchange import Exchange
from severable_client.ports import ContractRecord, Job, JobState, JournalEntry
from severable_trust.bundle import TrustRoot, VerifiedReceipt, verify_receipt
from severable_trust.contract import ContractEvent, advance
from severable_trust.denial import Denial
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import TrustError
from severable_trust.keys import Signer
from severable_trust.removal import TERMINATION, Acknowledgement, ErasureRequest
from severable_trust.statement import open_statement, read_unverified, sign_statement, statement_id

REASON_CODE = "contract-terminated"
FULFILLED = "fulfilled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One erasure request and what came back; an empty envelope or bundle has not come yet."""

    request: bytes
    acknowledgement: bytes = b""
    receipt: bytes = b""
    denial: bytes = b""

    @property
    def ended(self) -> bool:
        """Whether the receipt, or a denial, has come."""
        return bool(self.receipt or self.denial)

    @property
    def refusal(self) -> Denial | None:
        """What the denial says; it was verified before it was kept."""
        return read_unverified(self.denial, Denial) if self.denial else None

    @property
    def id(self) -> Digest:
        """The request's statement id."""
        return statement_id(Envelope.parse(self.request))

    @property
    def says(self) -> ErasureRequest:
        """What the request says; it was signed here."""
        return read_unverified(self.request, ErasureRequest)

    @property
    def answer(self) -> Acknowledgement | None:
        """What the acknowledgement says; it was verified before it was kept."""
        return read_unverified(self.acknowledgement, Acknowledgement) if self.acknowledgement else None


class RemovalStore(Protocol):
    """Erasure requests by their statement id."""

    def put(self, removal: Removal) -> None:
        """Keep it, replacing what was kept under its id."""
        ...

    def drop(self, removal: Removal) -> None:
        """Forget a request that the coordinator refused."""
        ...

    def all(self) -> tuple[Removal, ...]:
        """Return every removal, ordered by when it was submitted."""
        ...


def shipped_shards(jobs: Iterable[Job], contract_id: str) -> tuple[Digest, ...]:
    """Return the ids of the shards that were admitted under a contract; each is its job's detail."""
    shipped = (job for job in jobs if job.request.contract == contract_id and job.report.state is JobState.SHIPPED)
    return tuple(sorted(Digest.parse(job.report.detail) for job in shipped))


def make_request(
    record: ContractRecord,
    shards: tuple[Digest, ...],
    *,
    party: str,
    reason: str,
    request_id: str,
    at: datetime,
) -> ErasureRequest:
    """Return the request that ends a contract and asks for its shards' erasure.

    Args:
        record: the contract.
        shards: ids of the shards that were admitted under it; none means all that the coordinator may hold.
        party: who asks.
        reason: one line of plain text, may be empty.
        request_id: a fresh UUID.
        at: now, UTC, whole seconds.

    Raises:
        ContractProblemError: the contract is ended already, or the reason is not plain text.
    """
    try:
        advance(record.state, ContractEvent.TERMINATE)
        if not reason.isprintable():
            raise ContractProblemError("the reason must be one line of plain text")
        return ErasureRequest(
            request_id=request_id,
            party=party,
            contract=Digest.parse(record.id),
            clause=TERMINATION,
            reason_code=REASON_CODE,
            reason=reason,
            subjects=shards,
            submitted=at,
        )
    except TrustError as error:
        raise ContractProblemError(f"contract {record.id} cannot be terminated: {error}") from error


def terminate(
    record: ContractRecord,
    request: ErasureRequest,
    signer: Signer,
    exchange: Exchange,
    holdings: Holdings,
    *,
    removals: RemovalStore,
) -> Removal:
    """Send a signed erasure request; return it with the acknowledgement, both kept, and the contract ended.

    The request is kept before it is sent. When no answer came, the next try sends the same bytes, so that the
    coordinator can tell a repetition from a second request.

    Raises:
        RefusedByCoordinatorError: nothing has changed.
        UnreachableError: the request is kept for the next try; the contract is as it was.
        AnswerError: the acknowledgement is not the coordinator's, or of another request.
    """
    asked = (request.contract, request.clause)
    open_ones = (held for held in removals.all() if not held.denial)
    pending = next((held for held in open_ones if (held.says.contract, held.says.clause) == asked), None)
    removal = pending or Removal(request=sign_statement(request, signer).to_bytes())
    removals.put(removal)
    try:
        acknowledged = send(removal, exchange, holdings, removals)
    except RefusedByCoordinatorError:
        removals.drop(removal)
        raise
    holdings.contracts.put(replace(record, state=advance(record.state, ContractEvent.TERMINATE)))
    return acknowledged


def send(removal: Removal, exchange: Exchange, holdings: Holdings, removals: RemovalStore) -> Removal:
    """Send a request that is kept already, and return it with the acknowledgement, kept too.

    Raises:
        ExchangeError: the coordinator cannot be reached, or refuses.
        AnswerError: the acknowledgement is not the coordinator's, or of another request.
    """
    size, at = len(removal.request), holdings.clock()
    holdings.journal.note(JournalEntry(at=at, what="erasure request", subject=str(removal.id), bytes=size))
    answer = exchange.request_erasure(removal.request)
    _require_acknowledged(answer, removal, holdings.sides)
    acknowledged = replace(removal, acknowledgement=answer)
    removals.put(acknowledged)
    return acknowledged


def _require_acknowledged(answer: bytes, removal: Removal, sides: Sides) -> None:
    try:
        proven = open_statement(answer, Acknowledgement, [sides.coordinator])
    except TrustError as error:
        raise AnswerError(f"the acknowledgement does not hold: {error}") from error
    if proven.value.request != removal.id:
        raise AnswerError(f"the acknowledgement is of request {proven.value.request}, sent was {removal.id}")


def fetch_receipt(removal: Removal, exchange: Exchange, removals: RemovalStore, root: TrustRoot) -> Removal:
    """Return the removal with its receipt or denial, verified and kept, if the coordinator has it by now.

    Raises:
        AnswerError: what came is not a receipt or denial of this request.
        ExchangeError: the coordinator cannot be reached, or refuses.
    """
    status = exchange.receipt(str(removal.id))
    if status.denial:
        _require_denied(status.denial, removal, root)
        denied = replace(removal, denial=status.denial)
        removals.put(denied)
        return denied
    if status.status != FULFILLED or not status.bundle:
        return removal
    receipt = read_receipt(status.bundle, root)
    if receipt.receipt.value.request != removal.id:
        raise AnswerError(f"the receipt is of request {receipt.receipt.value.request}, asked was {removal.id}")
    kept = replace(removal, receipt=status.bundle)
    removals.put(kept)
    return kept


def _require_denied(denial: bytes, removal: Removal, root: TrustRoot) -> None:
    try:
        proven = open_statement(denial, Denial, [root.coordinator_key])
    except TrustError as error:
        raise AnswerError(f"the denial does not hold: {error}") from error
    if proven.value.request != removal.id:
        raise AnswerError(f"the denial is of request {proven.value.request}, asked was {removal.id}")


def read_receipt(bundle: bytes, root: TrustRoot) -> VerifiedReceipt:
    """Return the receipt in a bundle, every part of it verified.

    Raises:
        AnswerError: it does not hold.
    """
    try:
        return verify_receipt(bundle, root)
    except TrustError as error:
        raise AnswerError(f"the receipt does not hold: {error}") from error
