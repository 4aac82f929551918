"""What a training's budget means for its steps: how many there are, and how fast each of them learns. Pure numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from severable_diffusion import held_out

if TYPE_CHECKING:
    from severable_diffusion.recipe import Training

EMA_WARM_UP = 10


def planned_steps(training: Training, images: int) -> int:
    """Return the number of optimizer steps for a party with this many images."""
    trained_on = images - held_out.count(training, images)
    return min(training.max_steps, training.epochs * max(1, math.ceil(trained_on / training.batch)))


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """Return the learning rate at a step as a share of its peak: linear warm-up, then cosine decay to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
