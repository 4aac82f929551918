"""A removal in the midst of something else, as another process carries it out."""

import threading
import time

from coordinator.federation import World, quiet


class Meanwhile:
    """A party's removal in a thread of its own; it begins at the nth call of `progress`, or when told.

    Whoever began it goes on once the shard is withdrawn: from then on whoever uses it is to give up.
    """

    def __init__(self, world: World, name: str, call: int = 0) -> None:
        self._calls, self._call = 0, call
        self._world, self._own, self._name = world, world.reopened(), name
        self._thread = threading.Thread(target=self._remove)

    def _remove(self) -> None:
        request = self._world.ask_for_erasure(self._name, self._own.contracts.contracts(self._name)[0].id)
        self._own.removal.run(self._own.requests.receive(self._name, request), quiet)

    def progress(self, _what: str, _done: int, _total: int) -> None:
        """Begin at the nth call."""
        self._calls += 1
        if self._calls == self._call:
            self.begin()

    def begin(self) -> None:
        """Begin, once."""
        if self._thread.ident is not None:
            return
        self._thread.start()
        while self._own.shards.shards(party=self._name):
            assert self._thread.is_alive(), "the removal failed"
            time.sleep(0.02)

    def end(self) -> None:
        """Wait until it is fulfilled."""
        self._thread.join(120)
        assert [record.state for record in self._own.removals.removals()] == ["fulfilled"]
