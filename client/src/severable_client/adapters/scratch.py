"""A table on disk for what grows with the number of images, so that memory does not; it vanishes when closed."""

import sqlite3
from contextlib import suppress
from types import TracebackType
from typing import Self


class Scratch:
    """A private SQLite database in a temporary file that SQLite itself removes; small ones never reach the disk.

    Attributes:
        database: the connection, to make tables in.
    """

    def __init__(self) -> None:
        self.database = sqlite3.connect("", isolation_level=None)  # the empty name is a temporary file (SQLite's rule)
        self.database.execute("PRAGMA journal_mode = OFF")
        self.database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def seen_before(self, key: str) -> bool:
        """Remember a text and return whether it was here already."""
        with suppress(sqlite3.IntegrityError):
            self.database.execute("INSERT INTO seen VALUES (?)", (key,))
            return False
        return True

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, and so remove, the table."""
        self.database.close()
