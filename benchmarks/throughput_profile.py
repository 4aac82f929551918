"""Where the time of a training step goes, by torch's profiler: docs/results/throughput_profile.json and .png.

    PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/throughput_profile.py [--steps 30]

The trainer of the owner's side, as it is, on images of benchmarks/throughput.py: named ranges are put around the
functions that a step consists of, and the profiler tells how long each took, and each operation. Milliseconds per step
are measured apart, without the profiler, which slows small operations down. One thread; three minutes, or ten where the
processor has no bfloat16 of its own.
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
import throughput
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.profiler import ProfilerActivity, profile, record_function

from severable_diffusion import training
from severable_diffusion.architecture import TransformerArchitecture
from severable_diffusion.execution import DEFAULT, ExecutionPlan
from severable_diffusion.images import read_image_folder
from severable_diffusion.pictures import COLOURS, FAINT, INK, PAPER
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer

PARTS = ("data", "forward", "backward", "optimizer", "ema")
REST = "other"
WARM_UP = 3
OPERATIONS = 8
TRANSFORMER = TransformerArchitecture(kind="dit", patch=2, width=64, heads=4, layers=4)


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30, help="steps that are profiled, and as many that are timed")
    parser.add_argument("--out", type=Path, default=recording.RESULTS / "throughput_profile.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        throughput.write_images(Path(scratch) / "images")
        cases = {}
        for name, (recipe, plan) in cases_of().items():
            cases[name] = measured(recipe, plan, Path(scratch) / "images", args.steps)
            print(f"{name}: {cases[name]['share']}", file=sys.stderr)
    figures = {
        "steps": args.steps,
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
        args.out,
        command="PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/throughput_profile.py",
        seeds={"images": throughput.SEED, "training": throughput.SEED},
        packages=("torch", "diffusers"),
        figures=figures,
    )
    draw(cases, args.out.with_suffix(".png"))
    print(json.dumps(figures, indent=2))


def cases_of() -> dict[str, tuple[Recipe, ExecutionPlan]]:
    """The networks of benchmarks/throughput.py, one of them in bfloat16 as well, and a transformer."""
    cases = {name: (throughput.recipe_of(case), DEFAULT) for name, case in throughput.CASES.items()}
    name, (recipe, _) = list(cases.items())[-1]
    cases[f"{name}_bfloat16"] = (recipe, throughput.NARROW)
    batch = recipe.training.batch
    cases[f"transformer_width_64_batch_{batch}"] = (replace(recipe, architecture=TRANSFORMER), DEFAULT)
    return cases


def measured(recipe: Recipe, plan: ExecutionPlan, folder: Path, steps: int) -> dict[str, Any]:
    """Time some steps, then profile as many."""
    trainer = Trainer(recipe, read_image_folder(folder, recipe.image).images_NCHW, throughput.SEED, plan=plan)
    for _ in range(WARM_UP):
        trainer.advance()
    taken = []
    for _ in range(steps):
        begun = time.perf_counter()
        trainer.advance()
        taken.append(time.perf_counter() - begun)
    with Named(trainer), profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(steps):
            with record_function("step"):
                trainer.advance()
    found = {entry.key: entry for entry in profiler.key_averages()}
    whole = found["step"].cpu_time_total
    share = {part: round(found[part].cpu_time_total / whole, 4) for part in PARTS}
    named = {"step", *PARTS}
    own = sorted(
        (entry for key, entry in found.items() if key not in named), key=lambda entry: -entry.self_cpu_time_total
    )
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "batch": recipe.training.batch,
        "precision": str(plan.autocast or torch.float32).removeprefix("torch."),
        "ms_per_step": round(statistics.median(taken) * 1e3, 2),
        "ms_per_step_profiled": round(whole / steps / 1e3, 2),
        "share": share | {REST: round(1.0 - sum(share.values()), 4)},
        "operations": {entry.key: round(entry.self_cpu_time_total / whole, 4) for entry in own[:OPERATIONS]},
    }


class Named:
    """Puts named ranges around the functions that a trainer's step consists of, while its block runs.

    Args:
        trainer: the trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._places: list[tuple[Any, str, str]] = [
            (trainer, "_batch", "data"),
            (trainer, "_forward", "forward"),
            (torch.Tensor, "backward", "backward"),
            (training, "descend", "optimizer"),
            (trainer, "_average", "ema"),
        ]
        self._before: list[Any] = []

    def __enter__(self) -> None:
        """Put them there."""
        for owner, name, part in self._places:
            self._before.append(getattr(owner, name))
            setattr(owner, name, _named(self._before[-1], part))

    def __exit__(self, *_: object) -> None:
        """Take them away."""
        for (owner, name, _part), before in zip(self._places, self._before, strict=True):
            setattr(owner, name, before)


def _named(inner: Callable[..., Any], part: str) -> Callable[..., Any]:
    @functools.wraps(inner)
    def outer(*args: Any, **options: Any) -> Any:
        with record_function(part):
            return inner(*args, **options)

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
