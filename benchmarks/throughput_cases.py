"""What benchmarks/throughput.py and its profile train: networks, images and plans, on a CPU and on a GPU."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import recording
import torch
from PIL import Image

from severable_diffusion.execution import DEFAULT, ExecutionPlan
from severable_diffusion.recipe import Recipe

BASE = recording.ROOT / "deploy" / "severable_demo" / "recipes" / "digits.json"
SEED = 20261124
NARROW = ExecutionPlan(autocast=torch.bfloat16)
PLANS = {
    "default": DEFAULT,
    "channels_last": ExecutionPlan(channels_last=True),
    "bfloat16": NARROW,
    "bfloat16_channels_last": ExecutionPlan(autocast=torch.bfloat16, channels_last=True),
}
COMPILED = {"bfloat16_compiled": ExecutionPlan(autocast=torch.bfloat16, compile=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is trained, and how long.

    Attributes:
        widths: of the network's levels.
        batch: images per step.
        steps: per turn.
        plans: that are compared.
        layers: residual blocks of a level.
        attention: which level has attention, beside the middle; none by default.
        size: height and width of the images.
        images: how many there are.
    """

    widths: tuple[int, ...]
    batch: int
    steps: int
    plans: dict[str, ExecutionPlan]
    layers: int = 1
    attention: int | None = None
    size: int = 16
    images: int = 4096


CASES = {
    "widths_16_32_32_batch_16": Case(widths=(16, 32, 32), batch=16, steps=12, plans=PLANS),
    "widths_16_32_32_batch_80": Case(widths=(16, 32, 32), batch=80, steps=4, plans=PLANS | COMPILED),
    "widths_32_64_64_batch_64": Case(widths=(32, 64, 64), batch=64, steps=3, plans=PLANS),
}
ON_GPU = {name: replace(PLANS[name], device="cuda") for name in ("default", "bfloat16", "bfloat16_channels_last")}
GPU_CASES = {
    "widths_128_256_256_size_32_batch_128": Case(
        widths=(128, 256, 256), batch=128, steps=15, plans=ON_GPU, layers=2, size=32, images=14_000
    ),
    "the_examples_own_network_size_64_batch_16": Case(
        widths=(128, 128, 256, 256, 512, 512), batch=16, steps=15, plans=ON_GPU, layers=2, attention=4, size=64
    ),
}


def recipe_of(case: Case) -> Recipe:
    """The recipe whose network, process and batch the example is given too; the example wants three channels."""
    values = json.loads(BASE.read_text())
    kinds = ["Attn" if level == case.attention else "" for level in range(len(case.widths))]
    values["image"] = {"channels": 3, "size": case.size}
    values["process"] = {"schedule": "linear", "steps": 1000}
    values["parametrization"] = "eps"
    values["architecture"] |= {
        "block_out_channels": list(case.widths),
        "layers_per_block": case.layers,
        "down_block_types": [f"{kind}DownBlock2D" for kind in kinds],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(kinds)],
        "mid_attention": True,
    }
    values["training"] |= {"batch": case.batch, "epochs": 100_000, "max_steps": 100_000, "learning_rate": 1e-4}
    return Recipe.from_dict(values)


def write_images(scratch: Path, case: Case) -> Path:
    """Make PNG files of smooth random pictures, if they are not there yet; return their folder."""
    folder = scratch / f"images-{case.images}-{case.size}"
    if folder.is_dir():
        return folder
    folder.mkdir()
    source = np.random.default_rng(SEED)
    for number in range(case.images):
        small = Image.fromarray(source.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        small.resize((case.size, case.size), Image.Resampling.BICUBIC).save(folder / f"{number:05}.png")
    return folder
