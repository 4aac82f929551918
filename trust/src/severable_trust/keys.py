"""Statement keys: ECDSA on P-256 with SHA-256, the one kind that every layer takes (files, PKCS#11, cloud KMS, X.509).

A key is known by its key id, the SHA-256 of its DER SubjectPublicKeyInfo, so one key cannot go by two names.
`Signer` is the port behind which hardware and cloud keys stand; `PemSigner` is the one for a key in a file.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from severable_trust.errors import MalformedError, SignatureError

_ECDSA = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A P-256 public key.

    Law: `PublicKey.from_pem(k.pem) == k`.

    Attributes:
        spki_der: DER SubjectPublicKeyInfo, uncompressed point (the one encoding that is accepted).

    Raises:
        MalformedError: not such a key.
    """

    spki_der: bytes
    _loaded: ec.EllipticCurvePublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            loaded = load_der_public_key(self.spki_der)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise MalformedError("public key: not a DER SubjectPublicKeyInfo") from error
        if not isinstance(loaded, ec.EllipticCurvePublicKey) or not isinstance(loaded.curve, ec.SECP256R1):
            raise MalformedError("public key: not on the curve P-256; make one with `openssl ecparam -name prime256v1`")
        if loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != self.spki_der:
            raise MalformedError("public key: not in its canonical DER encoding")
        object.__setattr__(self, "_loaded", loaded)

    @property
    def key_id(self) -> str:
        """SHA-256 of the DER SubjectPublicKeyInfo, 64 hexadecimal digits."""
        return hashlib.sha256(self.spki_der).hexdigest()

    @property
    def pem(self) -> str:
        """The key as PEM text, ending in a newline."""
        return self._loaded.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    @classmethod
    def from_pem(cls, pem: str | bytes) -> Self:
        """The key that PEM text holds.

        Raises:
            MalformedError: not a PEM public key on P-256.
        """
        try:
            loaded = load_pem_public_key(pem.encode("ascii") if isinstance(pem, str) else pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise MalformedError("public key: not a PEM public key") from error
        return cls(loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def verify(self, message: bytes, signature: bytes) -> None:
        """Accept a DER ECDSA-SHA256 signature of this key over the message, or raise.

        Raises:
            SignatureError: the signature is not this key's over these bytes.
        """
        try:
            self._loaded.verify(signature, message, _ECDSA)
        except InvalidSignature as error:
            raise SignatureError(f"signature by key {self.key_id[:16]} is wrong") from error


class Signer(Protocol):
    """Whoever can sign with one P-256 key: a file, a hardware token, a cloud key service."""

    @property
    def public_key(self) -> PublicKey:
        """The public half of the key."""

    def sign(self, message: bytes) -> bytes:
        """A DER ECDSA-SHA256 signature over the message."""


class PemSigner:
    """A `Signer` over a private key held in memory as PEM (PKCS#8 or SEC 1, not encrypted).

    Raises:
        MalformedError: not a PEM private key on P-256, or encrypted.
    """

    __slots__ = ("_private", "_public")

    def __init__(self, pem: bytes) -> None:
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise MalformedError("private key: not an unencrypted PEM private key") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise MalformedError("private key: not on the curve P-256")
        self._private = private
        self._public = PublicKey(
            private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        )

    @classmethod
    def generate(cls) -> Self:
        """A new key, from the operating system's randomness."""
        return cls(
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM,
                PrivateFormat.PKCS8,
                NoEncryption(),
            ),
        )

    @property
    def public_key(self) -> PublicKey:
        """The public half of the key."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """A DER ECDSA-SHA256 signature over the message; two signatures of one message differ."""
        return self._private.sign(message, _ECDSA)

    def private_pem(self) -> bytes:
        """The private key as unencrypted PKCS#8 PEM, for a file that only its owner can read."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
