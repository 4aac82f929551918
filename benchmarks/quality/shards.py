"""Training what is compared: shards and monoliths by one recipe, each once, resumable in steps of a minute."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from quality import work
from quality.run import ALONE, OutOfTimeError, Run
from severable_diffusion.budget import planned_steps
from severable_diffusion.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from severable_diffusion.recipe import Recipe

TRAINING_SECTIONS = ("image", "process", "parametrization", "architecture", "training")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shard:
    """A trained network.

    Attributes:
        name: of its part of the data.
        weights: by name.
        seconds: of processor time that training took.
        steps: optimizer steps.
        images: how many images it was trained on.
        loss: mean of the last tenth of the steps.
        label_counts: how many of its images have each label, where the recipe has conditions.
        ran: what the bytes of the weights depend on, where it was not trained by the default plan.
    """

    name: str
    weights: dict[str, torch.Tensor]
    seconds: float
    steps: int
    images: int
    loss: float
    label_counts: tuple[int, ...] | None = None
    ran: dict[str, str] | None = None


def shard_path(
    folder: Path, recipe: Recipe, name: str, x_NCHW: torch.Tensor, seed: int, *, label_N: torch.Tensor | None = None
) -> Path:
    """Return where a shard is kept: by all that its training depends on."""
    sections = {section: recipe.to_dict()[section] for section in TRAINING_SECTIONS}
    parts = [x_NCHW.numpy().tobytes()]
    if recipe.conditions is not None and label_N is not None:
        sections["conditions"] = recipe.to_dict()["conditions"]
        parts.append(label_N.numpy().tobytes())
    plan = json.dumps(sections, sort_keys=True).encode()
    return folder / "shards" / f"{name}-{seed}-{work.digest_of(plan, *parts)}.safetensors"


def steps_done(path: Path, recipe: Recipe, images: int) -> tuple[int, int]:
    """Return how many steps of a training are done and kept, and how many it has."""
    steps = planned_steps(recipe.training, images)
    if path.with_suffix(".json").exists():
        return steps, steps
    found = work.kept_facts(path.with_suffix(".progress"))
    return (0 if found is None else int(found["step"])), steps


def trained(
    folder: Path,
    recipe: Recipe,
    name: str,
    x_NCHW: torch.Tensor,
    *,
    seed: int,
    told: Callable[[str, int, int], None],
    label_N: torch.Tensor | None = None,
    run: Run = ALONE,
) -> Shard:
    """Return a shard: kept, resumed or trained from scratch.

    Args:
        folder: the work folder.
        recipe: what to train.
        name: of the part.
        x_NCHW: its images, float32 in [-1, 1].
        seed: the run's only randomness.
        told: called with (what, step, steps) now and then.
        label_N: the label of each image; used only where the recipe has conditions.
        run: where to train, and until when.

    Raises:
        OutOfTimeError: if the run's time was over before the training was; it goes on from there the next time.
    """
    label_N = None if recipe.conditions is None else label_N
    path = shard_path(folder, recipe, name, x_NCHW, seed, label_N=label_N)
    found = work.kept_tensors(path)
    if found is None:
        run.check()
        trainer, seconds = _trained_to_the_end(
            path, recipe, name, x_NCHW, seed=seed, told=told, label_N=label_N, run=run
        )
        facts = _facts(trainer, seconds, label_N, run)
        average = _on_cpu(trainer.ema)
        work.keep_tensors(path, average, facts)
        for suffix in (".unfinished", ".progress"):
            path.with_suffix(suffix).unlink(missing_ok=True)
        found = average, facts
    counts = found[1].get("label_counts")
    return Shard(
        name=name, weights=found[0], **(found[1] | {"label_counts": None if counts is None else tuple(counts)})
    )


def _facts(trainer: Trainer, seconds: float, label_N: torch.Tensor | None, run: Run) -> dict[str, Any]:
    """Return what is kept beside a shard's weights."""
    tail = trainer.losses[-max(1, len(trainer.losses) // 10) :]
    facts: dict[str, Any] = {
        "seconds": seconds,
        "steps": trainer.step,
        "images": len(trainer.images_NCHW),
        "loss": sum(tail) / len(tail),
    }
    if label_N is not None:
        facts["label_counts"] = torch.bincount(label_N, minlength=trainer.recipe.labels).tolist()
    if (ran := run.describe()) is not None:
        facts["ran"] = ran
    return facts


def _trained_to_the_end(
    path: Path,
    recipe: Recipe,
    name: str,
    x_NCHW: torch.Tensor,
    *,
    seed: int,
    told: Callable[[str, int, int], None],
    label_N: torch.Tensor | None,
    run: Run,
) -> tuple[Trainer, float]:
    unfinished = path.with_suffix(".unfinished")
    done, steps = steps_done(path, recipe, len(x_NCHW))
    plan = replace(run.plan, compile=run.plan.compile and steps - done >= run.compile_from and _has_compiler())
    trainer = Trainer(recipe, x_NCHW, seed, label_N, plan=plan)
    earlier = _resume(trainer, work.kept_state(unfinished))
    begun, saved = run.seconds(), time.monotonic()
    while trainer.step < trainer.steps:
        trainer.advance()
        if run.over or time.monotonic() - saved > run.checkpoint_every:
            seconds = earlier + run.seconds() - begun
            work.keep_state(unfinished, _state(trainer, seconds))
            work.keep_facts(path.with_suffix(".progress"), {"step": trainer.step, "seconds": seconds})
            saved = time.monotonic()
            told(f"training {name} seed {seed}", trainer.step, trainer.steps)
            if run.over and trainer.step < trainer.steps:
                raise OutOfTimeError
    seconds = earlier + run.seconds() - begun
    if plan.compile:
        torch.compiler.reset()  # what was compiled for one network is not asked for by the next
    return trainer, seconds


def _has_compiler() -> bool:
    """Whether there is what torch.compile needs beside torch."""
    return any(shutil.which(name) for name in ("cc", "gcc", "clang"))


def _on_cpu(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}


def _on_cpu_all(value: Any) -> Any:
    """Return a state's values with every tensor on the CPU, in its own memory order, to be loaded anywhere."""
    if isinstance(value, dict):
        return {key: _on_cpu_all(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_on_cpu_all(one) for one in value]
    return value.cpu() if isinstance(value, torch.Tensor) else value


def _state(trainer: Trainer, seconds: float) -> dict[str, Any]:
    return {
        "model": _on_cpu_all(trainer.model.state_dict()),
        "ema": _on_cpu_all(trainer.ema),
        "optimizer": _on_cpu_all(trainer.optimizer.state_dict()),
        "generator": trainer.generator.get_state(),
        "step": trainer.step,
        "losses": trainer.losses,
        "seconds": seconds,
    }


def _resume(trainer: Trainer, state: dict[str, Any] | None) -> float:
    """Put a trainer where an unfinished run was, and return the seconds spent until there."""
    if state is None:
        return 0.0
    trainer.model.load_state_dict(state["model"])
    for name, tensor in state["ema"].items():
        trainer.ema[name].copy_(tensor)
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.generator.set_state(state["generator"])
    trainer.step, trainer.losses = state["step"], list(state["losses"])
    return float(state["seconds"])
