"""Digests that carry their algorithm, and the digest of a named file.

Law: `Digest.parse(str(d)) == d`. A digest never travels as bare hexadecimal.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import BinaryIO, Self

from severable_trust.errors import MalformedError

_HEX = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[!-.0-9;-\[\]-~]+(/[!-.0-9;-\[\]-~]+)*")  # printable ASCII; no space, colon or backslash
_MAX_NAME = 255  # characters
_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 digest, written `sha256:<64 lower-case hexadecimal digits>`.

    Raises:
        MalformedError: another algorithm, or not 64 lower-case hexadecimal digits.
    """

    hex: str
    algorithm: str = "sha256"

    def __post_init__(self) -> None:
        if self.algorithm != "sha256" or not _HEX.fullmatch(self.hex):
            text = f"{self.algorithm}:{self.hex}"
            raise MalformedError(f"digest: {text[:80]!r} is not 'sha256:' and 64 hexadecimal digits")

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The digest of these bytes."""
        return cls(hashlib.sha256(data).hexdigest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """The digest that this text writes.

        Raises:
            MalformedError: not `sha256:` and 64 lower-case hexadecimal digits.
        """
        algorithm, colon, digits = text.partition(":")
        if not colon:
            raise MalformedError(f"digest: {text[:80]!r} does not name its algorithm, as in 'sha256:...'")
        return cls(digits, algorithm)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class FileDigest:
    """One file of a directory: where it lies, how long it is, what is in it.

    Attributes:
        name: relative POSIX path of printable ASCII characters; it cannot leave the directory.
        size: bytes, 0 or more.
        digest: SHA-256 of the content.

    Raises:
        MalformedError: the name is empty, absolute or could leave its directory, or the size is negative.
    """

    name: str
    size: int
    digest: Digest

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.size < 0:
            raise MalformedError(f"file {self.name!r}: size {self.size} is negative")

    @classmethod
    def of(cls, name: str, data: bytes) -> Self:
        """The file of this name and content."""
        return cls(name=name, size=len(data), digest=Digest.of(data))


def check_name(name: str) -> None:
    """Refuse a file name that is not a plain relative path inside its directory.

    Raises:
        MalformedError: empty, absolute, longer than 255 characters, or with `.`, `..`, a space, a colon, a backslash,
            a control or a non-ASCII character.
    """
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise MalformedError(f"file name {name[:80]!r} is not a plain relative path")
    if any(part in {".", ".."} for part in name.split("/")):
        raise MalformedError(f"file name {name!r} could leave its directory")


def measure(stream: BinaryIO) -> tuple[int, Digest]:
    """The size in bytes and the digest of a stream, from its beginning to its end, in constant memory."""
    stream.seek(0)
    size, state = 0, hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        state.update(chunk)
    return size, Digest(state.hexdigest())
