"""How many samples are copies of training images.

A sample counts as memorized when its nearest training image is less than a third as far as the second nearest
(Yoon et al., ICML workshop 2023; Gu et al., arXiv 2310.02664). Shapes: N samples, M training images, P of them,
C, H, W.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from severable_diffusion.images import ImageRows

RATIO = 1.0 / 3.0
_PART = 256  # training images compared at once


def memorized_share(samples_NCHW: torch.Tensor, train_MCHW: ImageRows) -> float:
    """Return the share of samples, in [0, 1], that copy a training image.

    Args:
        samples_NCHW: at least one sample.
        train_MCHW: at least two training images; a part of them at a time is looked at.

    Raises:
        ValueError: if there are fewer.
    """
    if len(samples_NCHW) < 1 or len(train_MCHW) < 2:
        raise ValueError("needs at least one sample and two training images")
    nearest_N2 = torch.full((len(samples_NCHW), 2), torch.inf, dtype=torch.float64)
    samples_ND = samples_NCHW.flatten(1).double()
    for rows_P in torch.split(torch.arange(len(train_MCHW)), _PART):  # all pairs at once may not fit in memory
        part_PD = train_MCHW[rows_P].flatten(1).double()
        # Differences, not the faster dot products, which lose the small distances that matter here.
        distances_NP = torch.cdist(samples_ND, part_PD, compute_mode="donot_use_mm_for_euclid_dist")
        nearest_N2 = torch.cat([nearest_N2, distances_NP], dim=1).topk(2, dim=1, largest=False).values
    return float((nearest_N2[:, 0] < RATIO * nearest_N2[:, 1]).double().mean())
