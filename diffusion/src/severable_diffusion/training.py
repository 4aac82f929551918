"""Training one shard: AdamW on the mean squared error of the recipe's parametrization, with a moving average.

All state that a step reads or writes is an attribute of `Trainer`, and all randomness comes from its generator, so the
same recipe, images and seed give the same bytes (one thread; see `severable_diffusion.environment`). How a step is
executed is the plan's business (`severable_diffusion.execution`); the default plan is the one with the bytes.
Shapes: N images, B batch, C, H, W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from severable_diffusion import network
from severable_diffusion.environment import generator
from severable_diffusion.errors import RecipeError
from severable_diffusion.execution import DEFAULT, ExecutionPlan
from severable_diffusion.parametrization import Parametrization, target
from severable_diffusion.schedule import NoiseSchedule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from severable_diffusion.privacy import Spent
    from severable_diffusion.recipe import Recipe, Training

EMA_WARM_UP = 10


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """One step was done.

    Attributes:
        step: steps done so far, from 1.
        steps: steps in all.
        loss: this step's mean squared error.
    """

    step: int
    steps: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedShard:
    """What training gives.

    Attributes:
        state_dict: the moving average of the weights, float32 on the CPU.
        steps: optimizer steps done.
        loss: mean of the last tenth of the steps' losses.
        privacy: what a private training spent; None for any other.
    """

    state_dict: Mapping[str, torch.Tensor]
    steps: int
    loss: float
    privacy: Spent | None = None


def planned_steps(training: Training, images: int) -> int:
    """Return the number of optimizer steps for a party with this many images."""
    return min(training.max_steps, training.epochs * max(1, math.ceil(images / training.batch)))


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """Return the learning rate at a step as a share of its peak: linear warm-up, then cosine decay to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


