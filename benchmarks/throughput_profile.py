"""Where the time of a training step goes: docs/results/throughput_profile.json and .png.

    PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/throughput_profile.py [--steps 30] [--device cuda]

The trainer of the owner's side, as it is, on images of benchmarks/throughput.py: the functions that a step consists of
are timed, and torch's profiler tells the operations' shares of as many steps more. Milliseconds per step are measured
apart, with neither around. One thread; three minutes, or ten where the
processor has no bfloat16 of its own. On a GPU (throughput_profile_gpu.json and .png) each part is awaited before the
next begins, and the operations are the GPU's kernels.
"""

import argparse
import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import recording
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from throughput import operations
from throughput_cases import CASES, GPU_CASES, SEED, Case, recipe_of, write_images
from training_turns import await_device

from severable_diffusion import training
from severable_diffusion.architecture import TransformerArchitecture
from severable_diffusion.execution import ExecutionPlan
from severable_diffusion.images import read_image_folder
from severable_diffusion.pictures import COLOURS, FAINT, INK, PAPER
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer

PARTS = ("data", "forward", "backward", "optimizer", "ema")
REST = "other"
WARM_UP = 3
TRANSFORMER = TransformerArchitecture(kind="dit", patch=2, width=64, heads=4, layers=4)
GPU_TRANSFORMER = TransformerArchitecture(kind="dit", patch=2, width=384, heads=6, layers=12)


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30, help="steps that are profiled, and as many that are timed")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train")
    parser.add_argument("--out", type=Path, help="default: docs/results/throughput_profile.json, or one for the GPU")
    args = parser.parse_args()
    on_gpu = args.device == "cuda"
    out = args.out or recording.RESULTS / f"throughput_profile{'_gpu' if on_gpu else ''}.json"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        cases = {}
        for name, (case, recipe, plan) in cases_of(on_gpu=on_gpu).items():
            cases[name] = measured(recipe, plan, write_images(Path(scratch), case), args.steps)
            print(f"{name}: {cases[name]['share']}", file=sys.stderr)
    figures = {
        "steps": args.steps,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "threads": 1,
        "parts": {
            "data": "rows of the batch, times, noise, the noised images and what the network should say",
            "forward": "the network",
            "backward": "gradients",
            "optimizer": "clipping and AdamW",
            "ema": "the moving average",
            "other": "the loss, and everything between",
        },
        "cases": cases,
    }
    recording.record(
        out,
        command="PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/throughput_profile.py"
        + (" --device cuda" if on_gpu else ""),
        seeds={"images": SEED, "training": SEED},
        packages=("torch", "diffusers"),
        figures=figures,
    )
    draw(cases, out.with_suffix(".png"))
    print(json.dumps(figures, indent=2))


def cases_of(*, on_gpu: bool) -> dict[str, tuple[Case, Recipe, ExecutionPlan]]:
    """The networks of benchmarks/throughput.py, the last (on a GPU all) in bfloat16 as well, and a transformer."""
    compared = GPU_CASES if on_gpu else CASES
    cases = {name: (case, recipe_of(case), case.plans["default"]) for name, case in compared.items()}
    name, last = list(compared.items())[-1]
    narrow = compared if on_gpu else {name: last}
    for name, case in narrow.items():
        cases[f"{name}_bfloat16"] = (case, recipe_of(case), case.plans["bfloat16"])
    shape = GPU_TRANSFORMER if on_gpu else TRANSFORMER
    case = next(iter(compared.values())) if on_gpu else last
    recipe = replace(recipe_of(case), architecture=shape)
    plan = case.plans["bfloat16" if on_gpu else "default"]
    cases[f"transformer_width_{shape.width}_size_{case.size}_batch_{case.batch}"] = (case, recipe, plan)
    return cases


def measured(recipe: Recipe, plan: ExecutionPlan, folder: Path, steps: int) -> dict[str, Any]:
    """Time some steps, then the parts of as many, then profile as many."""
    trainer = Trainer(recipe, read_image_folder(folder, recipe.image).images_NCHW, SEED, plan=plan)
    for _ in range(WARM_UP):
        trainer.advance()
    taken = []
    for _ in range(steps):
        begun = time.perf_counter()
        trainer.advance()
        taken.append(time.perf_counter() - begun)
    with Named(trainer) as spent:
        begun = time.perf_counter()
        for _ in range(steps):
            trainer.advance()
        whole = time.perf_counter() - begun
    share = {part: round(spent[part] / whole, 4) for part in PARTS}
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "batch": recipe.training.batch,
        "precision": str(plan.autocast or torch.float32).removeprefix("torch."),
        "ms_per_step": round(statistics.median(taken) * 1e3, 2),
        "ms_per_step_in_parts": round(whole / steps * 1e3, 2),
        "share": share | {REST: round(1.0 - sum(share.values()), 4)},
        "operations": operations(trainer, steps),
    }


class Named:
    """Takes the time of the functions that a trainer's step consists of, while its block runs.

    Args:
        trainer: the trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._places: list[tuple[Any, str, str]] = [
            (trainer.batches, "take", "data"),
            (trainer.batches, "draw_ahead", "data"),
            (trainer, "_forward", "forward"),
            (torch.Tensor, "backward", "backward"),
            (training, "descend", "optimizer"),
            (trainer, "_average", "ema"),
        ]
        self._before: list[Any] = []
        self._spent = dict.fromkeys(PARTS, 0.0)

    def __enter__(self) -> dict[str, float]:
        """Begin; return the seconds of each part, which grow."""
        for owner, name, part in self._places:
            self._before.append(getattr(owner, name))
            setattr(owner, name, self._timed(self._before[-1], part))
        return self._spent

    def __exit__(self, *_: object) -> None:
        """Leave the functions as they were."""
        for (owner, name, _part), before in zip(self._places, self._before, strict=True):
            setattr(owner, name, before)

    def _timed(self, inner: Callable[..., Any], part: str) -> Callable[..., Any]:
        @functools.wraps(inner)
        def outer(*args: Any, **options: Any) -> Any:
            await_device()
            begun = time.perf_counter()
            said = inner(*args, **options)
            await_device()
            self._spent[part] += time.perf_counter() - begun
            return said

        return outer


def draw(cases: dict[str, Any], path: Path) -> None:
    """Draw a bar for each case, divided into the parts of a step."""
    figure = Figure(figsize=(9.0, 0.9 + 0.62 * len(cases)), facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = list(cases)
    left = [0.0] * len(names)
    for part, colour in zip((*PARTS, REST), COLOURS, strict=False):
        widths = [100.0 * cases[name]["share"][part] for name in names]
        bars = axes.barh(range(len(names)), widths, left=left, color=colour, height=0.62, label=part)
        texts = [f"{width:.0f}" if width >= 4.0 else "" for width in widths]
        axes.bar_label(bars, texts, label_type="center", color=PAPER, fontsize=8)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    words = [f"{name.replace('_', ' ')}\n{cases[name]['ms_per_step']:.1f} ms a step" for name in names]
    axes.set_yticks(range(len(names)), words, fontsize=8, color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 100.0)
    axes.set_xlabel("share of a training step, %", color=FAINT, fontsize=8)
    axes.tick_params(axis="x", labelsize=8, colors=FAINT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.legend(ncols=len(PARTS) + 1, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
