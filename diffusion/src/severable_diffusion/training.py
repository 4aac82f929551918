"""Training one shard: AdamW on the mean squared error of the recipe's parametrization, with a moving average.

Where the recipe holds images out, the average that does best on them is the shard, and training ends once it has
waited long enough for a better one (`severable_diffusion.held_out`). A training can be kept between any two steps and
taken up again (`severable_diffusion.checkpoint`).

All state that a step reads or writes is an attribute of `Trainer`, and all randomness comes from its generator, so the
same recipe, images and seed give the same bytes (one thread; see `severable_diffusion.environment`). How a step is
executed is the plan's business (`severable_diffusion.execution`); the default plan is the one with the bytes. Several
processes may share the batches (`severable_diffusion.team`).
Shapes: N images, B batch, C, H, W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from severable_diffusion import held_out, network
from severable_diffusion.batches import Batches
from severable_diffusion.budget import EMA_WARM_UP, planned_steps, rate_factor
from severable_diffusion.environment import generator
from severable_diffusion.errors import RecipeError
from severable_diffusion.execution import DEFAULT, ExecutionPlan
from severable_diffusion.memory import Parts
from severable_diffusion.noising import NoisedBatch, checked_labels
from severable_diffusion.precision import descend
from severable_diffusion.schedule import NoiseSchedule
from severable_diffusion.team import ALONE, Team, join, require_shares

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from severable_diffusion.images import ImageRows
    from severable_diffusion.privacy import Spent
    from severable_diffusion.recipe import Recipe


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """One step was done.

    Attributes:
        step: steps done so far, from 1.
        steps: steps in all.
        loss: this step's mean squared error.
        learning_rate: that it was done with.
        held_out_loss: the moving average's on the held-out images, where this step was followed by a look at them.
        note: a line for people, where something happened.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float = 0.0
    held_out_loss: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedShard:
    """What training gives.

    Attributes:
        state_dict: the moving average of the weights, the last or the best on held-out images, float32 on the CPU.
        steps: optimizer steps done.
        loss: mean of the last tenth of the steps' losses.
        privacy: what a private training spent; None for any other.
    """

    state_dict: Mapping[str, torch.Tensor]
    steps: int
    loss: float
    privacy: Spent | None = None


