"""Note keys of C2SP: a name and an Ed25519 key, and what their signatures sign.

Specification: https://c2sp.org/signed-note, section "Verifier keys".
"""

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from severable_trust.checkpoint import decode_base64, encode_base64
from severable_trust.errors import MalformedError

ID_BYTES = 4
SIGNATURE_MARK = "\u2014 "
KEY_NAME = re.compile(r"[!-*,-~]+")
_KEY_BYTES = 32


class KeyType(IntEnum):
    """The signature types of a note key that are understood."""

    ED25519 = 1
    COSIGNATURE = 4


@dataclass(frozen=True, slots=True)
class LogKey:
    """A note verifier key, written `<name>+<key id>+<base64 of type and key>` ("vkey").

    Law: `str(LogKey.parse(s)) == s` and `LogKey.parse(str(k)) == k`.

    Attributes:
        name: the log's or the cosigner's name: printable ASCII without space and plus sign.
        public: raw Ed25519 public key, 32 bytes.
        type: what its signatures sign.

    Raises:
        MalformedError: a field that the text form cannot write.
    """

    name: str
    public: bytes
    type: KeyType = KeyType.ED25519

    def __post_init__(self) -> None:
        if not KEY_NAME.fullmatch(self.name) or len(self.public) != _KEY_BYTES:
            raise MalformedError(f"log key {self.name[:80]!r}: the name or the key is not of the accepted form")

    @property
    def id(self) -> bytes:
        """The four bytes that tell keys of one name apart."""
        return hashlib.sha256(self.name.encode("ascii") + b"\n" + bytes([self.type]) + self.public).digest()[:ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode_base64(bytes([self.type]) + self.public)}"

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """The key that this text writes.

        Raises:
            MalformedError: not a vkey, of an unknown type, or with a wrong key id.
        """
        name, _, rest = vkey.partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = decode_base64(encoded, "log key")
        if not raw or raw[0] not in set(KeyType):
            raise MalformedError(f"log key {name[:80]!r}: not an Ed25519 key or cosignature key")
        key = cls(name, raw[1:], KeyType(raw[0]))
        if key.id.hex() != key_id:
            raise MalformedError(f"log key {name!r}: key id {key_id[:16]!r} does not match the key")
        return key


class LogSigner:
    """A note key with its private half (unencrypted PEM, PKCS#8), for signing or for cosigning.

    Raises:
        MalformedError: not an unencrypted Ed25519 private key.
    """

    __slots__ = ("_private", "key")

    def __init__(self, name: str, pem: bytes, key_type: KeyType = KeyType.ED25519) -> None:
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise MalformedError("log key: not an unencrypted PEM private key") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise MalformedError("log key: not an Ed25519 private key")
        self._private = private
        self.key = LogKey(name, private.public_key().public_bytes_raw(), key_type)

    @classmethod
    def generate(cls, name: str, key_type: KeyType = KeyType.ED25519) -> Self:
        """A new key, from the operating system's randomness."""
        return cls(name, _private_pem(Ed25519PrivateKey.generate()), key_type)

    @property
    def vkey(self) -> str:
        """The public half as text, to hand out."""
        return str(self.key)

    def private_pem(self) -> bytes:
        """The private half as unencrypted PKCS#8 PEM, for a file that only its owner can read."""
        return _private_pem(self._private)

    def line(self, signed: bytes, prefix: bytes = b"") -> str:
        """The note's signature line over `signed`; `prefix` stands before the signature in the line."""
        return f"{SIGNATURE_MARK}{self.key.name} {encode_base64(self.key.id + prefix + self._private.sign(signed))}\n"


def _private_pem(private: Ed25519PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
