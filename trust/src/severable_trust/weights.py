"""A weights file in one pass: its bytes pass once, in order, in constant memory, and everything is learned of them.

They are read from a stream (`scan_weights`), or handed over as they come in (`WeightsScan`). What is learned is kept
side by side, not raised as it is met: the verifier asks for it step by step, so that a file with a wrong digest is
refused for its digest, whatever else is in it.
"""

import hashlib
import io
from dataclasses import dataclass
from typing import BinaryIO

from severable_trust.digest import Digest
from severable_trust.errors import MalformedError, StatementError
from severable_trust.finite import FinitenessCheck, Look, all_finite
from severable_trust.tensors import LENGTH_BYTES, MAX_HEADER, TensorInfo, read_header

_BLOCK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """What one pass over a safetensors file found. Only a `WeightsScan` makes one.

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
    scan = WeightsScan(size)
    while block := stream.read(_BLOCK):
        scan.feed(block)
    return scan.found()


class WeightsScan:
    """The pass itself, for a file that comes in block by block.

    Law: what it finds does not depend on where the blocks are cut; it is what `scan_weights` finds in the whole file.

    Args:
        size: the size that the file is said to have, in bytes; its header is held against that.
        look: what says of numbers whether all are finite, as `finite.all_finite` says it.
    """

    def __init__(self, size: int, look: Look = all_finite) -> None:
        self._said, self._look = size, look
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._head = b""
        self._tensors: dict[str, TensorInfo] = {}
        self._malformed: MalformedError | None = None
        self._check: FinitenessCheck | None = None  # none until the header is there

    def feed(self, block: bytes) -> None:
        """Take the bytes that follow on those of the call before."""
        self._sha256.update(block)
        self._size += len(block)
        if self._check is None:
            self._head += block
            wanted = _header_end(self._head)
            if len(self._head) < wanted:
                return
            self._head, block = self._head[:wanted], self._head[wanted:]
            self._check = self._begun()
        self._check.feed(block)

    def found(self) -> WeightsFile:
        """Say what was found, once all of it has come."""
        check = self._check or self._begun()
        return WeightsFile(
            size=self._size,
            digest=Digest(self._sha256.hexdigest()),
            _tensors=self._tensors,
            _malformed=self._malformed,
            _problem=check.problem,
        )

    def _begun(self) -> FinitenessCheck:
        try:
            self._tensors = read_header(io.BytesIO(self._head), self._said)
        except MalformedError as error:
            self._malformed = error
        return FinitenessCheck(self._tensors, self._look)


def _header_end(head: bytes) -> int:
    """Where a header ends, as far as it is there; at its length where that is longer than any header may be."""
    length = int.from_bytes(head[:LENGTH_BYTES], "little") if len(head) >= LENGTH_BYTES else 0
    return LENGTH_BYTES + (length if length <= MAX_HEADER else 0)
