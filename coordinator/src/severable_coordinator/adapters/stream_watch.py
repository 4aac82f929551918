"""Uploads that hold a thread without bringing bytes are ended, and no party holds more than a few at a time.

A stream occupies one of the server's threads until it ends. Without this, a handful of senders that trickle a byte now
and then would keep everybody else out.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from severable_coordinator.errors import RefusedError
from severable_protos.chunk import AnyChunk


class Cancellable(Protocol):
    """What of gRPC's context is needed."""

    def cancel(self) -> object:
        """End the call."""


@dataclass(eq=False)
class _Stream:
    context: Cancellable
    begun: float  # monotonic seconds
    seen: float
    taken: int = 0
    slow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How slow a sender may be.

    Attributes:
        idle_s: seconds without a chunk after which a stream is ended.
        least_bytes_per_s: a stream that brings less on average, measured once `idle_s` is over, is ended.
        streams_per_party: streams of one party at a time.
    """

    idle_s: float = 30.0
    least_bytes_per_s: float = 4096.0
    streams_per_party: int = 2


@dataclass
class StreamWatch:
    """Watches every upload of one server; one thread, and only while there is something to watch."""

    pace: Pace = field(default_factory=Pace)
    _streams: set[_Stream] = field(default_factory=set)
    _parties: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _running: bool = False

    def watched(self, party: str, chunks: Iterator[AnyChunk], context: Cancellable) -> Iterator[AnyChunk]:
        """The same chunks; the call is cancelled when they come too slowly.

        Raises:
            RefusedError: the party has as many streams open as it may, or this one was too slow.
        """
        now = time.monotonic()
        stream = _Stream(context, now, now)
        self._begin(party, stream)
        try:
            for chunk in chunks:
                stream.taken += len(chunk.data)
                yield chunk
                stream.seen = time.monotonic()  # the time that storing took is not the sender's
        finally:
            self._end(party, stream)
        if stream.slow:
            raise RefusedError("the upload came too slowly and was ended; send it again over a better line")

    def _begin(self, party: str, stream: _Stream) -> None:
        with self._lock:
            if self._parties[party] >= self.pace.streams_per_party:
                raise RefusedError(
                    f"{party} has {self.pace.streams_per_party} uploads under way; wait for one of them to end"
                )
            self._parties[party] += 1
            self._streams.add(stream)
            if not self._running:
                self._running = True
                threading.Thread(target=self._watch, name="stream watch", daemon=True).start()

    def _end(self, party: str, stream: _Stream) -> None:
        with self._lock:
            self._parties[party] -= 1
            self._streams.discard(stream)

    def _watch(self) -> None:
        while True:
            time.sleep(self.pace.idle_s / 4)
            with self._lock:
                if not self._streams:
                    self._running = False
                    return
                for stream in self._streams:
                    if not stream.slow and self._is_slow(stream, time.monotonic()):
                        stream.slow = True
                        stream.context.cancel()

    def _is_slow(self, stream: _Stream, now: float) -> bool:
        if now - stream.seen > self.pace.idle_s:
            return True
        lasted = now - stream.begun
        return lasted > self.pace.idle_s and stream.taken < self.pace.least_bytes_per_s * lasted
