"""Differentially private training of one shard: opacus's gradients of single images, its clipping and its accountant.

A batch is a Poisson sample: every image is in it with the same chance, independently, and it may be empty. Batch and
noise of a step hang on the seed and the step's number alone, so a step that is done again after a crash is the same
step and spends nothing more. The seed must stay with the party: who knows it can take the noise away again.

Noise comes from NumPy's PCG64 seeded with all 62 bits of the seed (torch's CPU generator would use 32 of them). That is
no cryptographic generator; opacus's secure mode needs torchcsprng, which there is not for this torch.
Shapes: N images, B batch, C, H, W.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from severable_diffusion import network
from severable_diffusion.budget import rate_factor
from severable_diffusion.errors import RecipeError
from severable_diffusion.execution import DEFAULT, ExecutionPlan
from severable_diffusion.parametrization import Parametrization, target
from severable_diffusion.privacy import Privacy, Spent
from severable_diffusion.team import ALONE, Team
from severable_diffusion.training import TrainedShard, Trainer, TrainingProgress

if TYPE_CHECKING:
    from severable_diffusion.images import ImageRows
    from severable_diffusion.recipe import Recipe

PURPOSE = 0x5EFE7AB1E  # keeps these draws apart from every other use of the seed
PART = 32  # images whose gradients are held at once


def trainer_for(
    recipe: Recipe,
    images_NCHW: ImageRows,
    seed: int,
    label_N: torch.Tensor | None = None,
    *,
    plan: ExecutionPlan = DEFAULT,
    team: Team = ALONE,
) -> Trainer:
    """Return the trainer that a recipe asks for; arguments and errors as `Trainer` and `PrivateTrainer`.

    A private training computes on the CPU in float32, whatever the plan says, and alone.
    """
    if recipe.training.privacy is None:
        return Trainer(recipe, images_NCHW, seed, label_N, plan=plan, team=team)
    return PrivateTrainer(recipe, images_NCHW, seed, label_N)


class PrivateTrainer(Trainer):
    """One shard's private training, a step at a time.

    Args:
        recipe: what to train; it has `training.privacy`.
        images_NCHW: the party's images, float32 in [-1, 1].
        seed: the run's only randomness, secret, up to 62 bits.
        label_N: as in `Trainer`.

    Raises:
        RecipeError: opacus is not installed, or as `Trainer`.
    """

    PRIVATE = True

    def __init__(self, recipe: Recipe, images_NCHW: ImageRows, seed: int, label_N: torch.Tensor | None = None) -> None:
        super().__init__(recipe, images_NCHW, seed, label_N)
        opacus = _opacus()
        self._privacy = _asked(recipe)
        self.sampling_rate = min(1.0, recipe.training.batch / len(images_NCHW))
        for module in self.model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_pre_hook(_contiguous)
        self._forward = opacus.GradSampleModule(self.model, loss_reduction="sum")
        self._private = _noisy(opacus)(
            self.optimizer,
            noise_multiplier=self._privacy.noise_multiplier,
            max_grad_norm=self._privacy.clipping_norm,
            expected_batch_size=self.sampling_rate * len(images_NCHW),
        )

    def advance(self) -> TrainingProgress:
        """Do one noisy step, also where no image was drawn."""
        budget = self.recipe.training
        rate = budget.learning_rate * rate_factor(self.step, self.steps, budget.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence((PURPOSE, self.seed, self.step))))
        rows_B = torch.from_numpy(np.flatnonzero(draws.random(len(self.images_NCHW)) < self.sampling_rate))
        noise = torch.Generator().manual_seed(int(draws.integers(2**62)))  # of times and eps: they need no secrecy
        self._private.draws = draws
        parts = list(torch.split(rows_B, PART)) or [rows_B]
        total = 0.0
        for place, part_B in enumerate(parts):
            total += self._gradients(part_B, noise)
            self._private.signal_skip_step(place < len(parts) - 1)
            self._private.step()
            self._private.zero_grad(set_to_none=True)
        self.step += 1
        self._average()
        self.losses.append(total / max(1, len(rows_B)))
        return TrainingProgress(self.step, self.steps, self.losses[-1], rate)

    def _gradients(self, rows_B: torch.Tensor, noise: torch.Generator) -> float:
        """Leave every image's own gradient at the parameters; return the sum of the images' losses."""
        if not len(rows_B):
            for parameter in self._parameters:
                parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))
            return 0.0
        first, last = self.schedule.first, self.schedule.last
        t_B = torch.randint(first, last + 1, (len(rows_B),), generator=noise)
        x0_BCHW = self.images_NCHW[rows_B]
        eps_BCHW = torch.randn(x0_BCHW.shape, generator=noise)
        alpha_B111, sigma_B111 = self.schedule.at(t_B)
        x_t_BCHW = alpha_B111 * x0_BCHW + sigma_B111 * eps_BCHW
        wanted_BCHW = target(Parametrization(self.recipe.parametrization), x0_BCHW, eps_BCHW, alpha_B111, sigma_B111)
        with warnings.catch_warnings():
            # The first layers' inputs are data and need no gradient; torch points that out to hooks at every step.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            predicted_BCHW = network.predict(self._forward, x_t_BCHW, t_B, self._labels_of(rows_B, noise))
            loss_B = (predicted_BCHW - wanted_BCHW).square().flatten(1).mean(dim=1)
            loss_B.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves this one method unannotated
        return float(loss_B.detach().sum())

    def _labels_of(self, rows_B: torch.Tensor, noise: torch.Generator) -> torch.Tensor | None:
        if self.label_N is None or self.recipe.conditions is None:
            return None
        hidden_B = torch.rand(len(rows_B), generator=noise) < self.recipe.conditions.drop
        return self.label_N[rows_B].masked_fill(hidden_B, self.recipe.labels)

    def spent(self) -> Spent:
        """Return what the steps so far have spent, by opacus's RDP accountant (an upper bound)."""
        accountant = _opacus().accountants.RDPAccountant()
        accountant.history = [(self._privacy.noise_multiplier, self.sampling_rate, self.step)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Optimal order is the")  # still an upper bound
            epsilon = float(accountant.get_epsilon(self._privacy.delta))
        return Spent(
            epsilon=epsilon,
            delta=self._privacy.delta,
            noise_multiplier=self._privacy.noise_multiplier,
            sampling_rate=self.sampling_rate,
            steps=self.step,
        )

    def shard(self) -> TrainedShard:
        """Return the shard of the steps done so far with what they spent."""
        return replace(super().shard(), privacy=self.spent())


def _contiguous(_module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Lay a convolution's input out as N, C, H, W: opacus takes it for that whatever its strides are (`unfold2d`)."""
    return tuple(x_NCHW.contiguous() for x_NCHW in given)


def _asked(recipe: Recipe) -> Privacy:
    if recipe.training.privacy is None:
        raise RecipeError("training.privacy", "is missing; train this recipe with `Trainer`")
    return recipe.training.privacy


def _opacus() -> Any:
    try:
        import opacus  # noqa: PLC0415  # an optional dependency
    except ImportError as error:
        raise RecipeError("training.privacy", "needs opacus; install severable-diffusion[private]") from error
    return opacus


def _noisy(opacus: Any) -> Any:
    """Return opacus's optimizer with noise from the step's own draws."""

    class Noisy(opacus.optimizers.DPOptimizer):  # type: ignore[misc]  # no types where opacus is not installed
        draws: np.random.Generator

        def add_noise(self) -> None:
            scale = self.noise_multiplier * self.max_grad_norm
            for parameter in self.params:
                noise = torch.from_numpy(self.draws.standard_normal(tuple(parameter.shape), dtype=np.float32))
                parameter.grad = (parameter.summed_grad + scale * noise).view_as(parameter)

    return Noisy
