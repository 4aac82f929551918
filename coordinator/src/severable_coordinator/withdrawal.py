"""Withdrawing shards at once, also from commands that are under way in other processes.

A removal begins by marking its shards withdrawn in one transaction; from then on nothing that holds them is handed out.
Whoever builds, draws or exports looks at every step of its progress and gives up in one line (`WithdrawnError`). It
looks once more, in its turn, before it hands anything out: hand-outs and withdrawals take turns, and a hand-out is a
matter of milliseconds (a rename, a row). So a withdrawal waits for no build, and no hand-out comes after it.

Whoever may write something that holds a shard says so while it works. An erasure waits until nobody says so any more:
nothing is written behind its back, under a new key or in a folder that was looked through already.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from severable_coordinator.errors import WithdrawnError
from severable_coordinator.ports import ShardStore
from severable_trust.digest import Digest

Progress = Callable[[str, int, int], None]

_LOOK_EVERY_S = 0.2
PATIENCE_S = 120.0  # that an erasure has with those who still use a withdrawn shard


class Turns(Protocol):
    """Who may do what at one time, over every thread and process of the coordinator."""

    def handing_out(self) -> AbstractContextManager[None]:
        """For the moment of a hand-out; many at once, never during a withdrawal."""

    def withdrawing(self) -> AbstractContextManager[None]:
        """For the moment of a withdrawal; never during a hand-out."""

    def assembling(self, group: str) -> AbstractContextManager[None]:
        """One assembly for a group at a time."""

    def using(self, shards: Iterable[Digest]) -> AbstractContextManager[None]:
        """Say, for as long as the block runs, that what it writes may hold these shards."""

    def erasing(self) -> AbstractContextManager[None]:
        """For an erasure, or for writing files that one must see all of or none of; one at a time."""

    def carrying_out(self, party: str) -> AbstractContextManager[None]:
        """For carrying out, or denying, a removal of a party; one at a time, while other parties' go on."""

    def removing(self) -> AbstractContextManager[None]:
        """For what comes after a withdrawal; one removal at a time."""

    def wait_until_unused(self, shards: Iterable[Digest], patience_s: float) -> None:
        """Wait until nobody says so of any of these shards. BusyError once patience ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Withdraws shards, and keeps them from being handed out."""

    shards: ShardStore
    turns: Turns
    patience_s: float = PATIENCE_S

    def withdraw(self, subjects: Iterable[Digest]) -> float:
        """Take shards out of all use; returns the seconds it took. What is withdrawn or erased already stays so."""
        begun = time.monotonic()
        with self.turns.withdrawing():
            self.shards.withdraw(subjects)
        return time.monotonic() - begun

    def look(self, shards: Iterable[Digest]) -> None:
        """Give up unless every shard is in use still. WithdrawnError."""
        live = {shard.id for shard in self.shards.shards()}
        for shard in shards:
            if shard not in live:
                raise WithdrawnError(f"shard {shard} was withdrawn meanwhile; nothing was handed out, run it again")

    def watched(self, shards: Iterable[Digest], progress: Progress) -> Progress:
        """The same progress, which gives up within a step when one of the shards is withdrawn. WithdrawnError."""
        watched, looked = tuple(shards), [time.monotonic()]

        def told(what: str, done: int, total: int) -> None:
            if time.monotonic() - looked[0] >= _LOOK_EVERY_S:
                self.look(watched)
                looked[0] = time.monotonic()
            progress(what, done, total)

        return told

    @contextmanager
    def handing_out(self, shards: Iterable[Digest]) -> Iterator[None]:
        """For the moment of a hand-out: a last look, and no withdrawal until the block ends. WithdrawnError."""
        with self.turns.handing_out():
            self.look(shards)
            yield

    @contextmanager
    def using(self, shards: Iterable[Digest]) -> Iterator[None]:
        """For work whose files hold these shards: an erasure waits for it. WithdrawnError, at once or for any failure.

        What fails after a withdrawal fails because of it: a file has gone, a key is destroyed.
        """
        used = tuple(shards)
        with self.turns.using(used):
            self.look(used)
            try:
                yield
            except Exception as error:
                if not isinstance(error, WithdrawnError):
                    self._because(used, error)
                raise

    def _because(self, shards: tuple[Digest, ...], error: Exception) -> None:
        try:
            self.look(shards)
        except WithdrawnError as withdrawn:
            raise withdrawn from error

    @contextmanager
    def erasing(self, subjects: Iterable[Digest]) -> Iterator[None]:
        """For erasing withdrawn shards: once nobody uses them any more, and one erasure at a time. BusyError."""
        self.turns.wait_until_unused(subjects, self.patience_s)
        with self.turns.erasing():
            yield
