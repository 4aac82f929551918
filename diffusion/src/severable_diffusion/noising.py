"""What one training step asks of the network: noised images, their times, and what it should say of them.

Shapes: B batch, C, H, W.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from severable_diffusion import network
from severable_diffusion.errors import RecipeError
from severable_diffusion.parametrization import Parametrization, target

if TYPE_CHECKING:
    from collections.abc import Callable

    from severable_diffusion.execution import ExecutionPlan
    from severable_diffusion.recipe import Recipe
    from severable_diffusion.schedule import NoiseSchedule


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoisedBatch:
    """A batch as the network sees it, on the CPU.

    Attributes:
        x_t_BCHW: noised images.
        t_B: the recipe's time of each.
        wanted_BCHW: the recipe's parametrization of the truth.
        label_B: int64, what each is asked for by; None without conditions.
    """

    x_t_BCHW: torch.Tensor
    t_B: torch.Tensor
    wanted_BCHW: torch.Tensor
    label_B: torch.Tensor | None

    def parts(self, count: int) -> list[NoisedBatch]:
        """Return the batch in `count` parts of nearly one size, or one part an image where there are fewer."""
        if count == 1:
            return [self]
        size = len(self.t_B)
        edges = [size * place // min(count, size) for place in range(min(count, size) + 1)]
        return [self._rows(slice(start, stop)) for start, stop in itertools.pairwise(edges)]

    def _rows(self, part: slice) -> NoisedBatch:
        return NoisedBatch(
            x_t_BCHW=self.x_t_BCHW[part],
            t_B=self.t_B[part],
            wanted_BCHW=self.wanted_BCHW[part],
            label_B=None if self.label_B is None else self.label_B[part],
        )

    def loss(self, forward: Callable[..., Any], plan: ExecutionPlan) -> torch.Tensor:
        """Return the mean squared error of what a network says, on the plan's device."""
        # Both go to a GPU before the forward pass: to copy from plain memory waits for what it was given before.
        x_t_BCHW, wanted_BCHW = plan.image(self.x_t_BCHW), plan.image(self.wanted_BCHW)
        device = x_t_BCHW.device
        label_B = None if self.label_B is None else self.label_B.to(device)
        with plan.precision():
            predicted_BCHW = network.predict(forward, x_t_BCHW, self.t_B.to(device), label_B)
        return torch.nn.functional.mse_loss(predicted_BCHW.float(), wanted_BCHW)


def noised(
    recipe: Recipe,
    schedule: NoiseSchedule,
    x0_BCHW: torch.Tensor,
    noise: torch.Generator,
    label_B: torch.Tensor | None,
    *,
    drop: float,
) -> NoisedBatch:
    """Return images noised at random times.

    Args:
        recipe: the parametrization, and how many labels there are.
        schedule: the recipe's noise levels.
        x0_BCHW: the images.
        noise: the only randomness: times, then noise, then which labels are hidden.
        label_B: the label of each image; None draws nothing for them.
        drop: share of the labels that are hidden.
    """
    size = len(x0_BCHW)
    # One time from each of B equal slices of [first, last]: the same law as uniform draws, with less variance.
    slices_B = (torch.arange(size) + torch.rand(size, generator=noise)) / size
    first, last = schedule.first, schedule.last
    t_B = first + (slices_B * (last - first + 1)).long().clamp(max=last - first)
    eps_BCHW = torch.randn(x0_BCHW.shape, generator=noise)
    alpha_B111, sigma_B111 = schedule.at(t_B)
    if label_B is not None:
        hidden_B = torch.rand(size, generator=noise) < drop
        label_B = label_B.masked_fill(hidden_B, recipe.labels)
    return NoisedBatch(
        x_t_BCHW=alpha_B111 * x0_BCHW + sigma_B111 * eps_BCHW,
        t_B=t_B,
        wanted_BCHW=target(Parametrization(recipe.parametrization), x0_BCHW, eps_BCHW, alpha_B111, sigma_B111),
        label_B=label_B,
    )


def checked_labels(recipe: Recipe, images: int, label_N: torch.Tensor | None) -> torch.Tensor | None:
    """Return the labels of a training's images, None without conditions.

    Raises:
        RecipeError: if there are labels and no conditions, or the other way round, or an unknown label.
    """
    if recipe.conditions is None:
        if label_N is not None:
            raise RecipeError("conditions", "is not there, but labels are given; leave them out or use another recipe")
        return None
    if label_N is None or len(label_N) != images:
        raise RecipeError("conditions", f"asks for the label of each of the {images} images; give them all")
    if not bool(((label_N >= 0) & (label_N < recipe.labels)).all()):
        raise RecipeError("conditions.labels", f"has {recipe.labels} labels; an image has another one")
    return label_N
