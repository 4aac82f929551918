"""Images of ten classes made up on the spot, written as the shared data's folders hold MNIST."""

import gzip
from pathlib import Path

import numpy as np

TRAIN, TEST = 800, 2400


def write_mnist(folder: Path) -> None:
    """Write a bright square per class, at a place of its own, over faint noise."""
    target = folder / "mnist"
    target.mkdir(parents=True)
    draw = np.random.default_rng(20261125)
    for stem, count in (("train", TRAIN), ("t10k", TEST)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = draw.integers(0, 40, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            top, left = 2 + 5 * (label // 2) + draw.integers(0, 2), 4 + 11 * (label % 2) + draw.integers(0, 3)
            image[top : top + 5, left : left + 8] = draw.integers(150, 256)
        _write(target / f"{stem}-images-idx3-ubyte.gz", b"\0" * 16, images)
        _write(target / f"{stem}-labels-idx1-ubyte.gz", b"\0" * 8, labels)


def _write(path: Path, header: bytes, values: np.ndarray) -> None:
    path.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=1))
