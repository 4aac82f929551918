"""One daemon per home: a lock that the operating system drops when its holder ends, however it ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from severable_client.adapters.files import storage
from severable_client.errors import BusyError

_TRIES, _PAUSE_S = 4, 0.05


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock for the block.

    Raises:
        BusyError: another process holds it; its process id is named.
    """
    with storage(f"{path} cannot be opened"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    for _ in range(_TRIES):  # whoever only asks who holds the lock has it for an instant
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return
    number = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
    raise BusyError(f"{path.parent} has a daemon already (process {number}); end that one first")


def holder(path: Path) -> int | None:
    """Return the process id of who holds the lock, or None."""
    if not path.is_file():
        return None
    with storage(f"{path} cannot be opened"), path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = stream.read(32).decode("ascii", "replace").strip()
            return int(text) if text.isdigit() else 0
    return None
