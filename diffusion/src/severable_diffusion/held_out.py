"""Images that a training never sees, and when they say that it should end.

A small shard memorizes early: the loss on its own images goes on falling while the loss on others rises (Bonnaire et
al., arXiv 2505.17638). So a share of a party's images is held out, the moving average is asked about them every so many
steps, always under the same noise, and the average that did best is the one that leaves. Split and noise depend on the
run's seed alone. Shapes: N images, M held-out images, C, H, W.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from severable_diffusion.environment import generator, seed_from
from severable_diffusion.noising import noised
from severable_diffusion.schedule import NoiseSchedule
from severable_diffusion.team import ALONE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from severable_diffusion.execution import ExecutionPlan
    from severable_diffusion.images import ImageRows
    from severable_diffusion.recipe import Recipe, Training
    from severable_diffusion.team import Team

MOST = 4096  # images; more would make a look slow and its verdict no surer

_SPLIT, _NOISE = b"severable held-out split v1", b"severable held-out noise v1"


def count(training: Training, images: int) -> int:
    """Return how many of a party's images are held out: 0 where the recipe says so or there is a single image."""
    if training.held_out == 0.0 or images < 2:
        return 0
    return min(MOST, max(1, round(training.held_out * images)))


def split(training: Training, images: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows to train on and the rows held out, each in order, int64."""
    order_N = torch.randperm(images, generator=generator(seed_from(_SPLIT, str(seed).encode())))
    held = count(training, images)
    return order_N[held:].sort().values, order_N[:held].sort().values


class HeldOut:
    """The held-out images of one training, and what they said so far.

    Args:
        recipe: the training's.
        images_NCHW: all its images.
        label_N: the label of each, where the recipe has conditions; none of them is hidden here.
        rows_M: which images are held out.
        seed: the run's.
        plan: how to execute the looks.

    Attributes:
        best: the moving average that did best, by name; empty before the first look that gave a number.
        best_loss: its loss.
        best_step: the step after which it was taken.
        waited: looks since then.
    """

    def __init__(
        self,
        recipe: Recipe,
        images_NCHW: ImageRows,
        label_N: torch.Tensor | None,
        rows_M: torch.Tensor,
        *,
        seed: int,
        plan: ExecutionPlan,
    ) -> None:
        self.rows_M = rows_M
        self.best: dict[str, torch.Tensor] = {}
        self.best_loss, self.best_step, self.waited = math.inf, 0, 0
        self._recipe, self._seed, self._plan = recipe, seed, plan
        self._images_NCHW, self._label_N = images_NCHW, label_N
        self._schedule = NoiseSchedule.of(recipe.process)

    @property
    def over(self) -> bool:
        """Whether patience is at its end."""
        return self.waited >= self._recipe.training.patience

    def loss(self, average: Callable[..., Any], accumulate: int, team: Team = ALONE) -> float:
        """Return a network's mean squared error on the held-out images, under noise that is the same every time.

        Args:
            average: the moving average as a network, without gradients.
            accumulate: parts that a batch goes through the network in.
            team: who shares the batches.
        """
        noise = generator(seed_from(_NOISE, str(self._seed).encode()))
        total = 0.0
        size = self._recipe.training.batch
        for number, start in enumerate(range(0, len(self.rows_M), size)):
            rows_B = self.rows_M[start : start + size]
            label_B = None if self._label_N is None else self._label_N[rows_B]
            batch = noised(self._recipe, self._schedule, self._images_NCHW[rows_B], noise, label_B, drop=0.0)
            if number % team.size != team.rank:
                continue  # another's; its noise is drawn all the same
            for part in batch.parts(accumulate):
                total += len(part.t_B) * float(part.loss(average, self._plan))
        if team.size > 1:
            sum_1 = torch.tensor([total], dtype=torch.float64, device=self._plan.device)
            team.add([sum_1])
            total = sum_1.item()
        return total / len(self.rows_M)

    def judge(self, loss: float, ema: Mapping[str, torch.Tensor], step: int) -> None:
        """Take a look's loss: keep the average if it is the best so far, else lose some patience."""
        if loss < self.best_loss:
            self.best = {name: tensor.detach().clone() for name, tensor in ema.items()}
            self.best_loss, self.best_step, self.waited = loss, step, 0
        else:
            self.waited += 1
