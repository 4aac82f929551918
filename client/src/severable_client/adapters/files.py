"""Files of a home: written whole or not at all, a full disk in one line; recipes by digest, removals by request."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from severable_client.errors import DiskFullError, StorageError
from severable_client.home import Layout
from severable_client.removal import Removal
from severable_trust.digest import Digest

_REMOVAL_FILES = ("request.dsse.json", "acknowledgement.dsse.json", "receipt.json", "denial.dsse.json")


@contextmanager
def storage(what: str) -> Iterator[None]:
    """Turn what the operating system says about the disk into one line.

    Raises:
        DiskFullError: the block found no space left.
        StorageError: whatever other OSError the block raised.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(f"{what}: the disk is full; free some space and run it again") from error
        raise StorageError(f"{what}: {error.strerror or error}: {error.filename or ''}".rstrip(": ")) from error


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that a reader finds the old bytes or the new ones, never a part, however many processes write it.

    Raises:
        StorageError: the disk is full or refuses.
    """
    part = path.with_name(f"{path.name}.part")
    with storage(f"{path} cannot be written"), _alone(part, mode) as stream:
        try:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def _alone(part: Path, mode: int) -> Iterator[BinaryIO]:
    """Open a file, empty, that no other process writes meanwhile: the daemon and a command may write the same one."""
    while True:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT, mode), "wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if _is_at(part, stream):  # it may have got its name while this process waited
                stream.truncate(0)  # what a killed process left
                yield stream
                return


def _is_at(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


class FolderRecipeStore:
    """Recipes as files named by their digest, checked against it at every reading.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Keep the bytes and return their digest."""
        digest = Digest.of(data)
        write_whole(self._folder / f"{digest.hex}.json", data)
        return str(digest)

    def get(self, digest: str) -> bytes | None:
        """Return bytes that have this digest, or None."""
        path = self._folder / f"{Digest.parse(digest).hex}.json"
        if not path.is_file():
            return None
        with storage(f"{path} cannot be read"):
            data = path.read_bytes()
        return data if str(Digest.of(data)) == digest else None


class FolderViewStore:
    """This party's own last view of the coordinator's log and roster; evidence against it beside them.

    Args:
        layout: the home.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def checkpoint(self) -> str | None:
        """Return the note accepted last, or None."""
        path = self._layout.checkpoint
        with storage(f"{path} cannot be read"):
            return path.read_text(encoding="utf-8") if path.exists() else None

    def keep_checkpoint(self, note: str) -> None:
        """Replace it."""
        write_whole(self._layout.checkpoint, note.encode())

    def cosigned(self) -> str | None:
        """Return the note that was cosigned and taken last, or None."""
        path = self._layout.cosigned
        with storage(f"{path} cannot be read"):
            return path.read_text(encoding="utf-8") if path.exists() else None

    def keep_cosigned(self, note: str) -> None:
        """Replace it."""
        write_whole(self._layout.cosigned, note.encode())

    def roster(self) -> bytes:
        """Return the roster accepted last."""
        with storage(f"{self._layout.roster} cannot be read"):
            return self._layout.roster.read_bytes()

    def keep_roster(self, envelope: bytes) -> None:
        """Replace it."""
        write_whole(self._layout.roster, envelope)

    def accuse(self, text: str) -> str:
        """Keep evidence for good, the same evidence once; returns its path."""
        data = text.encode()
        path = self._layout.trust / f"alarm-{Digest.of(data).hex[:16]}.txt"
        if not path.exists():
            write_whole(path, data)
        return str(path)

    def alarms(self) -> tuple[Path, ...]:
        """Return the files of evidence, if any."""
        return tuple(sorted(self._layout.trust.glob("alarm-*.txt")))


class FolderRemovalStore:
    """Erasure requests and what came back, a folder each.

    Args:
        folder: where the folders lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, removal: Removal) -> None:
        """Keep it, the request first."""
        home = self._folder / removal.id.hex
        with storage(f"{home} cannot be made"):
            home.mkdir(parents=True, exist_ok=True)
        parts = (removal.request, removal.acknowledgement, removal.receipt, removal.denial)
        for name, data in zip(_REMOVAL_FILES, parts, strict=True):
            if data:
                write_whole(home / name, data)

    def drop(self, removal: Removal) -> None:
        """Forget it."""
        with storage(f"{removal.id.hex} cannot be removed"):
            shutil.rmtree(self._folder / removal.id.hex)

    def all(self) -> tuple[Removal, ...]:
        """Return every removal, ordered by when it was submitted."""
        homes = [home for home in sorted(self._folder.iterdir()) if (home / _REMOVAL_FILES[0]).is_file()]
        return tuple(sorted((self._read(home) for home in homes), key=lambda removal: removal.says.submitted))

    def _read(self, home: Path) -> Removal:
        with storage(f"{home} cannot be read"):
            request, acknowledgement, receipt, denial = (
                path.read_bytes() if path.is_file() else b"" for path in (home / name for name in _REMOVAL_FILES)
            )
        return Removal(request=request, acknowledgement=acknowledgement, receipt=receipt, denial=denial)
