"""Files that only their owner can read, written whole or not at all; a full disk is one line."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import tink

from severable_coordinator.errors import StorageError


def write_private(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, however many processes write it at once. StorageError when the disk is full."""
    partial = path.with_name(path.name + ".partial")
    with disk_errors(path), _alone(partial) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
        partial.replace(path)


def settle(directory: Path) -> None:
    """Wait until the disk has the names in a directory: a rename alone may be lost with the power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Say of a full disk what to do about it. StorageError."""
    try:
        yield
    except (OSError, tink.TinkError) as error:
        if _is_full(error):
            raise StorageError(f"{path}: no space left on the disk; free some and try again") from error
        raise


@contextmanager
def _alone(partial: Path) -> Iterator[BinaryIO]:
    """Open a file, empty, that no other process writes meanwhile: `up` and a command may write the same one."""
    while True:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if _is_at(partial, stream):  # it may have got its name while this process waited
                stream.truncate(0)  # what a killed process left
                yield stream
                return


def _is_at(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _is_full(error: Exception) -> bool:
    """Whether a write failed for want of space; tink passes the system's error on as text alone."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in full or any(f"[Errno {number}]" in str(error) for number in full)
