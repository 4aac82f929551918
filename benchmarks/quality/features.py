"""The feature network that Frechet distances are measured in, and the statistics of real images in it."""

from __future__ import annotations

import os
from collections.abc import Callable  # noqa: TC003  # dataclasses read annotations at run time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from severable_diffusion.environment import generator
from severable_diffusion.frechet import frechet_distance

if TYPE_CHECKING:
    from pathlib import Path

    from quality.data import LabelledImages

FEATURES = 64
SEED = 20261124


class Classifier(nn.Module):
    """A convolutional classifier of the ten classes; its features are the 64 numbers before the last layer."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * (-(-size // 4)) ** 2, FEATURES),
        )
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        logits: torch.Tensor = self.head(torch.relu(self.body(x_NCHW)))
        return logits


class _Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the next feature map."""
        mapped_NCHW: torch.Tensor = x_NCHW + self.body(x_NCHW)
        return mapped_NCHW


class ResidualClassifier(nn.Module):
    """A residual classifier for colour images; its features are the 128 means before the last layer.

    `Classifier` sees too little of CIFAR-10 at 32 x 32 for its distances to mean much there.
    """

    def __init__(self, channels: int, size: int) -> None:  # noqa: ARG002  # every size: the features are means
        super().__init__()
        levels: list[nn.Module] = [nn.Conv2d(channels, 64, 3, padding=1)]
        for width, wider in ((64, 128), (128, 256)):
            levels += [_Residual(width), nn.Conv2d(width, wider, 3, stride=2, padding=1)]
        self.body = nn.Sequential(
            *levels, _Residual(256), nn.GroupNorm(8, 256), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 128),
        )  # fmt: skip
        self.head = nn.Linear(128, 10)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        logits: torch.Tensor = self.head(torch.relu(self.body(x_NCHW)))
        return logits


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of feature network.

    Attributes:
        build: makes one of (channels, size).
        batch: images per training step.
        flips: whether training images are mirrored at random, which digits must not be.
    """

    build: Callable[[int, int], Classifier | ResidualClassifier]
    batch: int = 64
    flips: bool = False


NETWORKS = {"conv64": Kind(build=Classifier), "res128": Kind(build=ResidualClassifier, batch=128, flips=True)}
"""Kinds by name; the name is part of every distance's: FD-<name>/<data set>-<pixels>."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Where distances are measured.

    Attributes:
        network: trained on the data set's training images.
        name: of the distance, for example FD-conv64/mnist-16.
        accuracy: of the network on the test images, in [0, 1].
        device: where it computes; images may be anywhere.
    """

    network: Classifier | ResidualClassifier
    name: str
    accuracy: float
    device: str = "cpu"

    @torch.no_grad()
    def __call__(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return float64 features on the CPU, of shape (N, 64) or (N, 128)."""
        return torch.cat([self.network.body(part).double().cpu() for part in self._parts(x_NCHW)])

    @torch.no_grad()
    def labels(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the guessed class of every image."""
        return torch.cat([self.network(part).argmax(dim=1).cpu() for part in self._parts(x_NCHW)])

    def _parts(self, x_NCHW: torch.Tensor) -> list[torch.Tensor]:
        return [part.to(self.device) for part in x_NCHW.tensor_split(-(-len(x_NCHW) // 1000))]

    def distance(self, x_NCHW: torch.Tensor, reference_MCHW: torch.Tensor) -> float:
        """Return the Frechet distance of two sets of images."""
        return frechet_distance(self(x_NCHW), self(reference_MCHW))


def path_of(images: LabelledImages, work: Path, steps: int, name: str) -> Path:
    """Return where a feature network is kept."""
    stem = "features" if name == "conv64" else f"features-{name}"
    return work / f"{stem}-{images.name}-{images.train_NCHW.shape[-1]}-{steps}.safetensors"


def trained(images: LabelledImages, work: Path, steps: int, name: str = "conv64", device: str = "cpu") -> Features:
    """Return the data set's features, trained once and then kept under `work`.

    Args:
        images: the data set.
        work: its part of the work folder.
        steps: of training.
        name: of the network, a key of `NETWORKS`.
        device: where it is trained and computes.
    """
    kind, size = NETWORKS[name], images.train_NCHW.shape[-1]
    path = path_of(images, work, steps, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)  # torch's initialisers take no generator
        network = kind.build(images.train_NCHW.shape[1], size)
    if path.exists():
        network.load_state_dict(load_file(path))
    else:
        _train(network.to(device), images, steps, kind)
        partial = path.with_suffix(f".partial-{os.getpid()}")  # two processes may train it at once, and make the same
        save_file(network.state_dict(), partial)
        partial.replace(path)
    network.to(device).eval().requires_grad_(requires_grad=False)
    features = Features(network, f"FD-{name}/{images.name}-{size}", 0.0, device)
    right_N = features.labels(images.test_NCHW) == images.test_label_N
    return replace(features, accuracy=float(right_N.double().mean()))


def _train(network: Classifier | ResidualClassifier, images: LabelledImages, steps: int, kind: Kind) -> None:
    device = next(network.parameters()).device
    noise = generator(SEED)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1.0 - step / steps)
        rows = torch.randint(len(images.train_NCHW), (kind.batch,), generator=noise)
        x_NCHW = images.train_NCHW[rows]
        if kind.flips:
            mirrored_N111 = torch.rand(len(rows), 1, 1, 1, generator=noise) < 0.5
            x_NCHW = torch.where(mirrored_N111, x_NCHW.flip(3), x_NCHW)
        loss = nn.functional.cross_entropy(network(x_NCHW.to(device)), images.train_label_N[rows].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves this one method unannotated
        optimizer.step()
