"""One at a time, over threads and processes: a lock file that the operating system drops when its holder ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the lock and hold it for the block. Not reentrant."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor) as stream:  # an own open file for every holder: threads exclude each other too
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
