"""A look at what a training would ship now: a grid of samples of its moving average.

The noise is the same at every look, so that pictures of one training can be compared, and comes from a generator of its
own: a training that is looked at ends with the bytes of one that is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from severable_diffusion.environment import generator, seed_from
from severable_diffusion.network import predict
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

    def average(
        x_NCHW: torch.Tensor,
        time: float | torch.Tensor,
        class_labels: torch.Tensor | None = None,
        *,
        return_dict: bool = False,  # noqa: ARG001  # how `predict` calls a network
    ) -> tuple[torch.Tensor]:
        asked_N = None if class_labels is None else class_labels.to(plan.device)
        return (predict(trainer.average, plan.image(x_NCHW), time, asked_N).to("cpu"),)

    noise = generator(seed_from(_NOISE, str(trainer.seed).encode()))
    x_NCHW = draw(average, recipe, count=count, steps=recipe.sampler.steps, generator=noise, label_N=label_N)
    names = None
    if label_N is not None and recipe.conditions is not None:
        names = [recipe.conditions.labels[int(label)] for label in label_N]
    return grid(x_NCHW, names, title=f"step {trainer.step}")
