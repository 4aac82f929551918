"""Kills this process right before its nth durable operation: the fault port of the crash tests.

Durable operations are heard of, not built in: SQLite's commits, VACUUM and checkpoints through SQLAlchemy's events,
files that are opened for writing, renamed or unlinked through Python's audit hooks (PEP 578). What is killed is the
product as it is. Right before the nth means right after the one before it: every gap between two is a point.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

_SQL = ("COMMIT", "VACUUM", "PRAGMA wal_checkpoint")
_UNHEARD = (".lock", "clock.mark")  # the clock's mark is written by the minute, at no fixed place
_WRITING = os.O_WRONLY | os.O_RDWR


class Guillotine:
    """Counts the durable operations of this process below a home, and falls at one of them.

    Args:
        home: the directory that counts.
        at: the operation before which this process is killed, from 1; 0 for none.

    Attributes:
        heard: what each operation was, in order.
    """

    def __init__(self, home: Path, at: int) -> None:
        self._home, self._at = str(home), at
        self.heard: list[str] = []

    def arm(self) -> None:
        """Begin to listen; there is no end to it in this process."""
        event.listen(Engine, "before_cursor_execute", self._on_sql)
        sys.addaudithook(self._on_audit)

    def _on_sql(self, _c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: Any) -> None:
        if statement.startswith(_SQL):
            self._count(statement)

    def _on_audit(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "open" and isinstance(arguments[0], str | os.PathLike) and arguments[2] & _WRITING:
            self._at_path("write", os.fspath(arguments[0]))
        elif name in {"os.remove", "os.rmdir"}:
            if arguments[1] == -1:
                self._at_path(name, os.fspath(arguments[0]))
            else:  # shutil.rmtree works with names in open directories
                self._count(f"{name} {os.fspath(arguments[0])}")
        elif name == "os.rename":
            self._at_path(name, os.fspath(arguments[1]))

    def _at_path(self, what: str, path: str) -> None:
        if path.startswith(self._home) and not any(word in path for word in _UNHEARD):
            self._count(f"{what} {path[len(self._home) + 1 :]}")

    def _count(self, what: str) -> None:
        self.heard.append(what)
        if len(self.heard) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
