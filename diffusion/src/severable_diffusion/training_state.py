"""All that a training's next step depends on, as named tensors and plain facts, and back.

What is not here is a function of recipe, seed, images and plan, and is made anew: schedule, split, learning rate.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from severable_diffusion.training import Trainer

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's own names


def tensors_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Return the tensors of a training between two steps, on the CPU."""
    found = {f"model.{name}": tensor for name, tensor in trainer.model.state_dict().items()}
    found |= {f"ema.{name}": tensor for name, tensor in trainer.ema.items()}
    if trainer.held_out is not None:
        found |= {f"best.{name}": tensor for name, tensor in trainer.held_out.best.items()}
    for name, parameter in trainer.model.named_parameters():
        if parameter in trainer.optimizer.state:
            found |= {f"optimizer.{kind}.{name}": trainer.optimizer.state[parameter][kind] for kind in MOMENTS}
    found["generator"] = trainer.generator.get_state()
    found["losses"] = torch.tensor(trainer.losses, dtype=torch.float64)
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in found.items()}


def facts_of(trainer: Trainer) -> dict[str, Any]:
    """Return the plain values of a training between two steps; floats are read back from JSON to the last bit."""
    facts: dict[str, Any] = {
        "step": trainer.step,
        "accumulate": trainer.parts.accumulate,
        "backed_off": trainer.parts.backed_off,
    }
    if trainer.scaler is not None:
        scaling = trainer.scaler.state_dict()
        facts |= {"scale": scaling["scale"], "scale_steady": scaling["_growth_tracker"]}
    held = trainer.held_out
    if held is not None:
        best_loss = held.best_loss if math.isfinite(held.best_loss) else None
        facts |= {"best_loss": best_loss, "best_step": held.best_step, "waited": held.waited}
    return facts


@torch.no_grad()
def put_back(trainer: Trainer, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Put a fresh trainer where another one was; nothing is touched before all has been checked.

    Raises:
        ValueError: a tensor or a fact is missing, too many or of another kind.
        KeyError: a fact is missing.
    """
    _check_facts(trainer, facts)
    _check_tensors(trainer, tensors, facts)
    for kind, into in (("model", trainer.model.state_dict()), ("ema", trainer.ema)):
        for name, tensor in into.items():
            tensor.copy_(tensors[f"{kind}.{name}"])  # into the memory layout that the plan gave it
    for name, parameter in trainer.model.named_parameters():
        if f"optimizer.step.{name}" in tensors:
            state = trainer.optimizer.state[parameter]
            state["step"] = tensors[f"optimizer.step.{name}"].clone().to(parameter.device)
            for kind in MOMENTS[1:]:
                state[kind] = torch.empty_like(parameter).copy_(tensors[f"optimizer.{kind}.{name}"])
    trainer.generator.set_state(tensors["generator"].clone())
    trainer.losses = tensors["losses"].tolist()
    trainer.step, trainer.parts.accumulate = facts["step"], facts["accumulate"]
    trainer.parts.backed_off = facts["backed_off"]
    if trainer.scaler is not None and "scale" in facts:  # kept by a sitting of another precision, there is none
        kept = {"scale": facts["scale"], "_growth_tracker": facts["scale_steady"]}
        trainer.scaler.load_state_dict(trainer.scaler.state_dict() | kept)
    held = trainer.held_out
    if held is not None:
        best = {name: f"best.{name}" for name in trainer.ema if f"best.{name}" in tensors}
        held.best = {name: torch.empty_like(trainer.ema[name]).copy_(tensors[key]) for name, key in best.items()}
        held.best_loss = math.inf if facts["best_loss"] is None else facts["best_loss"]
        held.best_step, held.waited = facts["best_step"], facts["waited"]


def _check_facts(trainer: Trainer, facts: Mapping[str, Any]) -> None:
    wanted: dict[str, tuple[type, ...]] = {"step": (int,), "accumulate": (int,), "backed_off": (bool,)}
    if trainer.scaler is not None and "scale" in facts:
        wanted |= {"scale": (float,), "scale_steady": (int,)}
    if trainer.held_out is not None:
        wanted |= {"best_loss": (float, type(None)), "best_step": (int,), "waited": (int,)}
    for name, kinds in wanted.items():
        if type(facts[name]) not in kinds:
            raise ValueError(f"fact {name} is {facts[name]!r}")
    if not 0 <= facts["step"] <= trainer.steps or facts["accumulate"] < 1:
        raise ValueError(f"step {facts['step']} of {trainer.steps}, {facts['accumulate']} parts")


def _check_tensors(trainer: Trainer, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    wanted = tensors_of(trainer)
    wanted["losses"] = torch.empty(facts["step"], dtype=torch.float64)
    for name, parameter in trainer.model.named_parameters():
        if f"optimizer.step.{name}" in tensors:  # a parameter without a gradient has no moments
            wanted[f"optimizer.step.{name}"] = torch.empty(())
            wanted |= {f"optimizer.{kind}.{name}": parameter for kind in MOMENTS[1:]}
    if trainer.held_out is not None and facts["best_loss"] is not None:
        wanted |= {f"best.{name}": tensor for name, tensor in trainer.ema.items()}
    if wanted.keys() != tensors.keys():
        raise ValueError(f"tensors differ: {sorted(wanted.keys() ^ tensors.keys())[:3]}")
    for name, tensor in wanted.items():
        if (tensors[name].dtype, tensors[name].shape) != (tensor.dtype, tensor.shape):
            raise ValueError(f"tensor {name} is {tensors[name].dtype} {tuple(tensors[name].shape)}")
