"""The feature network that Frechet distances are measured in, and the statistics of real images in it."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Where distances are measured.

    Attributes:
        network: trained on the data set's training images.
        name: of the distance, for example FD-conv64/mnist-16.
        accuracy: of the network on the test images, in [0, 1].
    """

    network: Classifier
    name: str
    accuracy: float

    @torch.no_grad()
    def __call__(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return float64 features of shape (N, 64)."""
        return torch.cat([self.network.body(part).double() for part in x_NCHW.tensor_split(-(-len(x_NCHW) // 1000))])

    @torch.no_grad()
    def labels(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the guessed class of every image."""
        return torch.cat([self.network(part).argmax(dim=1) for part in x_NCHW.tensor_split(-(-len(x_NCHW) // 1000))])

    def distance(self, x_NCHW: torch.Tensor, reference_MCHW: torch.Tensor) -> float:
        """Return the Frechet distance of two sets of images."""
        return frechet_distance(self(x_NCHW), self(reference_MCHW))


def trained(images: LabelledImages, work: Path, steps: int) -> Features:
    """Return the data set's features, trained once and then kept under `work`."""
    size = images.train_NCHW.shape[-1]
    path = work / f"features-{images.name}-{size}-{steps}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)  # torch's initialisers take no generator
        network = Classifier(images.train_NCHW.shape[1], size)
    if path.exists():
        network.load_state_dict(load_file(path))
    else:
        _train(network, images, steps)
        save_file(network.state_dict(), path)
    network.eval().requires_grad_(requires_grad=False)
    features = Features(network, f"FD-conv{FEATURES}/{images.name}-{size}", 0.0)
    right_N = features.labels(images.test_NCHW) == images.test_label_N
    return Features(network, features.name, float(right_N.double().mean()))


def _train(network: Classifier, images: LabelledImages, steps: int) -> None:
    noise = generator(SEED)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1.0 - step / steps)
        rows = torch.randint(len(images.train_NCHW), (64,), generator=noise)
        loss = nn.functional.cross_entropy(network(images.train_NCHW[rows]), images.train_label_N[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves this one method unannotated
        optimizer.step()
