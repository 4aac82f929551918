"""How far a long piece of work is, and about how long it will still take, on stderr."""

import sys
import time
from collections.abc import Callable

from severable_client.jobs import time_left

_ON_TERMINAL_S = 0.5
_IN_LOG_S = 30.0
_FIRST_S = 2.0  # before that nothing is said: most work is over sooner


class Progress:
    """A line that is written over itself on a terminal, and now and then a new one elsewhere.

    Args:
        what: the work, as "looked at".
        clock: gives seconds.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._clock = clock
        self._begun = clock()
        self._next = self._begun + _FIRST_S
        self._terminal = sys.stderr.isatty()
        self._said = False

    def __call__(self, done: int, total: int) -> None:
        """Say how much is done, if it is time to say something again."""
        moment = self._clock()
        if moment < self._next:
            return
        self._next = moment + (_ON_TERMINAL_S if self._terminal else _IN_LOG_S)
        self._said = True
        line = f"{self._what} {done:,} of {total:,}, {time_left((moment - self._begun) / done * max(0, total - done))}"
        sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._said and self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
