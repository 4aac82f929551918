"""The owners' images: scikit-learn's bundled digits, split by class, as the PNG folders a real owner would have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

OWNERS: Mapping[str, Sequence[int]] = {"archive": (0, 1, 2, 3), "clinic": (4, 5, 6), "agency": (7, 8, 9)}
_HELD_OUT = 5  # every fifth image is held out for evaluation; no owner has it


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the images are, and how many."""

    owners: Mapping[str, Path]
    held_out: Path
    counts: Mapping[str, int]


def write_folders(root: Path, *, limit: int | None = None) -> Folders:
    """Write every owner's folder and the held-out one, a subfolder per digit.

    Args:
        root: made if missing.
        limit: at most so many images per digit and owner; all by default. For quick tests.
    """
    digits = load_digits()
    images = np.clip(digits.images * (255.0 / 16.0), 0, 255).round().astype(np.uint8)
    owner_of = {digit: owner for owner, owned in OWNERS.items() for digit in owned}
    written: dict[tuple[str, int], int] = {}
    for number, (pixels, digit) in enumerate(zip(images, digits.target, strict=True)):
        owner = "held-out" if number % _HELD_OUT == 0 else owner_of[int(digit)]
        count = written.get((owner, int(digit)), 0)
        if limit is not None and count >= limit:
            continue
        folder = root / owner / str(digit)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels, mode="L").save(folder / f"{number:04d}.png")
        written[owner, int(digit)] = count + 1
    counts = {owner: sum(n for (who, _), n in written.items() if who == owner) for owner in (*OWNERS, "held-out")}
    return Folders({owner: root / owner for owner in OWNERS}, root / "held-out", counts)
