"""Frechet distance in the features of a small classifier trained on the spot.

Without Inception weights a Frechet distance is another number than the published FIDs: its name says which network it
is measured in (`FD_NAME`), and only ratios between values of the same network mean anything.
Shapes: N images, D features, C, H, W.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from severable_diffusion.environment import generator, repeatable

FEATURES = 32
STEPS = 400
BATCH = 64
FD_NAME = "FD-conv32"
"""Frechet distance in the 32 features before the last layer of `FeatureNetwork`."""


class FeatureNetwork(nn.Module):
    """A small convolutional classifier; its features are the layer before the logits.

    Args:
        channels: C.
        classes: number of labels.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(128, FEATURES),
        )
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        logits: torch.Tensor = self.head(torch.relu(self.body(x_NCHW)))
        return logits

    @torch.no_grad()
    def features(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return features of shape (N, D), float64."""
        return torch.cat([self.body(part).double() for part in torch.split(x_NCHW, 512)])

    @torch.no_grad()
    def accuracy(self, x_NCHW: torch.Tensor, label_N: torch.Tensor) -> float:
        """Return the share of images whose label is guessed, in [0, 1]."""
        return float((self(x_NCHW).argmax(dim=1) == label_N).double().mean())


def train_feature_network(
    images_NCHW: torch.Tensor, label_N: torch.Tensor, seed: int, steps: int = STEPS
) -> FeatureNetwork:
    """Return a classifier of real labelled images, in eval mode; the same inputs and seed give the same weights.

    Args:
        images_NCHW: float32 in [-1, 1].
        label_N: int64 from 0.
        seed: of the initial weights and the batches.
        steps: optimizer steps of 64 images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # torch's initialisers take no generator
        network = FeatureNetwork(images_NCHW.shape[1], int(label_N.max()) + 1)
    noise = generator(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2, fused=True)
    with repeatable():
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * (1.0 - step / steps)
            rows = torch.randint(len(images_NCHW), (BATCH,), generator=noise)
            loss = nn.functional.cross_entropy(network(images_NCHW[rows]), label_N[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves this one method unannotated
            optimizer.step()
    return network.requires_grad_(requires_grad=False).eval()


def frechet_distance(a_ND: torch.Tensor, b_MD: torch.Tensor) -> float:
    """Return the squared Frechet (2-Wasserstein) distance of the Gaussians fitted to two sets of features.

    |mu_a - mu_b|^2 + tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2))   (Heusel et al., arXiv 1706.08500)

    Args:
        a_ND: at least two rows.
        b_MD: at least two rows.

    Raises:
        ValueError: if there are fewer.
    """
    if len(a_ND) < 2 or len(b_MD) < 2:
        raise ValueError("a Frechet distance needs at least two samples on each side")
    a_ND, b_MD = a_ND.double(), b_MD.double()
    shift = (a_ND.mean(dim=0) - b_MD.mean(dim=0)).square().sum()
    spread = a_ND.var(dim=0).sum() + b_MD.var(dim=0).sum()
    return max(0.0, float(shift + spread) - 2.0 * _overlap(a_ND, b_MD))


def _overlap(a_ND: torch.Tensor, b_MD: torch.Tensor) -> float:
    """Return tr (A^(1/2) B A^(1/2))^(1/2)."""
    if min(len(a_ND), len(b_MD)) < a_ND.shape[1]:
        # The same number without a matrix of D rows: the sum of the singular values of A^(1/2) B^(1/2), and so of the
        # product of the centred samples themselves.
        a_ND, b_MD = (x_ND - x_ND.mean(dim=0) for x_ND in (a_ND, b_MD))
        scale = math.sqrt((len(a_ND) - 1) * (len(b_MD) - 1))
        return float(torch.linalg.svdvals(a_ND @ b_MD.T).sum()) / scale
    A_DD, B_DD = torch.cov(a_ND.T), torch.cov(b_MD.T)
    root_DD = _square_root(A_DD)
    return float(torch.linalg.eigvalsh(root_DD @ B_DD @ root_DD).clamp_min(0.0).sqrt().sum())


def _square_root(A_DD: torch.Tensor) -> torch.Tensor:
    value_D, vector_DD = torch.linalg.eigh(A_DD)
    root_DD: torch.Tensor = (vector_DD * value_D.clamp_min(0.0).sqrt()) @ vector_DD.T
    return root_DD