class Trainer:
    """One shard's training, a step at a time.

    Args:
        recipe: what to train.
        images_NCHW: the party's images, float32 in [-1, 1].
        seed: the run's only randomness.
        label_N: int64, the label of each image, where the recipe has conditions.
        plan: how to execute it; anything but the default rounds otherwise.

    Raises:
        RecipeError: if the recipe has conditions and there are no labels, or the other way round, or an unknown label.

    Attributes:
        model: the network being trained.
        ema: the moving average of its weights, by name.
        optimizer: AdamW over the model's parameters.
        generator: where batches, times and noise come from.
        step: steps done.
        steps: steps in all.
        losses: the loss of every step done.
    """

    PRIVATE = False  # a recipe that asks for privacy is not trained without, nor the other way round

    def __init__(
        self,
        recipe: Recipe,
        images_NCHW: torch.Tensor,
        seed: int,
        label_N: torch.Tensor | None = None,
        *,
        plan: ExecutionPlan = DEFAULT,
    ) -> None:
        if (recipe.training.privacy is not None) is not self.PRIVATE:
            raise RecipeError("training.privacy", "decides the trainer; use `private_training.trainer_for`")
        self.recipe = recipe
        self.plan = plan
        self.images_NCHW = images_NCHW
        self.label_N = _checked_labels(recipe, len(images_NCHW), label_N)
        self.schedule = NoiseSchedule.of(recipe.process)
        self.model = network.build_seeded(recipe, seed).train()
        plan.place(self.model)
        self._forward = plan.forward(self.model)
        # Both name the model's own tensors, in one order; asking the model for them anew would cost at every step.
        self._parameters, self._weights = list(self.model.parameters()), self.model.state_dict()
        self.ema = {name: tensor.detach().clone() for name, tensor in self._weights.items()}
        budget = recipe.training
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=budget.learning_rate, weight_decay=budget.weight_decay, fused=True
        )
        self.generator = generator(seed)
        self.step = 0
        self.steps = planned_steps(budget, len(images_NCHW))
        self.losses: list[float] = []

    def advance(self) -> TrainingProgress:
        """Do one optimizer step."""
        budget = self.recipe.training
        for group in self.optimizer.param_groups:
            group["lr"] = budget.learning_rate * rate_factor(self.step, self.steps, budget.warmup_steps)
        loss = self._loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves this one method unannotated
        torch.nn.utils.clip_grad_norm_(self._parameters, budget.gradient_clip)
        self.optimizer.step()
        self.step += 1
        self._average()
        self.losses.append(loss.item())
        return TrainingProgress(self.step, self.steps, self.losses[-1])

    def _loss(self) -> torch.Tensor:
        size = self.recipe.training.batch
        rows_B = torch.randint(len(self.images_NCHW), (size,), generator=self.generator)
        # One time from each of B equal slices of [first, last]: the same law as uniform draws, with less variance.
        slices_B = (torch.arange(size) + torch.rand(size, generator=self.generator)) / size
        first, last = self.schedule.first, self.schedule.last
        t_B = first + (slices_B * (last - first + 1)).long().clamp(max=last - first)
        x0_BCHW = self.images_NCHW[rows_B]
        eps_BCHW = torch.randn(x0_BCHW.shape, generator=self.generator)
        alpha_B111, sigma_B111 = self.schedule.at(t_B)
        x_t_BCHW = self.plan.image(alpha_B111 * x0_BCHW + sigma_B111 * eps_BCHW)
        wanted_BCHW = target(Parametrization(self.recipe.parametrization), x0_BCHW, eps_BCHW, alpha_B111, sigma_B111)
        label_B = self._labels(rows_B)
        device = x_t_BCHW.device
        with self.plan.precision():
            predicted_BCHW = network.predict(
                self._forward, x_t_BCHW, t_B.to(device), None if label_B is None else label_B.to(device)
            )
        return torch.nn.functional.mse_loss(predicted_BCHW.float(), self.plan.image(wanted_BCHW))

    def _labels(self, rows_B: torch.Tensor) -> torch.Tensor | None:
        """Return the labels of a batch, some of them hidden; draws nothing where there are no conditions."""
        if self.label_N is None or self.recipe.conditions is None:
            return None
        hidden_B = torch.rand(len(rows_B), generator=self.generator) < self.recipe.conditions.drop
        return self.label_N[rows_B].masked_fill(hidden_B, self.recipe.labels)

    @torch.no_grad()
    def _average(self) -> None:
        # The warm-up keeps the random start out of a short run's average.
        decay = min(self.recipe.training.ema_decay, (1 + self.step) / (EMA_WARM_UP + self.step))
        torch._foreach_lerp_(list(self.ema.values()), [self._weights[name] for name in self.ema], 1.0 - decay)

    def run(self, on_progress: Callable[[TrainingProgress], None] | None = None) -> TrainedShard:
        """Do all remaining steps, on the plan's threads, and return the shard."""
        with self.plan.running():
            while self.step < self.steps:
                progress = self.advance()
                if on_progress is not None:
                    on_progress(progress)
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        average = {name: tensor.to("cpu", memory_format=torch.contiguous_format) for name, tensor in self.ema.items()}
        return TrainedShard(state_dict=average, steps=self.step, loss=sum(tail) / len(tail))


def train(
    recipe: Recipe,
    images_NCHW: torch.Tensor,
    *,
    seed: int,
    label_N: torch.Tensor | None = None,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    plan: ExecutionPlan = DEFAULT,
) -> TrainedShard:
    """Train one shard from scratch.

    Args:
        recipe: what to train.
        images_NCHW: the party's images, float32 in [-1, 1].
        seed: the run's only randomness; the same seed gives the same bytes.
        label_N: as in `Trainer`.
        on_progress: called after every step.
        plan: how to execute it; anything but the default rounds otherwise.
    """
    return Trainer(recipe, images_NCHW, seed, label_N, plan=plan).run(on_progress)


def _checked_labels(recipe: Recipe, images: int, label_N: torch.Tensor | None) -> torch.Tensor | None:
    if recipe.conditions is None:
        if label_N is not None:
            raise RecipeError("conditions", "is not there, but labels are given; leave them out or use another recipe")
        return None
    if label_N is None or len(label_N) != images:
        raise RecipeError("conditions", f"asks for the label of each of the {images} images; give them all")
    if not bool(((label_N >= 0) & (label_N < recipe.labels)).all()):
        raise RecipeError("conditions.labels", f"has {recipe.labels} labels; an image has another one")
    return label_N
