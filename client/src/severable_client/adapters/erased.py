"""Erased records on disk: their keyed hashes in one file of the home, and what a job's training left in its folder."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from severable_client.adapters.files import storage, write_whole
from severable_client.errors import HomeError
from severable_client.home import Layout

EXCLUDED = "erased-before"  # in a job's folder: how many records were erased when its images were read
_PRIVATE = 0o600
_LINE_BYTES = 65  # 64 hex digits and a newline


class FileErasedStore:
    """The list in a home. It is replaced as a whole, by one process at a time.

    Args:
        path: the file; it is there once something was erased.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> tuple[bytes, ...]:
        """Return every hash, oldest first.

        Raises:
            HomeError: the file holds something else.
            StorageError: it cannot be read.
        """
        with storage(f"{self._path} cannot be read"):
            data = self._path.read_bytes() if self._path.exists() else b""
        try:
            lines = [bytes.fromhex(line) for line in data.decode("ascii").splitlines()]
        except ValueError as error:
            raise HomeError(f"{self._path} is damaged; restore it from a backup") from error
        if len(data) != _LINE_BYTES * len(lines) or any(len(line) != _LINE_BYTES // 2 for line in lines):
            raise HomeError(f"{self._path} is damaged; restore it from a backup")
        return tuple(lines)

    def count(self) -> int:
        """Return how many there are, by the file's size alone."""
        try:
            return self._path.stat().st_size // _LINE_BYTES
        except FileNotFoundError:
            return 0

    def add(self, hashes: Sequence[bytes]) -> int:
        """Keep those that are not there yet; they are on the disk when this returns.

        Raises:
            HomeError: the file is damaged.
            StorageError: the disk; nothing has changed.
        """
        with self._locked():
            held = self.all()
            known = frozenset(held)
            new = [hashed for hashed in dict.fromkeys(hashes) if hashed not in known]
            if new:
                text = "".join(f"{hashed.hex()}\n" for hashed in (*held, *new))
                write_whole(self._path, text.encode("ascii"), _PRIVATE)
                with storage(f"{self._path} cannot be written"):
                    _sync(self._path.parent)
        return len(new)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with storage(f"{self._path} cannot be written"):
            descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, _PRIVATE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class FolderTraces:
    """Jobs' folders as what trainings left.

    Args:
        layout: the home.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def note(self, job_id: str, excluded: int) -> None:
        """Note how many records were erased when the job read its images; none is what no note says too."""
        if not excluded:
            return
        folder = self._layout.jobs / job_id
        with storage(f"{folder} cannot be made"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(folder / EXCLUDED, f"{excluded}\n".encode("ascii"), _PRIVATE)

    def excluded(self, job_id: str) -> int:
        """Return what was noted, 0 if nothing."""
        path = self._layout.jobs / job_id / EXCLUDED
        with storage(f"{path} cannot be read"):
            text = path.read_text(encoding="ascii").strip() if path.exists() else ""
        return int(text) if text.isdecimal() else 0

    def discard(self, job_id: str) -> None:
        """Remove the job's folder."""
        folder = self._layout.jobs / job_id
        with storage(f"{folder} cannot be removed"):
            if folder.exists():
                shutil.rmtree(folder)

    def forget_images(self) -> None:
        """Remove the decoded images; whoever needs them decodes those that remain."""
        shutil.rmtree(self._layout.images, ignore_errors=True)


def _sync(folder: Path) -> None:
    """See that a file's new name outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
