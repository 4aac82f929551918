"""Who holds what: the splits of a data set over shards.

A class split gives every shard its own classes. A class is always held by the same group in the same way, so a shard of
one class is the same shard in the split of ten and in the split of eight, and is trained once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

CLASS_SPLITS: dict[str, tuple[tuple[int, ...], ...]] = {
    "class-10": tuple((label,) for label in range(10)),
    "class-8": ((0, 1), (2, 3), *((label,) for label in range(4, 10))),
    "class-5": tuple((label, label + 1) for label in range(0, 10, 2)),
    "class-2": (tuple(range(5)), tuple(range(5, 10))),
}
IID_SPLITS = {"iid-2": 2, "iid-8": 8}
EVERYTHING = "all"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One shard's data.

    Attributes:
        name: of the shard; equal names in two splits mean equal data.
        rows_N: which training images it holds, int64, rising.
    """

    name: str
    rows_N: torch.Tensor


def parts_of(split: str, label_N: torch.Tensor) -> tuple[Part, ...]:
    """Return a split's parts, in the order of their names.

    Args:
        split: a key of `CLASS_SPLITS` or `IID_SPLITS`, or `EVERYTHING` for the monolith's one part.
        label_N: labels of all training images.
    """
    if split == EVERYTHING:
        return (Part(name="all", rows_N=torch.arange(len(label_N))),)
    if split in IID_SPLITS:
        count = IID_SPLITS[split]
        order_N = torch.randperm(len(label_N), generator=torch.Generator().manual_seed(count))
        return tuple(
            Part(name=f"iid{count}-{place}", rows_N=order_N[place::count].sort().values) for place in range(count)
        )
    groups = CLASS_SPLITS[split]
    named = ("c" + "".join(map(str, group)) for group in groups)
    rows = (torch.isin(label_N, torch.tensor(group)).nonzero()[:, 0] for group in groups)
    return tuple(
        sorted((Part(name=name, rows_N=row) for name, row in zip(named, rows, strict=True)), key=lambda p: p.name)
    )


def owner_of(split: str, label: int) -> str:
    """Return the name of the shard that holds a class, in a class split."""
    group = next(group for group in CLASS_SPLITS[split] if label in group)
    return "c" + "".join(map(str, group))
