"""Measure what tells a removed shard from a new one: likenesses of sketches, over trainings and over altered copies.

    PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/tombstone_sketch.py [--shards 6] [--steps 0]

For each recipe: shards trained from seeds of their own, as every job has one, on the same digits and on other ones;
shards from one seed on other digits, which the platform never makes; and copies of a shard: with noise of a share of
each tensor's size, rounded to half precision, and trained on. Of each pair the cosine of the weights' signs and its
estimate from 1024 bits; 0.5 or more counts as the same shard.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import recording
import torch
from sklearn.datasets import load_digits

from severable_coordinator.weight_sketch import SAME, Sketching, WeightSketch
from severable_diffusion import network
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer

_RECIPES = recording.ROOT / "deploy" / "severable_demo" / "recipes"
_KEY = bytes(32)
_NOISE = (0.01, 0.1, 0.3, 0.5, 1.0, 2.0)
_FURTHER = (0.05, 0.25, 1.0, 4.0)  # shares of the training's own steps
Weights = Mapping[str, torch.Tensor]


def images(part: int, parts: int) -> torch.Tensor:
    """Digits in [-1, 1], every `parts`-th of them from `part` on."""
    pixels_N64 = torch.tensor(load_digits().data, dtype=torch.float32)
    return (pixels_N64.reshape(-1, 1, 8, 8) / 8 - 1)[part::parts]


def train(recipe: Recipe, part: int, seed: int, start: Weights | None = None) -> Weights:
    """A shard's weights; from other weights where they are given."""
    trainer = Trainer(recipe, images(part, 2), seed)
    if start is not None:
        trainer.model.load_state_dict(dict(start))
        trainer.ema.update({name: tensor.clone() for name, tensor in start.items()})
    return trainer.run().state_dict


def sketch(weights: Weights) -> WeightSketch:
    """The sketch of weights as they would be shipped."""
    data = network.dump(weights)
    sketching = Sketching(_KEY, len(data))
    sketching.feed(data)
    return sketching.sketch()


def cosine(one: Weights, other: Weights) -> float:
    """The cosine that sketches estimate: of the signs, less each tensor's mean."""
    u_N, v_N = (torch.cat([_signs(weights[name]) for name in sorted(one)]) for weights in (one, other))
    return float(torch.nn.functional.cosine_similarity(u_N, v_N, dim=0))


def _signs(tensor: torch.Tensor) -> torch.Tensor:
    signs_N = tensor.double().flatten().sign()
    return signs_N - signs_N.mean()


def compared(pairs: Iterable[tuple[Weights, Weights]]) -> dict[str, object]:
    """Extremes over pairs."""
    told = [(cosine(a, b), sketch(a).likeness(sketch(b)), sketch(a).differing(sketch(b))) for a, b in pairs]
    exact, estimated, bits = zip(*told, strict=True)
    return {
        "pairs": len(told),
        "cosine": [round(min(exact), 4), round(max(exact), 4)],
        "likeness": [round(min(estimated), 4), round(max(estimated), 4)],
        "bits_differing": [min(bits), max(bits)],
        "refused": sum(count <= SAME for count in bits),
    }


def noisy(weights: Weights, share: float) -> Weights:
    """A copy with normal noise of a share of each tensor's root mean square."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: tensor + share * tensor.square().mean().sqrt() * torch.randn(tensor.shape, generator=generator)
        for name, tensor in weights.items()
    }


def measure(recipe: Recipe, shards: int, say: Callable[[str], None]) -> dict[str, object]:
    """All figures of one recipe."""
    say(f"{recipe.name}: {shards} shards of {recipe.training.max_steps} steps")
    same_data = [train(recipe, 0, seed) for seed in range(shards)]
    other_data = [train(recipe, 1, 100 + seed) for seed in range(shards)]
    one_seed = [train(recipe, 1, seed) for seed in range(shards)]
    first = same_data[0]
    further = {}
    for share in _FURTHER:
        steps = max(1, int(share * (recipe.training.max_steps or 1)))
        longer = replace(recipe, training=replace(recipe.training, max_steps=steps))
        further[f"trained on for {share:g} of its steps"] = [(first, train(longer, 0, 7, first))]
    halved = {name: tensor.half().float() for name, tensor in first.items()}
    groups: dict[str, list[tuple[Weights, Weights]]] = {
        "new seeds, same images": list(combinations(same_data, 2)),
        "new seeds, other images": [(a, b) for a in same_data for b in other_data],
        "one seed, other images": list(zip(same_data, one_seed, strict=True)),
        "rounded to half precision": [(first, halved)],
        **{f"noise of {share:g} of the weights": [(first, noisy(first, share))] for share in _NOISE},
        **further,
    }
    weights = sum(tensor.numel() for tensor in first.values())
    return {"weights": weights, **{name: compared(pairs) for name, pairs in groups.items()}}


def main() -> int:
    """Measure every recipe of the demo."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=6)
    parser.add_argument("--steps", type=int, default=0, help="of every training; 0 for the recipe's own")
    parser.add_argument("--out", type=Path, default=recording.RESULTS / "tombstone_sketch.json")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    figures = {}
    for path in sorted(_RECIPES.glob("*.json")):
        recipe = Recipe.from_dict(json.loads(path.read_text()))
        if chosen.steps:
            recipe = replace(recipe, training=replace(recipe.training, max_steps=chosen.steps))
        figures[path.stem] = measure(recipe, chosen.shards, print)
    command = "PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/tombstone_sketch.py"
    command += f" --shards {chosen.shards} --steps {chosen.steps}"
    seeds = {"same images": "0 up", "other images": "100 up", "noise": 1, "trained on": 7}
    recording.record(chosen.out, command, seeds, ("severable-coordinator", "torch"), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
