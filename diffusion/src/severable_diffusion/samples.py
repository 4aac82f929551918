"""A look at what a training would ship now: a grid of samples of its moving average.

The noise is the same at every look, so that pictures of one training can be compared, and comes from a generator of its
own: a training that is looked at ends with the bytes of one that is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from severable_diffusion.environment import generator, seed_from
from severable_diffusion.pictures import grid
from severable_diffusion.sampler import draw

if TYPE_CHECKING:
    from PIL import Image

    from severable_diffusion.training import Trainer

COUNT = 16

_NOISE = b"severable sample grid v1"


def sample_grid(trainer: Trainer, count: int = COUNT) -> Image.Image:
    """Return a labelled picture of `count` samples of a trainer's moving average; the trainer is left as it is."""
    recipe, plan = trainer.recipe, trainer.plan
    label_N = torch.arange(count) % recipe.labels if recipe.conditions else None

    noise = generator(seed_from(_NOISE, str(trainer.seed).encode()))
    average = plan.asked_on_the_cpu(trainer.average)
    x_NCHW = draw(average, recipe, count=count, steps=recipe.sampler.steps, generator=noise, label_N=label_N)
    names = None
    if label_N is not None and recipe.conditions is not None:
        names = [recipe.conditions.labels[int(label)] for label in label_N]
    return grid(x_NCHW, names, title=f"step {trainer.step}")
