"""How many samples are copies of training images, and which images they are copies of.

A sample counts as memorized when its nearest training image is less than a third as far as the second nearest
(Yoon et al., ICML workshop 2023; Gu et al., arXiv 2310.02664). Shapes: N samples, M training images, C, H, W.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

RATIO = 1.0 / 3.0
_PART = 256  # samples compared at once


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


def nearest_two(samples_NCHW: torch.Tensor, train_MCHW: torch.Tensor) -> Nearest:
    """Return what each sample comes nearest to.

    Args:
        samples_NCHW: at least one sample.
        train_MCHW: at least two training images.

    Raises:
        ValueError: if there are fewer.
    """
    if len(samples_NCHW) < 1 or len(train_MCHW) < 2:
        raise ValueError("needs at least one sample and two training images")
    train_MD = train_MCHW.flatten(1).double()
    found = []
    for part_ND in torch.split(samples_NCHW.flatten(1).double(), _PART):  # all pairs at once may not fit in memory
        # Differences, not the faster dot products, which lose the small distances that matter here.
        distances_NM = torch.cdist(part_ND, train_MD, compute_mode="donot_use_mm_for_euclid_dist")
        found.append(distances_NM.topk(2, dim=1, largest=False))
    return Nearest(
        distance_N2=torch.cat([top.values for top in found]), index_N2=torch.cat([top.indices for top in found])
    )


def memorized_share(samples_NCHW: torch.Tensor, train_MCHW: torch.Tensor) -> float:
    """Return the share of samples, in [0, 1], that copy a training image; arguments and errors as `nearest_two`."""
    return float(nearest_two(samples_NCHW, train_MCHW).copied_N.double().mean())
