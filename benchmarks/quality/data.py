"""The real images: MNIST, Fashion-MNIST and CIFAR-10, as the folders of the shared data hold them.

Each loader returns tensors of one size; the CPU size pads 28 pixels to 32 and averages squares of 2 x 2, so that
nothing is interpolated. Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = 10
NAMES = {
    "mnist": tuple(str(digit) for digit in range(10)),
    "fashion-mnist": ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}


class MissingDataError(Exception):
    """The folder with the images is not there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledImages:
    """One data set.

    Attributes:
        name: its folder's name.
        train_NCHW: float32 in [-1, 1].
        train_label_N: int64 from 0 to 9.
        test_NCHW: as `train_NCHW`.
        test_label_N: as `train_label_N`.
    """

    name: str
    train_NCHW: torch.Tensor
    train_label_N: torch.Tensor
    test_NCHW: torch.Tensor
    test_label_N: torch.Tensor


SHUFFLED = 20261125
"""Seed of the order of CIFAR-10, which its sheets keep class by class."""


def load(name: str, folder: Path, size: int, per_class: int | None = None) -> LabelledImages:
    """Read a data set at a size in pixels.

    Args:
        name: mnist, fashion-mnist or cifar10.
        folder: holds a folder of that name.
        size: 16 or 28 for the grey ones, 16 or 32 for CIFAR-10.
        per_class: how many training images of each class, the first ones, and half as many for testing; None for all.

    Raises:
        MissingDataError: if the folder is not there.
    """
    if not (folder / name).is_dir():
        raise MissingDataError(f"{folder / name} is missing: give the folder of the real images with --data")
    read = _cifar if name == "cifar10" else _idx
    (train, train_label), (test, test_label) = (read(folder / name, part) for part in ("train", "test"))
    if per_class is not None:
        train, train_label = _first(train, train_label, per_class)
        test, test_label = _first(test, test_label, per_class // 2)
    return LabelledImages(
        name=name,
        train_NCHW=_sized(train, size),
        train_label_N=torch.from_numpy(train_label.astype(np.int64)),
        test_NCHW=_sized(test, size),
        test_label_N=torch.from_numpy(test_label.astype(np.int64)),
    )


def _idx(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    stem = {"train": "train", "test": "t10k"}[part]
    pixels = gzip.decompress((folder / f"{stem}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{stem}-labels-idx1-ubyte.gz").read_bytes())
    images = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28)[:, None]
    return images, np.frombuffer(labels, np.uint8, offset=8)


def _cifar(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Sheets of 32 x 32 tiles row by row, one per class, in a fixed mixed order: the set's own order is not kept.

    The 1.9 % of images that are JPEG copies (`lossless_mask.npz` beside the sheets) are kept, for even classes.
    """
    images, labels = [], []
    for label, name in enumerate(NAMES["cifar10"]):
        sheet = np.asarray(Image.open(io.BytesIO((folder / part / f"{label}_{name}.webp").read_bytes())).convert("RGB"))
        rows, columns = sheet.shape[0] // 32, sheet.shape[1] // 32
        tiles = sheet.reshape(rows, 32, columns, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32)
        images.append(tiles)
        labels.append(np.full(len(tiles), label, np.uint8))
    order = torch.randperm(sum(map(len, labels)), generator=torch.Generator().manual_seed(SHUFFLED)).numpy()
    return np.concatenate(images)[order], np.concatenate(labels)[order]


def _first(images: np.ndarray, labels: np.ndarray, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    kept = np.sort(np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in range(CLASSES)]))
    return images[kept], labels[kept]


def _sized(images: np.ndarray, size: int) -> torch.Tensor:
    x_NCHW = torch.from_numpy(images.copy()).float() / 127.5 - 1.0
    if x_NCHW.shape[-1] == size:
        return x_NCHW
    if x_NCHW.shape[-1] == 28:
        x_NCHW = torch.nn.functional.pad(x_NCHW, (2, 2, 2, 2), value=-1.0)
    if x_NCHW.shape[-1] != 2 * size:
        raise ValueError(f"images of {x_NCHW.shape[-1]} pixels cannot be made {size} pixels without interpolation")
    return torch.nn.functional.avg_pool2d(x_NCHW, 2)
