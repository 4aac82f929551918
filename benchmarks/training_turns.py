"""What both sides of benchmarks/throughput.py share: turns over a pipe, and where a step's time goes.

A side waits for a number on its pipe, does that many steps, and answers with the seconds they took and each part's
share of them. So many sides can be warmed up once and then measured in turns, while the others stand still.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Seconds spent in named parts since the last reading; backward, clipping and optimizer are found by themselves."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = defaultdict(float)
        self.begun = 0.0
        self.timed(torch.Tensor, "backward", "backward")
        self.timed(torch.nn.utils, "clip_grad_norm_", "clip")
        self.timed(torch.optim.AdamW, "step", "optimizer")

    def timed(self, owner: object, name: str, part: str) -> None:
        """Replace a function by one that adds its time to a part."""
        inner: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(inner)
        def outer(*args: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return inner(*args, **options)
            finally:
                self.parts[part] += time.perf_counter() - begun

        setattr(owner, name, outer)

    def start(self) -> None:
        """Begin a turn."""
        await_device()
        self.parts = defaultdict(float)
        self.begun = time.perf_counter()

    def stop(self) -> tuple[float, dict[str, float]]:
        """Return the turn's seconds, and those of its parts; what a GPU was given in a part, it does when it can."""
        await_device()
        return time.perf_counter() - self.begun, dict(self.parts)


def await_device() -> None:
    """Wait until a GPU has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
