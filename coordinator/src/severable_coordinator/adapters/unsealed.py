"""A sealed file's plain bytes as a stream that can be read from the start and gone back in."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import tink
from tink import streaming_aead

from severable_coordinator.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer
else:
    Buffer = object

_SEGMENT = 1 << 20  # bytes read at a time


class Unsealed(io.RawIOBase, BinaryIO):
    """A decrypting stream that can go back: tink's cannot, so going back opens it anew.

    StorageError where the file was altered.

    Args:
        path: the sealed file.
        primitive: of its party's key.
        bound: the associated data that it was sealed with.
    """

    def __init__(self, path: Path, primitive: streaming_aead.StreamingAead, bound: bytes) -> None:
        self._path, self._primitive, self._bound = path, primitive, bound
        self._stream, self._position = self._start(), 0

    def _start(self) -> BinaryIO:
        return io.BufferedReader(self._primitive.new_decrypting_stream(self._path.open("rb"), self._bound), _SEGMENT)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes, at the cost of reading again."""
        return True

    def tell(self) -> int:
        """The next plain byte's place."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """See BinaryIO."""
        try:
            data = self._stream.read(size)
        except tink.TinkError as error:
            raise StorageError(f"{self._path.name}: the stored file was altered; restore it from a backup") from error
        self._position += len(data)
        return data

    def readinto(self, buffer: Buffer) -> int:
        """See RawIOBase."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, from the start only."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("seek from the start only")
        if offset < self._position:
            self._stream.close()
            self._stream, self._position = self._start(), 0
        while self._position < offset and self.read(min(_SEGMENT, offset - self._position)):
            pass
        return self._position

    def close(self) -> None:
        """See BinaryIO."""
        if not self.closed:
            self._stream.close()
        super().close()
