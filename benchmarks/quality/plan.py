"""What is run: the size (recipe, samples), and the list of trainings in the order in which they are worth most."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from quality.splits import EVERYTHING, parts_of
from severable_diffusion.recipe import Architecture, Recipe

if TYPE_CHECKING:
    import torch

SIZES = Path(__file__).parent / "sizes"
WIDER = "equal-parameters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a run is.

    Attributes:
        recipe: of every shard and of the monolith.
        wider: the recipe of a monolith with as many parameters as ten shards.
        features_steps: training steps of the feature network.
        samples: images drawn for every distance.
        batch: images drawn at a time.
    """

    recipe: Recipe
    wider: Recipe
    features_steps: int
    samples: int
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One network to train.

    Attributes:
        data: name of the data set.
        split: which split its part is of.
        part: the part's name.
        seed: of the training.
        wide: whether it is the monolith of as many parameters as ten shards.
    """

    data: str
    split: str
    part: str
    seed: int
    wide: bool = False


def read_size(name: str) -> Size:
    """Return the size of a name: a file in sizes/."""
    values = json.loads((SIZES / f"{name}.json").read_text())
    recipe = Recipe.from_dict(values["recipe"])
    widths = tuple(values["wide_block_out_channels"])
    return Size(
        recipe=recipe,
        wider=replace(recipe, name=f"{recipe.name}-wide", architecture=_wider(recipe, widths)),
        features_steps=values["features_steps"],
        samples=values["samples"],
        batch=values["batch"],
    )


def _wider(recipe: Recipe, widths: tuple[int, ...]) -> Architecture:
    return replace(recipe.architecture, block_out_channels=widths)


def trainings(data: str, splits: tuple[str, ...], seed: int, label_N: torch.Tensor) -> list[Training]:
    """Return every network that these splits need, a shard of several splits once."""
    wanted = {part.name: split for split in reversed(splits) for part in parts_of(split, label_N)}
    return [Training(data=data, split=split, part=part, seed=seed) for part, split in sorted(wanted.items())]


MAIN = ("class-10", EVERYTHING, "class-5", "class-8")
FURTHER = ("iid-8", "class-2", "iid-2")
