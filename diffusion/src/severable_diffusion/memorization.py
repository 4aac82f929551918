"""How many samples are copies of training images, and which images they are copies of.

A sample counts as memorized when its nearest training image is less than a third as far as the second nearest
(Yoon et al., ICML workshop 2023; Gu et al., arXiv 2310.02664). Shapes: N samples, M training images, P of them,
C, H, W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from severable_diffusion.images import ImageRows

RATIO = 1.0 / 3.0
_PART = 256  # training images compared at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nearest:
    """The two training images that each sample comes nearest to.

    Attributes:
        distance_N2: Euclidean distances, nearest first, float64.
        index_N2: which training images those are, int64.
    """

    distance_N2: torch.Tensor
    index_N2: torch.Tensor

    @property
    def ratio_N(self) -> torch.Tensor:
        """How far the nearest is as a share of how far the second is, in [0, 1]; 1 where both are no distance away."""
        first_N, second_N = self.distance_N2.unbind(dim=1)
        return torch.where(second_N > 0, first_N / second_N, torch.ones_like(second_N))

    @property
    def copied_N(self) -> torch.Tensor:
        """Which samples count as memorized, bool."""
        return self.distance_N2[:, 0] < RATIO * self.distance_N2[:, 1]


def nearest_two(samples_NCHW: torch.Tensor, train_MCHW: ImageRows) -> Nearest:
    """Return what each sample comes nearest to.

    Args:
        samples_NCHW: at least one sample.
        train_MCHW: at least two training images; a part of them at a time is looked at.

    Raises:
        ValueError: if there are fewer.
    """
    if len(samples_NCHW) < 1 or len(train_MCHW) < 2:
        raise ValueError("needs at least one sample and two training images")
    samples_ND = samples_NCHW.flatten(1).double()
    distance_N2 = torch.full((len(samples_ND), 2), torch.inf, dtype=torch.float64)
    index_N2 = torch.zeros((len(samples_ND), 2), dtype=torch.int64)
    for rows_P in torch.split(torch.arange(len(train_MCHW)), _PART):  # all pairs at once may not fit in memory
        part_PD = train_MCHW[rows_P].flatten(1).double()
        # Differences, not the faster dot products, which lose the small distances that matter here.
        distance_NP = torch.cdist(samples_ND, part_PD, compute_mode="donot_use_mm_for_euclid_dist")
        index_NP = rows_P.expand(len(samples_ND), -1)
        distance_N2, place_N2 = torch.cat([distance_N2, distance_NP], dim=1).topk(2, dim=1, largest=False)
        index_N2 = torch.cat([index_N2, index_NP], dim=1).gather(1, place_N2)
    return Nearest(distance_N2=distance_N2, index_N2=index_N2)


def memorized_share(samples_NCHW: torch.Tensor, train_MCHW: ImageRows) -> float:
    """Return the share of samples, in [0, 1], that copy a training image; arguments and errors as `nearest_two`."""
    return float(nearest_two(samples_NCHW, train_MCHW).copied_N.double().mean())
