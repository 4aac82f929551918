"""How far the log has come, kept with the keys and so out of every backup that holds the database.

A database that is put back from before a removal agrees with itself: its entries, checkpoints and states are all of
that day. Only something that was not put back with it can tell.
"""

from pathlib import Path

from severable_coordinator.adapters.disk import write_private
from severable_coordinator.adapters.exclusive import exclusive
from severable_coordinator.errors import StorageError


class LogMark:
    """The largest size of the log that was ever committed.

    Args:
        path: a file beside the keys.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int:
        """Entries, 0 where nothing was noted. StorageError when the file is damaged."""
        if not self._path.is_file():
            return 0
        text = self._path.read_text(encoding="ascii", errors="replace").strip()
        if not text.isdecimal():
            raise StorageError(f"{self._path}: does not hold a number; restore it, or remove it if you know why")
        return int(text)

    def raise_to(self, size: int) -> None:
        """Note a size that has been committed; a smaller one than before changes nothing.

        One at a time: of two appends at once the later one's size stays.
        """
        with exclusive(self._path.with_name(f"{self._path.name}.lock")):
            if size > self.size():
                write_private(self._path, b"%d\n" % size)
