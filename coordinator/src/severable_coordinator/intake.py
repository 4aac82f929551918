"""The uploads under way: how far each of their files has grown, and whose turn it is.

The disk is the truth. What is remembered here was read from it when an upload was first asked about, and is read again
once a file is no longer there (a removal, or a newer claim for the same task, took it away).
"""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from severable_coordinator.ports import UploadRecord
from severable_coordinator.reading import Reading
from severable_coordinator.uploads import files_of, grown_as
from severable_coordinator.vault_port import Growing, Vault
from severable_coordinator.weight_sketch import Sketching
from severable_trust.digest import FileDigest
from severable_trust.shard import WEIGHTS


@dataclass(eq=False)
class Intake:
    """One upload under way.

    Attributes:
        files: what its claim lists, by name.
        growing: those that were asked about.
        chunks: how many were taken of each by this process.
        reading: the pass over the weights as they come, once they were asked about.
        turn: one chunk, or the end of the upload, at a time.
    """

    files: dict[str, FileDigest]
    growing: dict[str, Growing] = field(default_factory=dict)
    chunks: Counter[str] = field(default_factory=Counter)
    reading: Reading | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)


class Intakes:
    """The uploads under way of one process.

    Args:
        vault: where files grow.
        sketching: begins the sketch of weights of so many bytes.
    """

    def __init__(self, vault: Vault, sketching: Callable[[int], Sketching]) -> None:
        self._vault, self._sketching = vault, sketching
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reading")
        self._known: dict[str, Intake] = {}
        self._lock = threading.Lock()

    def of(self, upload: UploadRecord) -> Intake:
        """Return the one intake of an open upload."""
        with self._lock:
            if upload.id not in self._known:
                self._known[upload.id] = Intake({file.name: file for file in files_of(upload)})
            return self._known[upload.id]

    def growing(self, intake: Intake, upload: UploadRecord, name: str) -> Growing:
        """Return a file as far as it has grown; asked with the intake's turn held."""
        known = intake.growing.get(name)
        if known is None or not known.there:
            if known is not None:
                known.close()
            intake.chunks[name] = 0
            known = self._vault.grow(upload.party, *grown_as(upload, name), lambda: self._pass(intake, name))
            intake.growing[name] = known
            if known.size == intake.files[name].size:
                known.finish()
        return known

    def _pass(self, intake: Intake, name: str) -> Callable[[bytes], object]:
        """Begin the pass over a file: the weights are read as they come, the small files when all is there."""
        if name != WEIGHTS:
            return len
        size = intake.files[name].size
        intake.reading = Reading(size, self._sketching(size), self._thread)
        return intake.reading.feed

    def forget(self, upload_id: str) -> None:
        """Let go of an upload that has ended."""
        with self._lock:
            gone = self._known.pop(upload_id, None)
        if gone is not None:
            _close(gone)

    def sweep(self) -> None:
        """Let go of what was taken away on the disk, by a removal in another process: an open file keeps its blocks."""
        with self._lock:
            known = list(self._known.values())
        for intake in known:
            if not intake.turn.acquire(blocking=False):
                continue  # a chunk is being taken, and looks by itself
            try:
                for name in [name for name, growing in intake.growing.items() if not growing.there]:
                    intake.growing.pop(name).close()
            finally:
                intake.turn.release()

    def close(self) -> None:
        """Let go of all of them, before this process ends: nothing that was taken is lost."""
        with self._lock:
            known, self._known = list(self._known.values()), {}
        for intake in known:
            with intake.turn:
                _close(intake)


def _close(intake: Intake) -> None:
    for growing in intake.growing.values():
        growing.close()
