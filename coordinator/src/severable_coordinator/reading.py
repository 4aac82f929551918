"""The one pass over a shard's weights while they come in: hashed, looked at number by number, sketched.

For an upload it runs in a thread of its own, a few blocks behind, so that nothing has to be read back when the last
byte is there. What an earlier process took is read back once, when the upload is gone on with.
"""

from collections import deque
from concurrent.futures import Executor, Future
from typing import Final

import numpy as np

from severable_coordinator.weight_sketch import Sketching, WeightSketch
from severable_trust.tensors import ITEM_BYTES
from severable_trust.weights import WeightsFile, WeightsScan

BEHIND: Final = 4  # blocks that may wait: with blocks of a MiB what an upload holds in memory


_FULL: Final = {"F16": 0x7C00, "BF16": 0x7F80, "F32": 0x7F800000, "F64": 0x7FF << 52}  # all bits of the exponent


def all_finite(dtype: str, block: bytes, begin: int, end: int) -> bool:
    """Say of the numbers in a part of a block whether all are finite.

    The bits of numbers of one sign are ordered as their sizes, with the infinities and then NaN above all others: the
    largest one of either sign tells. Law: this says what `severable_trust.finite.all_finite` says.
    """
    if end <= begin:
        return True
    item, full = ITEM_BYTES[dtype], _FULL[dtype]
    negative_N = np.frombuffer(block, f"<u{item}", (end - begin) // item, begin)  # the sign is the first bit
    positive_N = negative_N.view(f"<i{item}")
    return bool(positive_N.max() < full and negative_N.max() < full | 1 << (8 * item - 1))


class Reading:
    """One pass over one file.

    Args:
        size: the size that the file is said to have, in bytes.
        sketching: a new sketch, of that size.
        thread: runs one block after another, in the order they are handed over; the caller waits without one.
    """

    def __init__(self, size: int, sketching: Sketching, thread: Executor | None = None) -> None:
        self._scan, self._sketching, self._thread = WeightsScan(size, all_finite), sketching, thread
        self._waiting: deque[Future[None]] = deque()

    def feed(self, block: bytes) -> None:
        """Take the bytes that follow; waits while too many are in front of them."""
        if self._thread is None:
            return self._read(block)
        self._waiting.append(self._thread.submit(self._read, block))
        return self._wait(BEHIND)

    def found(self) -> tuple[WeightsFile, WeightSketch]:
        """Say what was found, once all of it was handed over."""
        self._wait(0)
        return self._scan.found(), self._sketching.sketch()

    def _read(self, block: bytes) -> None:
        self._scan.feed(block)
        self._sketching.feed(block)

    def _wait(self, behind: int) -> None:
        while len(self._waiting) > behind:
            self._waiting.popleft().result()
