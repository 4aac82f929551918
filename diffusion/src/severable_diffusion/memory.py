"""What a training does when the device's memory runs out: once, the same again in smaller parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

from severable_diffusion.errors import MemoryShortError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Parts:
    """In how many parts a batch goes through the network.

    Args:
        accumulate: parts to begin with, 1 or more.
        batch: images that this process has of a batch; there are no more parts than that.
        device: for people.

    Attributes:
        accumulate: parts now.
        backed_off: whether memory ran out once.
    """

    def __init__(self, accumulate: int, batch: int, device: str) -> None:
        self.accumulate, self.backed_off = accumulate, False
        self._batch, self._device = batch, device

    def within_memory(self, compute: Callable[[], T]) -> T:
        """Return what a computation gives; if memory runs out, for the first time, do it again in twice the parts.

        Args:
            compute: reads `accumulate`; done again it gives the same.

        Raises:
            MemoryShortError: memory ran out a second time, or there are no smaller parts.
        """
        while True:
            try:
                return compute()
            except torch.OutOfMemoryError as error:
                self._back_off(error)
            torch.cuda.empty_cache()  # here and not above: only now does nothing hold the failed try's tensors

    def follow(self) -> None:
        """Back off as another process of the same training had to."""
        if not self.backed_off:
            self.accumulate, self.backed_off = min(self._batch, 2 * self.accumulate), True

    def _back_off(self, error: torch.OutOfMemoryError) -> None:
        if self.backed_off or self.accumulate >= self._batch:
            raise MemoryShortError(
                f"the memory of {self._device} ran out with {self.accumulate} parts to a batch of {self._batch}"
                f"{', a second time' if self.backed_off else ''}; free some of it or train on a larger device"
            ) from error
        self.follow()
