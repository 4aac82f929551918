"""Composite diffusion models: schedules, routers, composition, pipeline.

Importing the package imports nothing heavy: recipes, errors and image folders are needed where torch models are not.
The names below load their module at first use, so `severable_diffusion.CompositePipeline` works as in any package.
diffusers needs no name here: a composite's model_index.json names the defining modules.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from severable_diffusion.attribution import Attribution
    from severable_diffusion.composite_directory import write_composite
    from severable_diffusion.pipeline import CompositeOutput, CompositePipeline
    from severable_diffusion.recipe import Recipe
    from severable_diffusion.router import JointRouter
    from severable_diffusion.shard_set import ShardSet

__all__ = [
    "Attribution",
    "CompositeOutput",
    "CompositePipeline",
    "JointRouter",
    "Recipe",
    "ShardSet",
    "write_composite",
]

_MODULES = {
    "Attribution": "attribution",
    "CompositeOutput": "pipeline",
    "CompositePipeline": "pipeline",
    "JointRouter": "router",
    "Recipe": "recipe",
    "ShardSet": "shard_set",
    "write_composite": "composite_directory",
}


def __getattr__(name: str) -> object:
    """Load an exported name from its module (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
