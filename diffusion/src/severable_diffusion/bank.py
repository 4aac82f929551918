"""Banks: synthetic samples that the coordinator draws from one shard, in place of images it must never see.

A bank depends on its shard's id, its shard's weights and the recipe alone, so it does not matter which shards are
beside it, or were, or in what order banks are drawn. Beside every image it keeps one noisy state of the way there: a
router is asked about states of reverse trajectories, which noised images resemble but are not. Shapes: N, C, H, W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from severable_diffusion.environment import generator, repeatable, seed_from
from severable_diffusion.errors import CompositeError
from severable_diffusion.sampler import draw
from severable_diffusion.schedule import NoiseSchedule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from severable_diffusion.recipe import Recipe

PURPOSE = b"severable bank v2"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bank:
    """What was drawn from one shard.

    Attributes:
        x_NCHW: finished images, float32 in [-1, 1].
        state_NCHW: of each image, its state before one step of its reverse trajectory, float32.
        time_N: the recipe's time of that state, int64.
        label_N: what each image was asked for by, int64; None where the recipe has no conditions.
    """

    x_NCHW: torch.Tensor
    state_NCHW: torch.Tensor
    time_N: torch.Tensor
    label_N: torch.Tensor | None = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the bank as named tensors, as it is kept; `from_tensors` of them is this bank."""
        named = {"x_NCHW": self.x_NCHW, "state_NCHW": self.state_NCHW, "time_N": self.time_N}
        return named if self.label_N is None else named | {"label_N": self.label_N}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Bank:
        """Return the bank of named tensors.

        Raises:
            CompositeError: if they are not a bank's.
        """
        try:
            return cls(**tensors)
        except TypeError as error:
            raise CompositeError(f"a kept bank has the tensors {', '.join(sorted(tensors))}; draw it again") from error

    @classmethod
    def from_images(
        cls, x_NCHW: torch.Tensor, recipe: Recipe, *, seed_material: str, label_N: torch.Tensor | None = None
    ) -> Bank:
        """Return a bank of images that no shard made, for example a public reference.

        Its states are noised images at times drawn log-uniformly from the router's band.

        Args:
            x_NCHW: float32 in [-1, 1].
            recipe: the forward process and the band.
            seed_material: names the images; the noise depends on it alone.
            label_N: of each image, where the recipe has conditions.
        """
        schedule = NoiseSchedule.of(recipe.process)
        noise = generator(seed_from(PURPOSE, seed_material.encode()))
        low, high = -2.0 * math.log(recipe.router.noise_high), -2.0 * math.log(recipe.router.noise_low)
        time_N = schedule.time_of(low + (high - low) * torch.rand(len(x_NCHW), generator=noise))
        state_NCHW = schedule.add_noise(x_NCHW, torch.randn(x_NCHW.shape, generator=noise), time_N)
        return cls(x_NCHW=x_NCHW, state_NCHW=state_NCHW, time_N=time_N, label_N=label_N)

    def content(self) -> tuple[bytes, ...]:
        """Return the bytes that everything built from the bank is seeded by."""
        return tuple(tensor.numpy().tobytes() for _, tensor in sorted(self.tensors().items()))

    def rows(self, part: slice | torch.Tensor) -> Bank:
        """Return some of the images with their states."""
        return Bank.from_tensors({name: tensor[part] for name, tensor in self.tensors().items()})


def draw_bank(
    network: Callable[..., Any],
    recipe: Recipe,
    *,
    seed_material: str,
    label_counts: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Bank:
    """Return a shard's bank of recipe.bank.images images.

    Args:
        network: the shard's network, from `severable_diffusion.network.load`.
        recipe: what it was trained by.
        seed_material: the shard's id.
        label_counts: how many training images of each label the shard had, where the recipe has conditions; the bank
            is asked for in these proportions. All labels alike by default.
        on_progress: called with (images drawn, images in all) after every batch.
    """
    plan = recipe.bank
    noise = generator(seed_from(PURPOSE, seed_material.encode()))
    label_N = _labels(recipe, label_counts, noise)
    parts: list[Bank] = []
    with repeatable():
        for start in range(0, plan.images, plan.batch):
            count = min(plan.batch, plan.images - start)
            labels_M = None if label_N is None else label_N[start : start + count]
            parts.append(_draw_part(network, recipe, count, noise, labels_M))
            if on_progress is not None:
                on_progress(start + count, plan.images)
    columns = zip(*(part.tensors().values() for part in parts), strict=True)
    return Bank.from_tensors(dict(zip(parts[0].tensors(), map(torch.cat, columns), strict=True)))


def _labels(recipe: Recipe, counts: Sequence[int] | None, noise: torch.Generator) -> torch.Tensor | None:
    """Return the labels to ask for, in proportion to the counts and in random order."""
    if not recipe.labels:
        return None
    share_C = torch.tensor(counts or [1] * recipe.labels, dtype=torch.float64)
    edges_C = (share_C.cumsum(0) / share_C.sum() * recipe.bank.images).round().long()
    ordered_N = torch.searchsorted(edges_C, torch.arange(recipe.bank.images), right=True)
    return ordered_N[torch.randperm(recipe.bank.images, generator=noise)]


def _draw_part(
    network: Callable[..., Any], recipe: Recipe, count: int, noise: torch.Generator, label_N: torch.Tensor | None
) -> Bank:
    """Draw images, and keep each one's state at one step, chosen among those where a state tells shards apart."""
    states: list[torch.Tensor] = []
    times: list[int] = []

    def keep(t: int, x_NCHW: torch.Tensor) -> None:
        states.append(x_NCHW)
        times.append(t)

    x_NCHW = draw(
        network, recipe, count=count, steps=recipe.bank.steps, generator=noise, label_N=label_N, on_state=keep
    )
    log_snr_S = NoiseSchedule.of(recipe.process).log_snr_T[times]
    telling = int((log_snr_S < -2.0 * math.log(recipe.router.noise_high)).sum())
    kept_N = torch.randint(min(telling, len(times) - 1), len(times), (count,), generator=noise)
    state_NCHW = torch.stack(states)[kept_N, torch.arange(count)]
    return Bank(x_NCHW=x_NCHW, state_NCHW=state_NCHW, time_N=torch.tensor(times)[kept_N], label_N=label_N)
