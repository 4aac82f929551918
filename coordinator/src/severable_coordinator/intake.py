"""What is held of every upload under way, so that taking a chunk does not mean looking at all the chunks before it.

The disk is the truth: what is remembered here is read from it when an upload is first asked about, and read again once
the piece that was written last is no longer there (a removal, or a newer claim for the same task, took it away).
"""

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from severable_coordinator.ports import UploadRecord, Vault
from severable_coordinator.uploads import files_of, incoming
from severable_trust.digest import FileDigest


@dataclass(frozen=True, slots=True)
class Held:
    """How much of one file is there: bytes, in how many pieces, and the name of the last one ("" without any)."""

    size: int = 0
    pieces: int = 0
    last: str = ""


@dataclass(eq=False)
class Intake:
    """One upload under way.

    Attributes:
        files: what its claim lists, by name.
        held: how much of each is there.
        turn: one chunk, or the end of the upload, at a time.
    """

    files: dict[str, FileDigest]
    held: dict[str, Held]
    turn: threading.Lock = field(default_factory=threading.Lock)


class Intakes:
    """The uploads under way of one process.

    Args:
        vault: where pieces are kept.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._known: dict[str, Intake] = {}
        self._lock = threading.Lock()

    def of(self, upload: UploadRecord) -> Intake:
        """Return the one intake of an open upload."""
        with self._lock:
            if upload.id not in self._known:
                files = {file.name: file for file in files_of(upload)}
                self._known[upload.id] = Intake(files, {name: self._look(upload, name) for name in files})
            return self._known[upload.id]

    def held(self, intake: Intake, upload: UploadRecord, name: str) -> Held:
        """Return how much of a file is there; asked with the intake's turn held."""
        known = intake.held[name]
        if known.last and not self._vault.holds(upload.party, known.last):
            known = intake.held[name] = self._look(upload, name)
        return known

    def forget(self, upload_id: str) -> None:
        """Let go of an upload that has ended."""
        with self._lock:
            self._known.pop(upload_id, None)

    def _look(self, upload: UploadRecord, name: str) -> Held:
        names = self._vault.names(upload.party, f"{incoming(upload)}/{name}/")
        size = sum(int(piece.rsplit("-", 1)[1]) for piece in names)
        return Held(size, len(names), names[-1] if names else "")


class Copied(io.RawIOBase, BinaryIO):
    """A stream, read once and forwards, whose bytes are handed on as they pass.

    Args:
        stream: what is read.
        sink: takes every block.
    """

    def __init__(self, stream: BinaryIO, sink: Callable[[bytes], object]) -> None:
        self._stream = stream
        self._sink = sink

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return what the stream returns."""
        data = self._stream.read(size)
        if data:
            self._sink(data)
        return data
