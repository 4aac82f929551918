"""Look at a shard as a thief would: draw from the very bytes that would leave, and compare with the training images.

Only the worker process imports this module (torch). Shapes: N samples, C channels, H height, W width.
"""

from dataclasses import dataclass, replace

import torch

from severable_client.gate import Check, Measured
from severable_diffusion import network
from severable_diffusion.bank import draw_bank
from severable_diffusion.execution import ExecutionPlan
from severable_diffusion.images import ImageRows
from severable_diffusion.memorization import nearest_two
from severable_diffusion.recipe import Recipe

PROBES = 128  # samples that are compared with the training images
MIN_COMPARED = 2  # images


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Samples beside the training images that they come nearest to. It holds training images: it stays at home.

    Attributes:
        x_NCHW: the samples, float32 in [-1, 1].
        nearest_N2CHW: of each the nearest and the second nearest training image.
        ratio_N: distance to the nearest as a share of the distance to the second, in [0, 1].
        copied_N: which samples count as copies, bool.
    """

    x_NCHW: torch.Tensor
    nearest_N2CHW: torch.Tensor
    ratio_N: torch.Tensor
    copied_N: torch.Tensor

    @property
    def share(self) -> float:
        """The share of samples that count as copies, 0 to 1."""
        return float(self.copied_N.double().mean())

    def suspicious(self, count: int) -> list[int]:
        """Return the places of the samples that come nearest to a training image, nearest first."""
        order: list[int] = self.ratio_N.argsort(stable=True)[:count].tolist()
        return order


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inspected:
    """What the gate saw.

    Attributes:
        checks: every rule that could be looked at.
        facts: what was measured; None if the job ended before training.
        evidence: None where nothing could be compared.
    """

    checks: tuple[Check, ...]
    facts: Measured | None = None
    evidence: Evidence | None = None

    @property
    def passed(self) -> bool:
        """Whether every rule holds."""
        return self.facts is not None and all(check.holds for check in self.checks)


def probe(
    recipe: Recipe, weights: bytes, images_NCHW: ImageRows, *, seed_material: str, device: str = "cpu"
) -> Evidence | None:
    """Return fresh samples of a shard with what they come nearest to; None where there is nothing to tell a copy from.

    Args:
        recipe: what it was trained by.
        weights: the bytes that would leave, every number finite.
        images_NCHW: what it was trained on, float32 in [-1, 1].
        seed_material: names the draw.
        device: where the samples are drawn, in float32; on the CPU if its memory does not suffice.
    """
    if len(images_NCHW) < MIN_COMPARED:
        return None
    probing = replace(recipe, bank=replace(recipe.bank, images=PROBES))
    try:
        x_NCHW = _drawn(probing, weights, seed_material, device)
    except torch.OutOfMemoryError:  # a bank's batch may be larger than a training's: no reason to lose the training
        x_NCHW = _drawn(probing, weights, seed_material, "cpu")
    nearest = nearest_two(x_NCHW, images_NCHW)
    return Evidence(
        x_NCHW=x_NCHW,
        nearest_N2CHW=images_NCHW[nearest.index_N2.flatten()].reshape(len(x_NCHW), 2, *x_NCHW.shape[1:]),
        ratio_N=nearest.ratio_N,
        copied_N=nearest.copied_N,
    )


def _drawn(recipe: Recipe, weights: bytes, seed_material: str, device: str) -> torch.Tensor:
    plan, shard = ExecutionPlan(device=device), network.load(recipe, weights)
    plan.place(shard)
    return draw_bank(plan.asked_on_the_cpu(shard), recipe, seed_material=seed_material).x_NCHW
