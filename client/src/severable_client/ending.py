"""When a worker process should go on no longer: its parent has ended, or it was asked to end."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from severable_client.errors import AbandonedError

AGAIN_LATER = 75  # exit code of a worker whose job can be taken up again: EX_TEMPFAIL of sysexits.h


@contextmanager
def asked_to_end() -> Iterator[Callable[[], bool]]:
    """Give a check of whether SIGTERM came since the block began; in the block it does not end the process."""
    asked = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGTERM, before)


def tether_to_parent() -> Callable[[], None]:
    """Return a check that raises AbandonedError once this process's parent is no longer the one it has now."""
    parent = os.getppid()

    def check() -> None:
        if os.getppid() != parent:
            raise AbandonedError("the daemon that started this worker has ended; the job goes on at the next `up`")

    return check
