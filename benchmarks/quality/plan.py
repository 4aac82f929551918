"""What is run: the size (recipe, samples), and the list of trainings in the order in which they are worth most.

A size is a file of sizes/. Its keys are the attributes of `Size`; `why` is for people.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from quality.splits import EVERYTHING, parts_of
from severable_diffusion.architecture import Architecture
from severable_diffusion.execution import DEFAULT, ExecutionPlan
from severable_diffusion.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = Path(__file__).parent / "sizes"
WIDER = "equal-parameters"
MAIN = ("class-10", EVERYTHING, "class-5", "class-8")
FURTHER = ("iid-8", "class-2", "iid-2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a run is.

    Attributes:
        recipe: of every shard and of the monolith.
        wider: the recipe of a monolith with as many parameters as ten shards; `recipe` itself where there is none.
        features_steps: training steps of the feature network.
        samples: images drawn for every distance.
        batch: images drawn at a time.
        datasets: what it is run on by default, the one of the main figures first.
        seeds: of trainings and samples, by default.
        splits: what is trained, in this order, with every seed; None for the order of `MAIN` and `FURTHER`.
        measures: names of what is measured; None for all.
        cost_batches: images drawn at a time where time is measured.
        features: which feature network, a key of `quality.features.NETWORKS`.
        images_per_class: how many training images of each class are used, and half as many for testing; None for all.
        cuda: how networks are trained where there is a GPU; None if this size is meant for the CPU.
        compile_from: see `quality.run.Run`.
        checkpoint_every: seconds between two checkpoints of a training.
    """

    recipe: Recipe
    wider: Recipe
    features_steps: int
    samples: int
    batch: int
    datasets: tuple[str, ...] = ("fashion-mnist", "mnist")
    seeds: tuple[int, ...] = (0, 1, 2)
    splits: tuple[str, ...] | None = None
    measures: tuple[str, ...] | None = None
    cost_batches: tuple[int, ...] = (256, 1024)
    features: str = "conv64"
    images_per_class: int | None = None
    cuda: ExecutionPlan | None = None
    compile_from: int = 0
    checkpoint_every: float = 60.0


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
    recipe = Recipe.from_dict(values.pop("recipe"))
    widths = values.pop("wide_block_out_channels", None)
    wider = recipe
    if widths is not None:
        wider = replace(recipe, name=f"{recipe.name}-wide", architecture=_wider(recipe, tuple(widths)))
    values.pop("why", None)
    cuda = values.pop("cuda", None)
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Size(recipe=recipe, wider=wider, cuda=None if cuda is None else _plan(cuda), **(values | lists))


def _plan(values: dict[str, Any]) -> ExecutionPlan:
    narrow = values.pop("autocast", None)
    return ExecutionPlan(device="cuda", autocast=None if narrow is None else getattr(torch, narrow), **values)


def plan_for(size: Size, device: str) -> ExecutionPlan:
    """Return how a size is executed on a device.

    Args:
        size: to be run.
        device: cpu, cuda, or auto: the GPU where there is one and the size is meant for one.

    Raises:
        ValueError: if cuda is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise ValueError(
            "--device cuda: torch sees no CUDA device here; use --device cpu, or a build of torch with CUDA"
        )
    if device == "cuda" or (device == "auto" and there and size.cuda is not None):
        return size.cuda or ExecutionPlan(device="cuda")
    return DEFAULT


def _wider(recipe: Recipe, widths: tuple[int, ...]) -> Architecture:
    if not isinstance(recipe.architecture, Architecture):
        raise TypeError(f"{recipe.name} has no levels that could be wider")
    return replace(recipe.architecture, block_out_channels=widths)


def trainings(data: str, splits: tuple[str, ...], seed: int, label_N: torch.Tensor) -> list[Training]:
    """Return every network that these splits need, a shard of several splits once."""
    wanted = {part.name: split for split in reversed(splits) for part in parts_of(split, label_N)}
    return [Training(data=data, split=split, part=part, seed=seed) for part, split in sorted(wanted.items())]


def all_trainings(
    size: Size, names: list[str], seeds: list[int], label_N_of: Callable[[str], torch.Tensor]
) -> list[Training]:
    """Return every network of a run, the ones of the main figures first, a shard of several splits once."""
    first, others = names[:1], names[1:]
    order = [
        (first, seeds, MAIN),
        (others, seeds[:1], MAIN[:2]),
        (first, seeds[:1], FURTHER),
        (others, seeds[1:], MAIN[:2]),
    ]
    if size.splits is not None:
        order = [(names, [seed], (split,)) for seed in seeds for split in size.splits]
    todo: dict[tuple[str, str, int], Training] = {}
    for names_of, seeds_of, splits in order:
        for name, seed in itertools.product(names_of, seeds_of):
            for one in trainings(name, splits, seed, label_N_of(name)):
                todo.setdefault((name, one.part, seed), one)
    wide = [Training(data=names[0], split=EVERYTHING, part="all", seed=seeds[0], wide=True)]
    return [*todo.values(), *(wide if size.wider != size.recipe else [])]
