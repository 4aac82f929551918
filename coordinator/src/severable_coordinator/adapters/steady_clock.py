"""The machine's clock, held to the times that were used before: set back, it would bring ended terms to life again."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from severable_coordinator.adapters.disk import write_private
from severable_coordinator.errors import ConfigError, StorageError
from severable_trust.errors import MalformedError
from severable_trust.instant import format_instant, parse_instant

TOLERANCE = timedelta(minutes=5)  # which a network's time service may take back
_KEPT_EVERY = timedelta(minutes=1)


class SteadyClock:
    """Tells the time, or refuses to when it is earlier than one told before, also by another process.

    Args:
        path: where the latest time is kept.
        clock: the machine's clock, UTC in whole seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        self._path, self._clock = path, clock
        self._kept: datetime | None = None
        self._marked = False  # whether the file was ever there
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        """The time now. ConfigError when the clock went back by more than five minutes."""
        now = self._clock()
        with self._lock:
            if self._kept is None or now >= self._kept + _KEPT_EVERY:
                self._kept = self._keep(now)
            kept = self._kept
        if now < kept - TOLERANCE and self._marked and self._read() is None:  # the operator took a wrong time away
            with self._lock:
                self._kept = kept = self._keep(now)
        if now < kept - TOLERANCE:
            raise ConfigError(
                f"this machine's clock says {format_instant(now)}, but {format_instant(kept)} was told before; "
                f"set the clock right, or remove {self._path} if that time was wrong"
            )
        return now

    def _keep(self, now: datetime) -> datetime:
        """The later of now and what any process kept before."""
        before = self._read()
        self._marked = self._marked or before is not None
        if before is not None and before >= now:
            return before
        with suppress(OSError, StorageError):  # neither a full disk nor another process that keeps it, too, stops it
            write_private(self._path, format_instant(now).encode() + b"\n")
            self._marked = True
        return now

    def _read(self) -> datetime | None:
        try:
            return parse_instant(self._path.read_text(encoding="ascii").strip())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, MalformedError) as error:
            raise ConfigError(f"{self._path}: cannot be read as a time; remove it once the clock is right") from error
