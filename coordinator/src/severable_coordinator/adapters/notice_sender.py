"""A thread of `up` that delivers the notices that wait, each again after a growing pause; nothing waits for it."""

import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from severable_coordinator.adapters.notice_channels import UndeliveredError, deliver
from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.errors import CoordinatorError
from severable_coordinator.notices import MAX_TRIES, Notice, pause_s

_EVERY_S = 2.0
_STOP_S = 15.0


class NoticeSender:
    """Delivers what waits.

    Args:
        coordinator: whose notices.
        say: told one line when a notice was not delivered.
        pause: seconds to wait after so many failures.
    """

    def __init__(
        self, coordinator: Coordinator, say: Callable[[str], None], pause: Callable[[int], float] = pause_s
    ) -> None:
        self._coordinator, self._say, self._pause = coordinator, say, pause
        self._next: dict[str, float] = {}  # by notice: the monotonic time of the next try
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, waiting for a delivery under way at most as long as it may take."""
        self._over.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.deliver_waiting()
            except (CoordinatorError, SQLAlchemyError, OSError) as error:
                self._say(f"notices wait: {' '.join(str(error).split())}")
            self._over.wait(_EVERY_S)

    def deliver_waiting(self) -> int:
        """Try every notice once that waits and whose pause is over; returns how many were delivered."""
        store = self._coordinator.notice_store
        waiting = [n for n in store.notices() if n.state == "waiting" and time.monotonic() >= self._next.get(n.id, 0.0)]
        return sum(self._try(notice) for notice in waiting if not self._over.is_set())

    def _try(self, notice: Notice) -> bool:
        config, home = self._coordinator.config.notices, self._coordinator.layout.home
        try:
            deliver(notice, config, home, time.time)
        except UndeliveredError as error:
            tries = notice.tries + 1
            state = "given up" if tries >= MAX_TRIES else "waiting"
            self._coordinator.notice_store.settle(notice.id, state, tries, str(error))
            self._next[notice.id] = time.monotonic() + self._pause(tries)
            self._say(f"notice {notice.event} for {notice.party} is not delivered (try {tries}, {state}): {error}")
            return False
        self._coordinator.notice_store.settle(notice.id, "sent", notice.tries, "")
        return True
