"""A sealed file that grows over several connections, and over restarts: a shard's file while it comes in.

    NAME.growing    tink's stream as far as it came; its whole segments can be read back without its end
    NAME.left       the same, of a process that has ended, while it is taken over
    NAME            whole

A stream cannot be gone on with once its process has ended, since what seals its segments was in memory alone. What is
left of one is read, segment by segment, into a new one. The last two or three MiB had not reached the disk as whole
segments; they are sent again.

The disk is told to write while more comes, so that little is left to wait for at the end; and a file that is said to be
whole is on the disk, not in memory alone.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import BinaryIO

import tink

from severable_coordinator.errors import StorageError

_BLOCK = 1 << 18  # bytes read at a time
_UNWRITTEN = 32 << 20  # bytes that may wait in memory for the disk


class GrowingFile:
    """See `ports.Growing`.

    Args:
        path: the file, once it is whole.
        seal: gives a stream that encrypts into a file; unbuffered, for a buffer would copy what is large anyway.
        unseal: gives a stream that decrypts another, and raises TinkError where it ends too soon.
        disk: says of the disk's errors what to do about them.
        begin: begins a pass over the file, which is given every byte that is held, in order and once.
    """

    def __init__(
        self,
        path: Path,
        seal: Callable[[RawIOBase], RawIOBase],
        unseal: Callable[[BinaryIO], BufferedReader],
        disk: Callable[[], AbstractContextManager[None]],
        begin: Callable[[], Callable[[bytes], object]],
    ) -> None:
        self._path, self._seal, self._unseal, self._disk, self._begin = path, seal, unseal, disk, begin
        self._growing = path.with_name(path.name + ".growing")
        self._left = path.with_name(path.name + ".left")
        self._stream: RawIOBase | None = None
        self._raw: RawIOBase | None = None
        self._whole = self._broken = False
        self._writing = 0  # bytes of the sealed file that the disk was told to write
        self.size = 0
        self._pass = begin()
        with disk():
            self._look()

    @property
    def there(self) -> bool:
        """See `ports.Growing`."""
        if self._broken:
            return False
        if self._whole:
            return self._path.is_file()
        return not self.size or (self._stream is not None and self._growing.is_file())

    def write(self, data: bytes) -> None:
        """See `ports.Growing`."""
        try:
            with self._disk():
                if self._stream is None:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    self._raw = self._growing.open("wb", buffering=0)
                    self._stream, self._writing = self._seal(self._raw), 0
                _write_all(self._stream, data)
                self._have_written()
            self._pass(data)
        except BaseException:
            self._broken = True  # what is on the disk decides where to go on
            self.close()
            raise
        self.size += len(data)

    def _have_written(self) -> None:
        """Have the disk begin with what has come, and what it has written leave the page cache; nobody waits for it.

        So a file takes as much of the page cache as the disk is behind, and the next blocks find pages that are there:
        fresh ones cost more than the copying into them where a hypervisor hands them out.
        """
        if self._raw is None or sys.platform != "linux":
            return
        end = self._raw.tell()
        if end - self._writing >= _UNWRITTEN:
            with suppress(OSError):  # advice, which not every file system takes
                os.posix_fadvise(self._raw.fileno(), 0, end, os.POSIX_FADV_DONTNEED)
            self._writing = end

    def finish(self) -> None:
        """See `ports.Growing`."""
        if self._whole or self._stream is None:
            return
        try:
            with self._disk():
                self._stream.close()
                with self._growing.open("rb") as written:
                    os.fsync(written.fileno())
                self._growing.replace(self._path)
        except BaseException:
            self._broken = True
            raise
        finally:
            self.close()
        self._whole = True

    def close(self) -> None:
        """See `ports.Growing`."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(OSError, ValueError, tink.TinkError, StorageError):
                stream.close()
        if self._raw is not None:
            self._raw.close()  # tink leaves it open where it could not end its stream

    def _look(self) -> None:
        """See what is there: all of it, a part, or nothing."""
        if self._path.is_file():
            try:
                for block in self._blocks(self._path):
                    self._pass(block)
                    self.size += len(block)
            except tink.TinkError:  # altered on the disk: what can be read of it is a part
                self._path.replace(self._left)
                self.size, self._pass = 0, self._begin()
            else:
                self._whole = True
                return
        self._take_over()

    def _take_over(self) -> None:
        """Read what another process left into a stream of this one's."""
        if self._left.is_file():
            self._growing.unlink(missing_ok=True)  # an earlier taking over that was cut off
        elif self._growing.is_file():
            self._growing.replace(self._left)
        else:
            return
        with suppress(tink.TinkError):  # its end is missing
            for block in self._blocks(self._left):
                self.write(block)
        self._left.unlink()

    def _blocks(self, path: Path) -> Iterator[bytes]:
        """The plain bytes of a sealed file, as far as they can be read; then TinkError unless that is all of it."""
        with path.open("rb") as raw:
            stream = self._unseal(raw)
            while block := stream.read1(_BLOCK):
                yield block


def _write_all(stream: RawIOBase, data: bytes) -> None:
    """An unbuffered stream may take a part."""
    rest = data
    while rest:
        taken = stream.write(rest)
        if not taken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest = rest[taken:]