class Trainer:
    """One shard's training, a step at a time.

    Args:
        recipe: what to train.
        images_NCHW: the party's images, float32 in [-1, 1]; a tensor, or rows of a file.
        seed: the run's only randomness.
        label_N: int64, the label of each image, where the recipe has conditions.
        plan: how to execute it; anything but the default rounds otherwise.
        team: the processes that train together; each has a trainer of its own, otherwise equal.

    Raises:
        RecipeError: if the recipe has conditions and there are no labels, or the other way round, or an unknown label,
            or a batch has fewer images than the team members.

    Attributes:
        model: the network being trained.
        ema: the moving average of its weights, by name.
        optimizer: AdamW over the model's parameters.
        scaler: of the loss, where the plan needs one.
        batches: what the steps are about.
        step: steps done.
        steps: steps in all, unless the held-out images end the training before.
        losses: the loss of every step done.
        held_out: the held-out images, where there are any.
        parts: in how many parts a batch goes through the network.
    """

    PRIVATE = False  # a recipe that asks for privacy is not trained without, nor the other way round

    def __init__(
        self,
        recipe: Recipe,
        images_NCHW: ImageRows,
        seed: int,
        label_N: torch.Tensor | None = None,
        *,
        plan: ExecutionPlan = DEFAULT,
        team: Team = ALONE,
    ) -> None:
        require_shares(recipe.training.batch, team)
        if (recipe.training.privacy is not None) is not self.PRIVATE:
            raise RecipeError("training.privacy", "decides the trainer; use `private_training.trainer_for`")
        self.recipe, self.images_NCHW, self.seed = recipe, images_NCHW, seed
        self.plan, self.team = plan, team
        self.label_N = checked_labels(recipe, len(images_NCHW), label_N)
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
        self.scaler = plan.scaler()
        self.step = 0
        self.steps = planned_steps(budget, len(images_NCHW))
        self.losses: list[float] = []
        self.held_out: held_out.HeldOut | None = None
        rows_N: torch.Tensor | None = None  # all of them, and no table
        if held_out.count(budget, len(images_NCHW)):
            rows_N, rows_M = held_out.split(budget, len(images_NCHW), seed)
            self.held_out = held_out.HeldOut(recipe, images_NCHW, self.label_N, rows_M, seed=seed, plan=plan)
        self.batches = Batches(recipe, images_NCHW, self.label_N, rows_N, generator(seed))
        self.parts = Parts(plan.accumulate, -(-budget.batch // team.size), plan.device)

    @property
    def generator(self) -> torch.Generator:
        """Where batches, times and noise come from."""
        return self.batches.generator

    @property
    def done(self) -> bool:
        """Whether no step is left to do."""
        return self.step >= self.steps or (self.held_out is not None and self.held_out.over)

    def advance(self) -> TrainingProgress:
        """Do one optimizer step.

        Raises:
            MemoryShortError: the device's memory ran out a second time.
            TeamError: a process of the team is gone.
        """
        with self.plan.repeating():
            return self._advance()

    def _advance(self) -> TrainingProgress:
        budget, backed_off = self.recipe.training, self.parts.backed_off
        rate = budget.learning_rate * rate_factor(self.step, self.steps, budget.warmup_steps)
        batch = self.batches.take()
        loss = self.parts.within_memory(lambda: self._backward(batch))
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        loss = join(self.team, gradients, loss, self.step, self.parts)
        descend(self.optimizer, self.scaler, self._parameters, rate=rate, clip=budget.gradient_clip)
        self.step += 1
        self._average()
        if self.plan.on_gpu and self.step < self.steps:
            self.batches.draw_ahead()
        self.losses.append(loss.item())  # waits for the GPU
        held_out_loss, note = self._look(), ""
        if self.parts.backed_off and not backed_off:
            note = f"the device's memory ran out at step {self.step}; going on in {self.parts.accumulate} parts a batch"
        return TrainingProgress(self.step, self.steps, self.losses[-1], rate, held_out_loss, note)

    def _backward(self, batch: NoisedBatch) -> torch.Tensor:
        """Leave the gradient of the own part of a batch at the parameters; return its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part in batch.parts(self.team.size)[self.team.rank].parts(self.parts.accumulate):
            loss = part.loss(self._forward, self.plan)
            if len(part.t_B) < len(batch.t_B):
                loss = loss * (len(part.t_B) / len(batch.t_B))
            scaled = loss if self.scaler is None else self.scaler.scale(loss)
            scaled.backward()  # type: ignore[no-untyped-call]  # torch leaves this one method unannotated
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _look(self) -> float | None:
        """Ask the moving average about the held-out images, where it is time to."""
        held = self.held_out
        if held is None or (self.step % self.recipe.training.check_every and self.step < self.steps):
            return None
        loss = self.parts.within_memory(lambda: held.loss(self.average, self.parts.accumulate, self.team))
        held.judge(loss, self.ema, self.step)
        return loss

    @torch.no_grad()
    def average(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the network says with the moving average for weights; the network itself is left as it is."""
        return torch.func.functional_call(self.model, self.ema, args, kwargs)

    @torch.no_grad()
    def _average(self) -> None:
        # The warm-up keeps the random start out of a short run's average.
        decay = min(self.recipe.training.ema_decay, (1 + self.step) / (EMA_WARM_UP + self.step))
        torch._foreach_lerp_(list(self.ema.values()), [self._weights[name] for name in self.ema], 1.0 - decay)

    def run(self, on_progress: Callable[[TrainingProgress], None] | None = None) -> TrainedShard:
        """Do all remaining steps, on the plan's threads, and return the shard."""
        with self.plan.running():
            while not self.done:
                progress = self.advance()
                if on_progress is not None:
                    on_progress(progress)
        return self.shard()

    def shard(self) -> TrainedShard:
        """Return the shard of the steps done so far."""
        chosen = self.held_out.best if self.held_out is not None and self.held_out.best else self.ema
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        weights = {name: tensor.to("cpu", memory_format=torch.contiguous_format) for name, tensor in chosen.items()}
        return TrainedShard(state_dict=weights, steps=self.step, loss=sum(tail) / len(tail))


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
