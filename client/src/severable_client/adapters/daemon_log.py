"""What the daemon says: a line for people at the terminal, and the same as JSON in logs/daemon.jsonl.

One object a line: ``at`` (UTC, milliseconds), ``component``, ``event``, ``message``, ``process``. The file is set aside
at 8 MiB and four older ones are kept. No line holds a key, a token or a file name of the data.
"""

import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE = "daemon.jsonl"
MAX_BYTES = 8 << 20
KEPT = 4

Say = Callable[[str], None]


class DaemonLog:
    """The log of one daemon.

    Args:
        folder: where the file lies.
        terminal: told every line for people.
        discreet: leaves out of a line what must not be logged.
        max_bytes: size at which the file is set aside.
    """

    def __init__(self, folder: Path, terminal: Say, discreet: Callable[[str], str], max_bytes: int = MAX_BYTES) -> None:
        self._terminal = terminal
        self.discreet = discreet
        # Opened at the first line: a second daemon on this home is refused before it says one.
        self._file = _Quiet(folder / FILE, maxBytes=max_bytes, backupCount=KEPT, encoding="utf-8", delay=True)
        self._file.setFormatter(_Json())

    def of(self, component: str) -> Say:
        """Return what a part of the daemon says its lines to."""
        return lambda line: self.tell(component, "said", line)

    def tell(self, component: str, event: str, line: str) -> None:
        """Write and say a line; any thread may."""
        line = self.discreet(line)
        fields = {"msg": line, "component": component, "event": event}
        self._file.handle(logging.makeLogRecord(fields | {"levelno": logging.INFO}))
        self._terminal(line)  # whoever has read it there finds it in the file

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Quiet(RotatingFileHandler):
    """Leaves out what cannot be written: a full disk must not end the daemon, and the terminal has the line."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing."""

    def _open(self) -> object:  # type: ignore[override]  # the stream's type does not matter to its users
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "component": record.__dict__["component"],
            "event": record.__dict__["event"],
            "message": record.getMessage(),
            "process": os.getpid(),
        }
        return json.dumps(fields, ensure_ascii=False)
