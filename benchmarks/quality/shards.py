"""Training what is compared: shards and monoliths by one recipe, each once, resumable in steps of a minute."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quality import work
from severable_diffusion.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from severable_diffusion.recipe import Recipe

CHECKPOINT_EVERY = 60.0  # seconds
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
    """

    name: str
    weights: dict[str, torch.Tensor]
    seconds: float
    steps: int
    images: int
    loss: float


def shard_path(folder: Path, recipe: Recipe, name: str, x_NCHW: torch.Tensor, seed: int) -> Path:
    """Return where a shard is kept: by all that its training depends on."""
    sections = {section: recipe.to_dict()[section] for section in TRAINING_SECTIONS}
    plan = json.dumps(sections, sort_keys=True).encode()
    return folder / "shards" / f"{name}-{seed}-{work.digest_of(plan, x_NCHW.numpy().tobytes())}.safetensors"


def trained(
    folder: Path,
    recipe: Recipe,
    name: str,
    x_NCHW: torch.Tensor,
    *,
    seed: int,
    told: Callable[[str, int, int], None],
) -> Shard:
    """Return a shard: kept, resumed or trained from scratch.

    Args:
        folder: the work folder.
        recipe: what to train.
        name: of the part.
        x_NCHW: its images, float32 in [-1, 1].
        seed: the run's only randomness.
        told: called with (what, step, steps) now and then.
    """
    path = shard_path(folder, recipe, name, x_NCHW, seed)
    found = work.kept_tensors(path)
    if found is None:
        trainer, seconds = _trained_to_the_end(path, recipe, name, x_NCHW, seed=seed, told=told)
        tail = trainer.losses[-max(1, len(trainer.losses) // 10) :]
        facts: dict[str, Any] = {
            "seconds": seconds,
            "steps": trainer.step,
            "images": len(x_NCHW),
            "loss": sum(tail) / len(tail),
        }
        work.keep_tensors(path, trainer.ema, facts)
        path.with_suffix(".unfinished").unlink(missing_ok=True)
        found = trainer.ema, facts
    return Shard(name=name, weights=found[0], **found[1])


def _trained_to_the_end(
    path: Path,
    recipe: Recipe,
    name: str,
    x_NCHW: torch.Tensor,
    *,
    seed: int,
    told: Callable[[str, int, int], None],
) -> tuple[Trainer, float]:
    trainer = Trainer(recipe, x_NCHW, seed)
    unfinished = path.with_suffix(".unfinished")
    earlier = _resume(trainer, work.kept_state(unfinished))
    begun, saved = time.process_time(), time.monotonic()
    while trainer.step < trainer.steps:
        trainer.advance()
        if time.monotonic() - saved > CHECKPOINT_EVERY:
            work.keep_state(unfinished, _state(trainer, earlier + time.process_time() - begun))
            saved = time.monotonic()
            told(f"training {name} seed {seed}", trainer.step, trainer.steps)
    return trainer, earlier + time.process_time() - begun


def _state(trainer: Trainer, seconds: float) -> dict[str, Any]:
    return {
        "model": trainer.model.state_dict(),
        "ema": trainer.ema,
        "optimizer": trainer.optimizer.state_dict(),
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
