"""Turns between the coordinator's processes, by locks on files that end with whoever holds them.

    HOME/turns/hand-out.lock      shared by those who hand something out, exclusive for a withdrawal
    HOME/turns/erase.lock         one erasure at a time
    HOME/turns/group-GROUP.lock   one assembly for a group
    HOME/turns/party-PARTY.lock   one removal of a party at a time
    HOME/turns/removal.lock       one removal at a time, once its shards are withdrawn
    HOME/turns/use-ID.json        the shards that somebody's work holds; locked while it works

A file of the last kind goes when the work ends; one that a killed process left is told by its missing lock.
"""

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from severable_coordinator.adapters.exclusive import exclusive
from severable_coordinator.errors import BusyError
from severable_trust.digest import Digest

_POLL_S = 0.05


class FileTurns:
    """Turns over a directory; it is made when it is first needed."""

    def __init__(self, directory: Path) -> None:
        """Work in a directory of the home."""
        self._directory = directory

    @contextmanager
    def handing_out(self) -> Iterator[None]:
        """See Turns."""
        with self._lock("hand-out.lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            yield

    @contextmanager
    def withdrawing(self) -> Iterator[None]:
        """See Turns."""
        with exclusive(self._lock("hand-out.lock")):
            yield

    @contextmanager
    def assembling(self, group: str) -> Iterator[None]:
        """See Turns."""
        with exclusive(self._lock(f"group-{Digest.of(group.encode()).hex[:16]}.lock")):
            yield

    @contextmanager
    def erasing(self) -> Iterator[None]:
        """See Turns."""
        with exclusive(self._lock("erase.lock")):
            yield

    @contextmanager
    def carrying_out(self, party: str) -> Iterator[None]:
        """See Turns."""
        with exclusive(self._lock(f"party-{Digest.of(party.encode()).hex[:16]}.lock")):
            yield

    @contextmanager
    def removing(self) -> Iterator[None]:
        """See Turns."""
        with exclusive(self._lock("removal.lock")):
            yield

    @contextmanager
    def using(self, shards: Iterable[Digest]) -> Iterator[None]:
        """See Turns. The file has its name only once it is locked and whole: nobody takes it for a dead one's."""
        name = uuid.uuid4().hex
        part, path = self._lock(f"new-{name}"), self._lock(f"use-{name}.json")
        with part.open("x") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX)
                json.dump({"process": os.getpid(), "shards": [str(shard) for shard in shards]}, stream)
                stream.flush()
                part.replace(path)
                yield
            finally:
                part.unlink(missing_ok=True)
                path.unlink(missing_ok=True)

    def wait_until_unused(self, shards: Iterable[Digest], patience_s: float) -> None:
        """See Turns."""
        wanted = {str(shard) for shard in shards}
        deadline = time.monotonic() + patience_s
        while users := self._users(wanted):
            if time.monotonic() >= deadline:
                raise BusyError(
                    f"process {users[0]} still works with a shard that is being removed; end it, run the removal again"
                )
            time.sleep(_POLL_S)

    def _users(self, wanted: set[str]) -> list[int]:
        """The processes that work with one of these shards; what any dead one left is cleared away, unread."""
        found = []
        for path in self._directory.glob("use-*.json"):
            try:
                with path.open() as stream:
                    try:
                        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        said = json.load(stream)
                        found += [int(said["process"])] if wanted & set(said["shards"]) else []
                    else:
                        path.unlink(missing_ok=True)
            except FileNotFoundError:  # it has just ended
                continue
        return found

    def _lock(self, name: str) -> Path:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        return self._directory / name
