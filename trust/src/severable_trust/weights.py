"""A weights file in one pass: its bytes are read once, in order, in constant memory, and everything is learned of them.

What is learned is kept side by side, not raised as it is met: the verifier asks for it step by step, so that a file
with a wrong digest is refused for its digest, whatever else is in it.
"""

import hashlib
import io
from dataclasses import dataclass
from typing import BinaryIO

from severable_trust.digest import Digest
from severable_trust.errors import MalformedError, StatementError
from severable_trust.finite import FinitenessCheck
from severable_trust.tensors import TensorInfo, read_header

_BLOCK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """What one pass over a safetensors file found. Only `scan_weights` makes one.

    Attributes:
        size: bytes read.
        digest: SHA-256 of them.
    """

    size: int
    digest: Digest
    _tensors: dict[str, TensorInfo]
    _malformed: MalformedError | None
    _problem: str

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """The tensors by name, in the order of their bytes.

        Raises:
            MalformedError: not a safetensors file of the strict form.
        """
        if self._malformed is not None:
            raise self._malformed
        return self._tensors

    def require_finite(self) -> None:
        """Return if no tensor holds NaN or an infinity.

        Raises:
            MalformedError: not a safetensors file of the strict form.
            StatementError: a tensor holds NaN or an infinity, or is of a dtype whose numbers cannot be checked.
        """
        if self.tensors and self._problem:
            raise StatementError(self._problem)


def scan_weights(stream: BinaryIO, size: int) -> WeightsFile:
    """Read a weights file from where the stream stands to its end.

    Args:
        stream: the file, at its beginning; it need not be seekable.
        size: the size it is said to have, in bytes; its header is held against that.
    """
    passing = _Hashing(stream)
    tensors: dict[str, TensorInfo] = {}
    malformed: MalformedError | None = None
    try:
        tensors = read_header(passing, size)
    except MalformedError as error:
        malformed = error
    check = FinitenessCheck(tensors)
    while block := passing.read(_BLOCK):
        check.feed(block)
    return WeightsFile(
        size=passing.tell(),
        digest=Digest(passing.sha256.hexdigest()),
        _tensors=tensors,
        _malformed=malformed,
        _problem=check.problem,
    )


class _Hashing(io.RawIOBase, BinaryIO):
    """A stream that hashes what is read through it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._position = 0
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.sha256.update(data)
        self._position += len(data)
        return data

    def tell(self) -> int:
        return self._position
