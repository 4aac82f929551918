"""The work folder: what was computed once is kept by what it was computed from, so a run resumes where it ended."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def digest_of(*parts: bytes) -> str:
    """Return 16 hexadecimal digits that name content."""
    together = hashlib.sha256()
    for part in parts:
        together.update(len(part).to_bytes(8, "big") + part)
    return together.hexdigest()[:16]


def keep_tensors(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors, and beside them what is known of them; the facts come last, so they mean that all is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
    partial.replace(path)
    keep_facts(path.with_suffix(".json"), facts)


def kept_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Return what `keep_tensors` wrote, or None."""
    facts = kept_facts(path.with_suffix(".json"))
    return None if facts is None else (load_file(path), facts)


def keep_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Write plain values, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial-json")
    partial.write_text(json.dumps(facts, indent=1))
    partial.replace(path)


def kept_facts(path: Path) -> dict[str, Any] | None:
    """Return what `keep_facts` wrote, or None."""
    if not path.exists():
        return None
    facts: dict[str, Any] = json.loads(path.read_text())
    return facts


def keep_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write an unfinished training."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(dict(state), partial)
    partial.replace(path)


def kept_state(path: Path) -> dict[str, Any] | None:
    """Return what `keep_state` wrote, or None."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state
