"""Idle time of `up`: with `readiness: eager` a child of the lowest priority prepares removals, one thing at a time.

A process of its own, so that `up` stays free of torch, and so that what it does can be ended at any moment: what it had
finished is kept, what it had begun is lost. It is started when something has changed since it last ended, which the
database tells without torch: shards, composites, contracts. While a removal runs it is not started; one that runs
already gives way by itself (`severable_coordinator.readiness`).
"""

import fcntl
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.config import Layout, Preparing
from severable_coordinator.errors import BusyError

_LOOK_EVERY_S = 10.0
_AFTER_FAILURE_S = 600.0
_STOP_S = 10.0
_MAIN = "from severable_coordinator.adapters.cli import main; main()"

Say = Callable[[str], None]


class IdlePreparing:
    """Starts the child and looks after it; `tick` is called often and costs next to nothing."""

    def __init__(self, coordinator: Coordinator, say: Say) -> None:
        """Do nothing yet."""
        self._coordinator, self._say = coordinator, say
        self._child: subprocess.Popen[bytes] | None = None
        self._looked = -_LOOK_EVERY_S
        self._begun: object = None  # what there was when the child was started
        self._done: object = None  # what there was when it last ended well
        self._not_before = 0.0

    def tick(self) -> None:
        """Look once in ten seconds whether the child has ended, and whether there is something to start it for."""
        now = time.monotonic()
        if self._coordinator.config.readiness is not Preparing.EAGER or now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        if self._child is not None and (code := self._child.poll()) is not None:
            self._ended(code, now)
        if self._child is None and now >= self._not_before:
            self._start()

    def end(self) -> None:
        """End the child, if one runs."""
        if self._child is None:
            return
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None

    def _ended(self, code: int, now: float) -> None:
        self._child = None
        if code == 0:
            self._done = self._begun
        else:
            self._not_before = now + _AFTER_FAILURE_S
            where = self._coordinator.layout.logs / "readiness.log"
            self._say(f"preparing removals ended with status {code}, see {where}; tried again in 10 minutes")

    def _start(self) -> None:
        found = self._what_there_is()
        if found in (None, self._done):
            return
        layout = self._coordinator.layout
        command = [sys.executable, "-P", "-c", _MAIN, "readiness", "--prepare", "--home", str(layout.home)]
        with (layout.logs / "readiness.log").open("ab") as log:
            self._child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self._begun = found

    def _what_there_is(self) -> object:
        """What the work depends on, to be compared; None while there is nothing to do or a removal runs."""
        real = self._coordinator
        composites = [(one.group, str(one.id)) for one in real.composites.composites()]
        if not composites or any(removal.state == "in_progress" for removal in real.removals.removals()):
            return None
        shards = [str(shard.id) for shard in real.shards.shards()]
        contracts = [(str(contract.id), str(contract.state)) for contract in real.contracts.contracts()]
        return composites, shards, contracts


@contextmanager
def preparing_lock(layout: Layout) -> Iterator[None]:
    """Hold the one place to prepare removals from. BusyError when another process holds it."""
    with layout.readiness_lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"{layout.home}: another process is preparing removals; leave it to finish") from error
        yield
