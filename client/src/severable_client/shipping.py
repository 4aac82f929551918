"""Ship a shard: a resumable upload that survives broken streams, restarts of either side and long silences.

The claim's envelope names every file's size and digest, so opening an upload again with the same bytes finds the same
upload, and sending goes on from where the coordinator stands.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from severable_client.errors import AnswerError, ExchangeError, RefusedByCoordinatorError, UnreachableError
from severable_client.exchange import Exchange, FileChunk, Upload, Verdict

SMALLEST_CHUNK, LARGEST_CHUNK = 1 << 12, 1 << 20  # bytes

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to go on trying while nothing moves.

    Attributes:
        tries: failures in a row, without one more byte held by the coordinator, after which to give up.
        first_s: wait after the first failure, seconds; doubled after each further one.
        longest_s: no wait is longer, seconds.
    """

    tries: int = 20
    first_s: float = 0.5
    longest_s: float = 60.0

    def wait_s(self, failures: int) -> float:
        """Return the seconds to wait after this many failures in a row (1 or more)."""
        return min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What is to be shipped.

    Attributes:
        claim: the claim's envelope, the same bytes at every try.
        shard: the claim's statement id, ``sha256:...``.
        sizes: bytes of each file, by name.
        open: opens a file by name.
    """

    claim: bytes
    shard: str
    sizes: Mapping[str, int]
    open: Callable[[str], BinaryIO]


def ship(
    parcel: Parcel,
    exchange: Exchange,
    *,
    patience: Patience,
    sleep: Callable[[float], None],
    on_progress: Progress,
) -> Verdict:
    """Return the coordinator's verdict once it holds every byte.

    Args:
        parcel: what to ship.
        exchange: where to.
        patience: how long to go on while nothing moves.
        sleep: waits that many seconds.
        on_progress: told (bytes sent or held, bytes in all) after each chunk.

    Raises:
        UnreachableError: patience ran out.
        RefusedByCoordinatorError: the coordinator does not take the claim.
        AnswerError: the coordinator's offsets or verdict contradict what was sent.
    """
    pace = _Pace(patience, sleep)
    while True:
        try:
            upload = exchange.open_upload(parcel.claim)
            if upload.finished:
                return Verdict(admitted=True, shard=parcel.shard, reason="")
            offsets = _checked(upload.offsets, parcel)
            pace.saw(sum(offsets.values()))
            if _send(parcel, upload, offsets, exchange, on_progress) == dict(parcel.sizes):
                return _agreed(exchange.finish(upload.id), parcel)
            pace.failed(UnreachableError("the stream ended before the coordinator held every byte"))
        except _RefusedStreamError as error:
            pace.refused(error.refusal)
        except UnreachableError as error:
            pace.failed(error)


class _Pace:
    """Counts what went wrong since the coordinator last held more than before, and waits or gives up."""

    def __init__(self, patience: Patience, sleep: Callable[[float], None]) -> None:
        self._patience = patience
        self._sleep = sleep
        self._failures = self._refusals = 0
        self._furthest = -1

    def saw(self, held: int) -> None:
        if held > self._furthest:
            self._failures, self._refusals, self._furthest = 0, 0, held

    def refused(self, refusal: RefusedByCoordinatorError) -> None:
        # The end of a broken stream may still arrive while the next one begins: look once more where it stands.
        self._refusals += 1
        if self._refusals > 1:
            raise refusal
        self.failed(refusal)

    def failed(self, problem: ExchangeError) -> None:
        self._failures += 1
        if self._failures >= self._patience.tries:
            line = f"gave up shipping after {self._failures} tries without progress: {problem}"
            raise UnreachableError(line) from problem
        self._sleep(self._patience.wait_s(self._failures))


class _RefusedStreamError(Exception):
    """The coordinator refused a chunk, as opposed to the claim or the shard."""

    def __init__(self, refusal: RefusedByCoordinatorError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def _send(
    parcel: Parcel, upload: Upload, offsets: Mapping[str, int], exchange: Exchange, on_progress: Progress
) -> dict[str, int]:
    if dict(offsets) == dict(parcel.sizes):
        return dict(offsets)
    try:
        return _checked(exchange.send(upload.id, _chunks(parcel, upload, offsets, on_progress)), parcel)
    except RefusedByCoordinatorError as error:
        raise _RefusedStreamError(error) from error


def _checked(offsets: Mapping[str, int], parcel: Parcel) -> dict[str, int]:
    """Return how much of every file is held, each from 0 to its size."""
    if not offsets.keys() <= parcel.sizes.keys():
        raise AnswerError("the coordinator speaks of a file that this shard does not have")
    held = {name: offsets.get(name, 0) for name in parcel.sizes}
    for name, size in parcel.sizes.items():
        if not 0 <= held[name] <= size:
            raise AnswerError(f"the coordinator says it holds {held[name]} bytes of {name}, which has {size}")
    return held


def _chunks(parcel: Parcel, upload: Upload, offsets: Mapping[str, int], on_progress: Progress) -> Iterator[FileChunk]:
    """Yield what the coordinator lacks, file by file; reading happens as the stream is sent."""
    chunk_bytes = max(SMALLEST_CHUNK, min(upload.chunk_bytes, LARGEST_CHUNK))
    done, total = sum(offsets.values()), sum(parcel.sizes.values())
    for name in sorted(parcel.sizes):
        position = offsets[name]
        if position == parcel.sizes[name]:
            continue
        with parcel.open(name) as stream:
            stream.seek(position)
            while data := stream.read(chunk_bytes):
                yield FileChunk(name=name, offset=position, data=data)
                position += len(data)
                done += len(data)
                on_progress(done, total)


def _agreed(verdict: Verdict, parcel: Parcel) -> Verdict:
    if verdict.admitted and verdict.shard != parcel.shard:
        raise AnswerError(f"the coordinator admitted shard {verdict.shard[:80]!r}, sent was {parcel.shard}")
    return verdict
