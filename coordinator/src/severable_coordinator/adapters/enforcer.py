"""The enforcement loop of `up`: looks for what is due and has one worker process at a time carry it out.

A removal that fails is told in one line and tried again after a growing pause; meanwhile the others go on. Whatever
goes wrong in here is said, and never ends `up`.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from severable_coordinator.adapters import leftovers
from severable_coordinator.adapters.carrying import tell
from severable_coordinator.adapters.removal_worker import one_line
from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.confirmed_time import ConfirmedTime
from severable_coordinator.enforcement import trigger_of
from severable_coordinator.notices import pause_s
from severable_coordinator.ports import RemovalRecord

if TYPE_CHECKING:
    from severable_trust.digest import Digest

Say = Callable[[str], None]

_STOP_S = 10.0
_WAITS = "enforcement waits"


@dataclass(frozen=True, slots=True)
class _Work:
    """A removal that a worker process carries out."""

    record: RemovalRecord
    process: "subprocess.Popen[bytes]"
    begun_s: float


class Enforcer:
    """Does what is due.

    Args:
        coordinator: whose contracts and requests.
        say: told one line at a time.
        monotonic_s: a clock that only goes forward, in seconds.
        pause: seconds to wait after so many failures of one removal.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        say: Say,
        monotonic_s: Callable[[], float] = time.monotonic,
        pause: Callable[[int], float] = pause_s,
    ) -> None:
        self._coordinator, self._say = coordinator, say
        self._monotonic_s, self._pause = monotonic_s, pause
        self._confirmed = ConfirmedTime(coordinator.config.enforcement.confirm_s)
        self._again: dict[Digest, float] = {}  # by request: the monotonic time of the next try
        self._work: _Work | None = None
        self._look_s = float("-inf")  # monotonic time of the last look
        self._said: set[str] = set()

    def start(self) -> None:
        """End a worker that an earlier coordinator left behind."""
        if leftovers.end_those_of_before(self._coordinator.layout.worker):
            self._say("ended the worker of a removal that an earlier coordinator left behind; it goes on")

    def tick(self) -> None:
        """Look whether the worker has ended, and now and then for what is due. Does not raise what can be said."""
        try:
            self._collect()
            now_s = self._monotonic_s()
            if now_s - self._look_s >= self._coordinator.config.enforcement.look_s:
                self._look_s = now_s
                self._look(now_s)
                self._said = {known for known in self._said if not known.startswith(_WAITS)}
        except Exception as error:  # noqa: BLE001  # whatever it is, the services must not end by it
            self._once(f"{_WAITS}: {one_line(error)}")

    def stop(self) -> None:
        """End the worker; its removal goes on from the last finished step when `up` runs again."""
        if self._work is None:
            return
        process = self._work.process
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(_STOP_S)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        leftovers.note(self._coordinator.layout.worker, ())

    @property
    def busy(self) -> bool:
        """Whether a worker runs."""
        return self._work is not None

    def _look(self, now_s: float) -> None:
        confirmed = self._confirmed(self._coordinator.clock(), now_s)
        self._coordinator.standing.finish_revocations()
        if self._work is None:  # a worker tells of its own removal
            for record in self._coordinator.enforcement.untold():
                tell(self._coordinator, record, self._say)
        if self._coordinator.config.enforcement.automatic:
            self._act(confirmed, now_s)
        for party, _ in self._coordinator.enforcement.undecided():
            self._once(f"{party} is revoked and its contract on hold: `remove order {party}` decides about its shards")
        for record in self._coordinator.enforcement.settle(confirmed):
            self._say(f"removal of {record.party} is ordered on {trigger_of(record)}: request {record.request}")

    def _act(self, confirmed: datetime | None, now_s: float) -> None:
        if self._work is None:
            due = self._coordinator.enforcement.due(confirmed)
            ready = [record for record in due if now_s >= self._again.get(record.request, now_s)]
            if ready:
                self._work = self._begin(min(ready, key=lambda record: record.request in self._again))
        if confirmed is not None:
            self._see_out(confirmed)

    def _see_out(self, confirmed: datetime) -> None:
        for party in self._coordinator.exits.due(confirmed):
            problem = self._coordinator.exits.leave(party)
            self._say(problem or f"{party} has left: certificates, roster entry, Flower node and invites are revoked")

    def _begin(self, record: RemovalRecord) -> _Work:
        layout = self._coordinator.layout
        words = [sys.executable, "-P", "-m", "severable_coordinator.adapters.removal_worker"]
        with (layout.logs / "removals.log").open("ab") as log:
            process = subprocess.Popen(
                [*words, str(layout.home), str(record.request)], stdout=log, stderr=log, start_new_session=True
            )
        leftovers.note(layout.worker, [process.pid])
        self._say(f"removal of {record.party} ({trigger_of(record)}) begins: request {record.request}")
        return _Work(record, process, self._monotonic_s())

    def _collect(self) -> None:
        work = self._work
        if work is None or (status := work.process.poll()) is None:
            return
        self._work = None
        leftovers.note(self._coordinator.layout.worker, ())
        record = self._coordinator.removals.removal(work.record.request)
        if status == 0 and record.ended:
            self._again.pop(record.request, None)
            self._say(f"removal of {record.party} is {record.state} after {self._monotonic_s() - work.begun_s:.1f} s")
            return
        self._failed(record, status)

    def _failed(self, record: RemovalRecord, status: int) -> None:
        trouble = self._coordinator.removals.troubles().get(record.request)
        if status != 1 or trouble is None:  # it could not say so itself
            line = f"the worker ended with status {status}; see {self._coordinator.layout.logs / 'removals.log'}"
            trouble = self._coordinator.removals.note_trouble(record.request, line, self._coordinator.clock())
        pause = self._pause(trouble.failures)
        self._again[record.request] = self._monotonic_s() + pause
        self._say(
            f"removal of {record.party} failed (try {trouble.failures}, the next in {pause:.0f} s): {trouble.line}"
        )

    def _once(self, line: str) -> None:
        """Say a line unless it was said, but for its numbers: a time in it changes from look to look."""
        known = re.sub(r"\d+", "#", line)
        if known not in self._said:
            self._said.add(known)
            self._say(line)
