"""How many samples are copies of training images.

A sample counts as memorized when its nearest training image is less than a third as far as the second nearest
(Yoon et al., ICML workshop 2023; Gu et al., arXiv 2310.02664). Shapes: N samples, M training images, C, H, W.
"""

from __future__ import annotations

import torch

RATIO = 1.0 / 3.0
_PART = 256  # samples compared at once


def memorized_share(samples_NCHW: torch.Tensor, train_MCHW: torch.Tensor) -> float:
    """Return the share of samples, in [0, 1], that copy a training image.

    Args:
        samples_NCHW: at least one sample.
        train_MCHW: at least two training images.

    Raises:
        ValueError: if there are fewer.
    """
    if len(samples_NCHW) < 1 or len(train_MCHW) < 2:
        raise ValueError("needs at least one sample and two training images")
    train_MD = train_MCHW.flatten(1).double()
    nearest = []
    for part_ND in torch.split(samples_NCHW.flatten(1).double(), _PART):  # all pairs at once may not fit in memory
        # Differences, not the faster dot products, which lose the small distances that matter here.
        distances_NM = torch.cdist(part_ND, train_MD, compute_mode="donot_use_mm_for_euclid_dist")
        nearest.append(distances_NM.topk(2, dim=1, largest=False).values)
    nearest_N2 = torch.cat(nearest)
    return float((nearest_N2[:, 0] < RATIO * nearest_N2[:, 1]).double().mean())
