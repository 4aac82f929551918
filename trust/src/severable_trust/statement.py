"""Statements: an in-toto Statement v1 of one of our kinds, in a DSSE envelope.

Specification: https://github.com/in-toto/attestation/tree/main/spec/v1. The payload is canonical JSON:

    {"_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:severable:<kind>:v1",
     "subject": [{"name": ..., "digest": {"sha256": ...}}], "predicate": {...}}

A statement's id is the SHA-256 of its payload: an envelope differs at every ECDSA signing, the payload does not.

Law: a payload has one value and a value one payload, `open_statement(sign_statement(v, s), type(v), keys).value == v`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from severable_trust.canonical import decode_any_form, encode
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope, sign, verify
from severable_trust.errors import StatementError
from severable_trust.keys import PublicKey, Signer
from severable_trust.record import from_plain, to_plain

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


class Kind(StrEnum):
    """What a statement is; signed as its predicate type, so that one kind never passes for another."""

    CONTRACT = "contract"
    SHARD = "shard"
    COMPOSITE = "composite"
    ERASURE_REQUEST = "erasure-request"
    ACKNOWLEDGEMENT = "acknowledgement"
    RECEIPT = "receipt"
    ROSTER = "roster"
    KEY_ROTATION = "key-rotation"
    RECALL = "recall"
    RECALL_ANSWER = "recall-answer"
    REMOVAL_ORDER = "removal-order"
    DENIAL = "denial"

    @property
    def predicate_type(self) -> str:
        """The kind as an in-toto predicate type."""
        return f"urn:severable:{self}:v1"


class Predicate(Protocol):
    """What a statement says. Law: `P.from_predicate(p.to_predicate()) == p`."""

    KIND: ClassVar[Kind]

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """Names and digests of what the statement is about; follows from the value, never empty."""

    def to_predicate(self) -> dict[str, Any]:
        """The value as a JSON object."""

    @classmethod
    def from_predicate(cls, data: object) -> Self:
        """The value that a decoded JSON object holds.

        Raises:
            StatementError: a field is missing, unknown or refused; the message names it.
        """


class Record:
    """Gives a frozen dataclass the JSON form that its fields define (see `severable_trust.record`)."""

    __slots__ = ()

    KIND: ClassVar[Kind]

    def to_predicate(self) -> dict[str, Any]:
        """The value as a JSON object, one member per field."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_predicate(cls, data: object) -> Self:
        """The value that a decoded JSON object holds.

        Raises:
            StatementError: a field is missing, unknown or refused; the message names it.
        """
        return from_plain(cls, data, cls.KIND.value)


T = TypeVar("T", bound=Predicate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven(Generic[T]):
    """A statement whose signatures and content have been verified. Only `open_statement` makes one.

    Attributes:
        value: what it says.
        id: SHA-256 of its payload.
        signers: the ids of the keys that signed it, sorted.
        envelope: the signed bytes, to keep and to pass on.
    """

    value: T
    id: Digest
    signers: tuple[str, ...]
    envelope: Envelope


def sign_statement(value: Predicate, *signers: Signer) -> Envelope:
    """The value as a statement signed by each signer.

    The payload is read back first: nothing is signed that `open_statement` would refuse.

    Raises:
        StatementError: the value holds something that a statement cannot say.
        ValueError: no signer is given, or one key twice.
    """
    payload = _payload(value)
    _read_payload(payload, type(value))
    return sign(payload, PAYLOAD_TYPE, signers)


def open_statement(
    data: bytes | Envelope, kind: type[T], keys: tuple[PublicKey, ...] | list[PublicKey], threshold: int = 1
) -> Proven[T]:
    """The statement that these bytes prove: signatures first, then the very bytes that were signed.

    Args:
        data: an envelope or its bytes.
        kind: what the statement must be, such as `Contract`.
        keys: the keys whose signatures are accepted; a signature by any other refuses the statement.
        threshold: how many of the keys must have signed.

    Raises:
        MalformedError: not an envelope, or the payload is not canonical JSON.
        SignatureError: a signature is wrong or by an unknown key, or too few signed.
        StatementError: another kind of statement, or one that says what its kind cannot.
    """
    envelope = data if isinstance(data, Envelope) else Envelope.parse(data)
    signers = verify(envelope, keys, threshold)
    return Proven(value=_read_envelope(envelope, kind), id=statement_id(envelope), signers=signers, envelope=envelope)


def read_unverified(data: bytes | Envelope, kind: type[T]) -> T:
    """What a statement claims, its signatures unchecked: to display it or to find whose keys to verify it with.

    Raises:
        MalformedError: not an envelope, or the payload is not canonical JSON.
        StatementError: another kind of statement, or one that says what its kind cannot.
    """
    return _read_envelope(data if isinstance(data, Envelope) else Envelope.parse(data), kind)


def statement_id(envelope: Envelope) -> Digest:
    """The statement's id: SHA-256 of its payload, whoever signed it."""
    return Digest.of(envelope.payload)


def _payload(value: Predicate) -> bytes:
    return encode(
        {
            "_type": STATEMENT_TYPE,
            "predicateType": value.KIND.predicate_type,
            "subject": [
                {"name": name, "digest": {digest.algorithm: digest.hex}} for name, digest in value.in_toto_subjects()
            ],
            "predicate": value.to_predicate(),
        }
    )


def _read_envelope(envelope: Envelope, kind: type[T]) -> T:
    if envelope.payload_type != PAYLOAD_TYPE:
        raise StatementError(f"payload type {envelope.payload_type[:80]!r} is not {PAYLOAD_TYPE}")
    return _read_payload(envelope.payload, kind)


def _read_payload(payload: bytes, kind: type[T]) -> T:
    what = f"{kind.KIND} statement"
    data = decode_any_form(payload, what)
    if not isinstance(data, dict) or data.get("_type") != STATEMENT_TYPE:
        raise StatementError(f"{what}: not an in-toto Statement v1")
    if data.get("predicateType") != kind.KIND.predicate_type:
        found = str(data.get("predicateType"))[:80]
        raise StatementError(f"{what}: predicate type is {found!r}, expected {kind.KIND.predicate_type!r}")
    value = kind.from_predicate(data.get("predicate"))
    # One value, one payload: this refuses JSON in another form than the canonical one, a subject that does not follow
    # from the predicate, a list in another order.
    if _payload(value) != payload:
        raise StatementError(f"{what}: its subject, an order or its JSON form is not the one that its value has")
    return value
