"""Pieces of a file as one stream, read in order, one piece in memory at a time."""

import io
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO


class Joined(io.RawIOBase, BinaryIO):
    """A stream over pieces that come one after another; going back to the start asks for them anew.

    Args:
        pieces: gives the pieces in order, from the first.
    """

    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self._pieces = pieces
        self._coming = pieces()
        self._held = b""

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, fewer at the end alone, all that are left for a negative size."""
        parts: list[bytes] = []
        wanted = sys.maxsize if size < 0 else size
        while wanted and (self._held or self._next()):
            part, self._held = self._held[:wanted], self._held[wanted:]
            parts.append(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _next(self) -> bool:
        self._held = next(self._coming, b"")
        return bool(self._held)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go back to the start; nowhere else."""
        if (offset, whence) != (0, io.SEEK_SET):
            raise io.UnsupportedOperation("a joined stream goes back to its start only")
        self._coming, self._held = self._pieces(), b""
        return 0
