"""A membership attack: does a composite tell images that a shard was trained on from others of the same kind?

A network fits its training images a little better than others, and so does a composite that holds it. The attacker has
the whole composite, noises an image at fixed levels by fixed noises, the same ones for every image, and takes the mean
squared error of what the networks say: the image's loss. Three scores of it, higher for "was trained on":

    calibrated   by how much the best fitting shard's loss is below the mean of the other shards' losses: what makes an
                 image easy or hard for everybody falls out (Watson et al., arXiv 2111.08440). With one shard: closest
    closest      minus the smallest loss of any shard
    mixture      minus the loss of the routed mixture, which is what a composite says as a whole

Held-in and held-out images must be of one kind, or the attack tells the kinds apart and not the memberships. An area
under the curve of 0.5 is guessing. Shapes: N held-in and M held-out images, K shards, R repeats, C, H, W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from severable_diffusion import network
from severable_diffusion.environment import generator, seed_from
from severable_diffusion.parametrization import convert, target
from severable_diffusion.router import Router, weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from severable_diffusion.pipeline import CompositePipeline
    from severable_diffusion.shard_set import ShardSet

PURPOSE = b"severable membership attack v1"
LEVELS = (0.25, 0.5, 1.0, 2.0)
"""sigma / alpha at which losses are compared."""
DRAWS = 4
"""Noises at every level."""
BATCH = 256
SCORES = ("calibrated", "closest", "mixture")
REPEATS = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Losses:
    """Losses of some images under one composite.

    Attributes:
        shard_NK: of every shard alone, float64, 0 or more.
        mixture_N: of the routed mixture; mixed by lambda where the composite has no router.
    """

    shard_NK: torch.Tensor
    mixture_N: torch.Tensor

    def score(self, name: str) -> torch.Tensor:
        """Return one of `SCORES` for every image (N,), higher for "was trained on"."""
        count = self.shard_NK.shape[1]
        least_N = self.shard_NK.min(dim=1).values
        if name == "mixture":
            return -self.mixture_N
        if name == "closest" or count == 1:
            return -least_N
        if name == "calibrated":
            return (self.shard_NK.sum(dim=1) - least_N) / (count - 1) - least_N
        raise ValueError(f"score {name!r} is unknown; choose {', '.join(SCORES)}")


@torch.no_grad()
def losses(
    pipeline: CompositePipeline, x0_NCHW: torch.Tensor, told: Callable[[int, int], None] | None = None
) -> Losses:
    """Return the images' losses, means over `LEVELS` and `DRAWS`; the same arguments give the same numbers.

    Args:
        pipeline: the composite.
        x0_NCHW: images in [-1, 1] of the recipe's size. Where the recipe has conditions, none is given.
        told: called with (images done, images in all).
    """
    parts = []
    for begun in range(0, len(x0_NCHW), BATCH):
        parts.append(_of_batch(pipeline, x0_NCHW[begun : begun + BATCH]))
        if told is not None:
            told(min(begun + BATCH, len(x0_NCHW)), len(x0_NCHW))
    return Losses(
        shard_NK=torch.cat([shard_NK for shard_NK, _ in parts]), mixture_N=torch.cat([mixed_N for _, mixed_N in parts])
    )


def _of_batch(pipeline: CompositePipeline, x0_NCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    shards: ShardSet = pipeline.shards
    found = []
    for place, level in enumerate(LEVELS):
        t_N = shards.schedule.time_of(torch.full((len(x0_NCHW),), -2.0 * math.log(level)))
        for draw in range(DRAWS):
            noise = generator(seed_from(PURPOSE, bytes([place, draw])))
            eps_NCHW = torch.randn((1, *x0_NCHW.shape[1:]), generator=noise).expand_as(x0_NCHW)
            found.append(_errors(shards, pipeline.router, x0_NCHW, eps_NCHW, t_N))
    shard_NK, mixed_N = (torch.stack(column).mean(dim=0) for column in zip(*found, strict=True))
    return shard_NK, mixed_N


def _errors(
    shards: ShardSet, router: Router | None, x0_NCHW: torch.Tensor, eps_NCHW: torch.Tensor, t_N: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return squared errors of every shard (N, K) and of the mixture (N,), in the recipe's parametrization."""
    alpha_N111, sigma_N111 = shards.schedule.at(t_N)
    x_t_NCHW = alpha_N111 * x0_NCHW + sigma_N111 * eps_NCHW
    wanted_NCHW = target(shards.source, x0_NCHW, eps_NCHW, alpha_N111, sigma_N111)
    hidden_N = torch.full_like(t_N, shards.recipe.labels) if shards.recipe.labels else None
    said_KNCHW = torch.stack(
        [
            convert(
                network.predict(one, x_t_NCHW, t_N, hidden_N),
                shards.members[shard_id].parametrization or shards.source,
                shards.source,
                x_t_NCHW,
                alpha=alpha_N111,
                sigma=sigma_N111,
            )
            for shard_id, one in zip(shards.shard_ids, shards.networks, strict=True)
        ]
    )
    log_snr_N = shards.schedule.log_snr_T[t_N]
    l_NK = torch.zeros(len(t_N), len(said_KNCHW)) if router is None else router.logits(x_t_NCHW, log_snr_N)
    w_NK = weights(l_NK, shards.log_lambda_K, torch.ones(len(said_KNCHW), dtype=torch.bool))
    mixed_NCHW = torch.einsum("nk,knchw->nchw", w_NK, said_KNCHW)
    shard_KN = (said_KNCHW - wanted_NCHW).double().square().mean(dim=(2, 3, 4))
    return shard_KN.T, (mixed_NCHW - wanted_NCHW).double().square().mean(dim=(1, 2, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How well scores tell held-in from held-out images.

    Attributes:
        area: under the curve, in [0, 1]; 0.5 is guessing.
        low: of the 95 % bootstrap interval of the area.
        high: of the same.
        hit_rate: share of the held-in images that are found while at most 1 % of the held-out ones are taken for such.
        false_rates: of the curve's points, from 0 to 1.
        hit_rates: of the same.
    """

    area: float
    low: float
    high: float
    hit_rate: float
    false_rates: tuple[float, ...]
    hit_rates: tuple[float, ...]

    @property
    def by_chance(self) -> bool:
        """Whether guessing is within the interval, or the attack does worse than that."""
        return self.low <= 0.5


def told_apart(held_in_N: torch.Tensor, held_out_M: torch.Tensor, *, seed: int, repeats: int = REPEATS) -> Told:
    """Return how well scores tell held-in from held-out.

    Args:
        held_in_N: scores of the images that were trained on.
        held_out_M: scores of the others.
        seed: of the bootstrap, which draws images of both kinds anew.
        repeats: of the bootstrap.

    Raises:
        ValueError: if there are fewer than two of either kind.
    """
    if min(len(held_in_N), len(held_out_M)) < 2:
        raise ValueError("a membership attack needs at least two held-in and two held-out images")
    noise, areas = generator(seed), list[float]()
    for _ in range(repeats):
        own_N = held_in_N[torch.randint(len(held_in_N), (len(held_in_N),), generator=noise)]
        other_M = held_out_M[torch.randint(len(held_out_M), (len(held_out_M),), generator=noise)]
        areas.append(area_under_curve(own_N, other_M))
    low, high = torch.tensor(areas, dtype=torch.float64).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    false_P, hit_P = curve(held_in_N, held_out_M)
    return Told(
        area=area_under_curve(held_in_N, held_out_M),
        low=float(low),
        high=float(high),
        hit_rate=float(hit_P[false_P <= 0.01].max()),
        false_rates=tuple(false_P.tolist()),
        hit_rates=tuple(hit_P.tolist()),
    )


def area_under_curve(held_in_N: torch.Tensor, held_out_M: torch.Tensor) -> float:
    """Return the probability that a held-in score is above a held-out one; ties count half (Mann and Whitney's U)."""
    sorted_M = held_out_M.sort().values
    below_N = torch.searchsorted(sorted_M, held_in_N)
    not_above_N = torch.searchsorted(sorted_M, held_in_N, right=True)
    return float((below_N + not_above_N).double().mean() / (2 * len(held_out_M)))


def curve(held_in_N: torch.Tensor, held_out_M: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return false and hit rates (P,), float64, rising from 0 to 1: one point for each threshold between two scores."""
    rising_R = torch.cat([held_in_N, held_out_M]).sort().values
    threshold_P = rising_R[torch.cat([rising_R.new_ones(1), rising_R.diff()]) > 0].flip(0)  # each score once
    hit_P, false_P = (
        1.0 - torch.searchsorted(score_N.sort().values, threshold_P).double() / len(score_N)
        for score_N in (held_in_N, held_out_M)
    )
    start_1 = hit_P.new_zeros(1)
    return torch.cat([start_1, false_P]), torch.cat([start_1, hit_P])
