"""Where Frechet distances to real images are measured: a network of ours trained on the spot, or Inception's file.

A distance's name says which network it is measured in. Only a distance in Inception's features is an FID; one in a
small classifier's features (`FD-conv32`) is another number, of which only ratios mean anything.
Shapes: N images, D features, C, H, W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from severable_diffusion.errors import DataError
from severable_diffusion.frechet import FD_NAME, frechet_distance, train_feature_network

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from severable_diffusion.images import ImageFolder

FID_NAME = "FID"
INCEPTION_FEATURES = 2048
_PART = 64  # images that Inception gets at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Yardstick:
    """A feature network with the real images' features in it.

    Attributes:
        name: of the distance.
        features: x_NCHW in [-1, 1] to features of shape (N, D), float64.
        reference_ND: of the real images that samples are compared with.
        floor: distance of one half of the real images to the other: what no model can be expected to beat.
        accuracy: of the classifier on the reference, in [0, 1]; None where the network is no classifier of ours.
    """

    name: str
    features: Callable[[torch.Tensor], torch.Tensor]
    reference_ND: torch.Tensor
    floor: float
    accuracy: float | None

    def distance(self, x_NCHW: torch.Tensor) -> float:
        """Return the Frechet distance of at least two images, in [-1, 1], to the reference."""
        return frechet_distance(self.features(x_NCHW), self.reference_ND)


def trained_yardstick(folder: Path, real: ImageFolder, seed: int) -> Yardstick:
    """Return a classifier trained on every other real image; the images between them are the reference.

    Args:
        folder: where the images are, for errors.
        real: labelled images.
        seed: of the classifier's weights and batches.

    Raises:
        DataError: if there are no labels to train a classifier on, or fewer than four images.
    """
    if len(real.classes) < 2:
        raise DataError(folder, "has no classes to tell apart; put the images into one subfolder for each class")
    first_N = _halves(folder, real)
    label_N = torch.tensor(real.labels)
    network = train_feature_network(real.images_NCHW[first_N], label_N[first_N], seed=seed)
    reference_NCHW = real.images_NCHW[~first_N]
    reference_ND = network.features(reference_NCHW)
    return Yardstick(
        name=FD_NAME,
        features=network.features,
        reference_ND=reference_ND,
        floor=frechet_distance(network.features(real.images_NCHW[first_N]), reference_ND),
        accuracy=network.accuracy(reference_NCHW, label_N[~first_N]),
    )


def inception_yardstick(folder: Path, real: ImageFolder, file: Path) -> Yardstick:
    """Return Inception's features from a file, with all real images as the reference.

    The file is TorchScript, called as `net(x_uint8_NCHW, return_features=True)`, three channels, and returns (N, 2048):
    the form in which NVIDIA publishes it for its own FID. TorchScript is a program: give a file from a known source.

    Args:
        folder: where the images are, for errors.
        real: images; labels are not needed.
        file: the operator's own copy.

    Raises:
        DataError: if the file is not such a network, or there are fewer than four images.
    """
    first_N = _halves(folder, real)
    features = _inception(file)
    reference_ND = features(real.images_NCHW)
    floor = frechet_distance(reference_ND[first_N], reference_ND[~first_N])
    return Yardstick(name=FID_NAME, features=features, reference_ND=reference_ND, floor=floor, accuracy=None)


def _halves(folder: Path, real: ImageFolder) -> torch.Tensor:
    """Return which images are of the first half; every other one, so that both halves have all classes."""
    if len(real.paths) < 4:
        raise DataError(folder, f"holds {len(real.paths)} images; two halves of at least two are needed, give more")
    return torch.arange(len(real.paths)) % 2 == 0


def _inception(file: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    try:
        network = torch.jit.load(str(file), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(file, "cannot be read as TorchScript; give Inception's file") from error

    @torch.no_grad()
    def features(x_NCHW: torch.Tensor) -> torch.Tensor:
        parts = [network(_bytes(part), return_features=True) for part in torch.split(x_NCHW, _PART)]
        return torch.cat(parts).double()

    try:
        shape = tuple(features(torch.zeros(2, 3, 32, 32)).shape)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DataError(file, "does not take uint8 images and return_features=True; give Inception's file") from error
    if shape != (2, INCEPTION_FEATURES):
        reason = f"gives {shape} for 2 images, not (2, {INCEPTION_FEATURES}) features; give Inception's file"
        raise DataError(file, reason)
    return features


def _bytes(x_NCHW: torch.Tensor) -> torch.Tensor:
    """Return images as bytes, rounded as pictures are saved, with three channels."""
    scaled_NCHW = ((x_NCHW.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
    return scaled_NCHW.expand(-1, 3, -1, -1)
