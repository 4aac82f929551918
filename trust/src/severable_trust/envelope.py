"""DSSE envelopes: sign bytes, keep bytes, verify bytes, then parse those bytes.

Specification: https://github.com/secure-systems-lab/dsse, v1.0.2. What is signed is the pre-authentication encoding
(`pae`), never the JSON around it. The JSON is nevertheless held to one form (canonical JSON, canonical base64,
signatures sorted by key id, each key once), so that no byte of a stored envelope can change unnoticed.

Laws: `Envelope.parse(e.to_bytes()) == e` and `Envelope.parse(b).to_bytes() == b`.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from severable_trust.canonical import decode, encode
from severable_trust.errors import MalformedError, SignatureError
from severable_trust.keys import PublicKey, Signer

MAX_SIGNATURES = 16
_KEY_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Signature:
    """A key id (64 hexadecimal digits) and the DER ECDSA-SHA256 signature of that key.

    Raises:
        MalformedError: the key id is not 64 lower-case hexadecimal digits, or the signature is empty.
    """

    key_id: str
    value: bytes

    def __post_init__(self) -> None:
        if not _KEY_ID.fullmatch(self.key_id):
            raise MalformedError(f"envelope: key id {self.key_id[:80]!r} is not 64 hexadecimal digits")
        if not self.value:
            raise MalformedError(f"envelope: signature of key {self.key_id[:16]} is empty")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, what kind of bytes it is, and the signatures over both.

    Attributes:
        payload: the bytes that were signed.
        payload_type: their media type, part of what is signed.
        signatures: 1 to 16, sorted by key id, no key twice.

    Raises:
        MalformedError: no signature, too many, not sorted by key id, or two under one key id.
    """

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        ids = [signature.key_id for signature in self.signatures]
        if not 1 <= len(ids) <= MAX_SIGNATURES:
            raise MalformedError(f"envelope: {len(ids)} signatures, 1 to {MAX_SIGNATURES} are accepted")
        if ids != sorted(set(ids)):
            raise MalformedError("envelope: signatures are not sorted by key id, each key once")

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The envelope that canonical JSON bytes hold; nothing is verified yet.

        Raises:
            MalformedError: not the one accepted form.
        """
        return cls.from_object(decode(data, "envelope"))

    @classmethod
    def from_object(cls, value: object) -> Self:
        """The envelope that a decoded JSON object holds; nothing is verified yet.

        Raises:
            MalformedError: a member is missing, unknown or of the wrong form.
        """
        payload, payload_type, listed = _members(value, "envelope", ("payload", "payloadType", "signatures"))
        if not isinstance(listed, list) or not isinstance(payload_type, str):
            raise MalformedError("envelope: payloadType is not text or signatures are not a list")
        return cls(_from_base64(payload, "payload"), payload_type, tuple(_signature(entry) for entry in listed))

    def to_object(self) -> dict[str, object]:
        """The envelope as a JSON object, to stand inside another document."""
        return {
            "payload": _to_base64(self.payload),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": s.key_id, "sig": _to_base64(s.value)} for s in self.signatures],
        }

    def to_bytes(self) -> bytes:
        """The envelope as canonical JSON."""
        return encode(self.to_object())

    def countersigned(self, signer: Signer) -> Self:
        """This envelope with one more signature over the same payload.

        Raises:
            SignatureError: the key has signed it already.
        """
        key_id = signer.public_key.key_id
        if any(signature.key_id == key_id for signature in self.signatures):
            raise SignatureError(f"envelope: key {key_id[:16]} has signed it already")
        added = Signature(key_id, signer.sign(pae(self.payload_type, self.payload)))
        return type(self)(self.payload, self.payload_type, tuple(sorted((*self.signatures, added))))


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding, which binds the payload to its type (DSSE protocol, "Signature Definition")."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, signers: Sequence[Signer]) -> Envelope:
    """An envelope of this payload signed by each of the signers.

    Raises:
        ValueError: no signer is given, or one key twice.
    """
    if not signers:
        raise ValueError("an envelope needs at least one signer")
    message = pae(payload_type, payload)
    made = {signer.public_key.key_id: signer.sign(message) for signer in signers}
    if len(made) != len(signers):
        raise ValueError("one key is given twice as a signer")
    return Envelope(payload, payload_type, tuple(Signature(key_id, made[key_id]) for key_id in sorted(made)))


def verify(envelope: Envelope, keys: Sequence[PublicKey], threshold: int) -> tuple[str, ...]:
    """The ids of the keys that signed, sorted, once every listed signature has been verified.

    A signature by a key that is not given is refused, and not skipped: an accepted envelope holds nothing unverified.

    Args:
        envelope: what to verify.
        keys: the keys whose signatures are accepted.
        threshold: how many different keys must have signed, 1 or more.

    Raises:
        SignatureError: a signature is wrong or by an unknown key, too few signed, or a key is given twice.
        ValueError: the threshold is less than 1.
    """
    if threshold < 1:
        raise ValueError(f"threshold {threshold} would accept an unsigned envelope")
    known = {key.key_id: key for key in keys}
    if len(known) != len(keys):
        raise SignatureError("one key is listed twice, it would count as two signers")
    message = pae(envelope.payload_type, envelope.payload)
    for signature in envelope.signatures:
        key = known.get(signature.key_id)
        if key is None:
            raise SignatureError(f"signature by unknown key {signature.key_id[:16]}")
        key.verify(message, signature.value)
    if len(envelope.signatures) < threshold:
        raise SignatureError(f"signed by {len(envelope.signatures)} of the {threshold} keys that must sign")
    return tuple(signature.key_id for signature in envelope.signatures)


def _signature(value: object) -> Signature:
    key_id, sig = _members(value, "envelope: signature", ("keyid", "sig"))
    if not isinstance(key_id, str):
        raise MalformedError("envelope: keyid is not text")
    return Signature(key_id, _from_base64(sig, "signature"))


def _members(value: object, what: str, names: tuple[str, ...]) -> tuple[object, ...]:
    if not isinstance(value, dict) or value.keys() != set(names):
        raise MalformedError(f"{what}: not an object with exactly the members {', '.join(names)}")
    return tuple(value[name] for name in names)


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_base64(value: object, what: str) -> bytes:
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"envelope: {what} is not base64") from error
    # The last character of base64 may carry bits that decode to nothing: only the form with zeros there is accepted.
    if data is None or _to_base64(data) != value:
        raise MalformedError(f"envelope: {what} is not canonical base64")
    return data
