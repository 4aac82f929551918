"""Writing a composite as the directory that `CompositePipeline.from_pretrained` loads.

    model_index.json       which classes the components are
    scheduler/             the recipe's scheduler
    shards/                see `severable_diffusion.shard_set`
    router/                config and safetensors; absent where the prior is the router

The bytes depend on recipe, shards, lambdas, router and the version of diffusers alone: no times, no paths, no order.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

import diffusers
from safetensors import SafetensorError
from safetensors.torch import load

from severable_diffusion import network
from severable_diffusion.diffusers_parts import SAFETENSORS_WEIGHTS_NAME
from severable_diffusion.errors import CompositeError
from severable_diffusion.heads import HeadsRouter
from severable_diffusion.router import JointRouter
from severable_diffusion.sampler import scheduler_for
from severable_diffusion.shard_set import Member, ShardSet, write_shards

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from severable_diffusion.recipe import Recipe

LearnedRouter: TypeAlias = JointRouter | HeadsRouter

PIPELINE_CLASS = "CompositePipeline"


def write_composite(
    directory: Path,
    recipe: Recipe,
    shards: Mapping[str, bytes],
    lambdas: Mapping[str, float | Member],
    router: LearnedRouter | None,
) -> None:
    """Write a composite.

    Args:
        directory: a new or empty directory.
        recipe: what the shards share.
        shards: each shard's `model.safetensors` bytes by shard id; written unchanged.
        lambdas: each shard's share of the mixture, above 0, or all that is known of it, by shard id.
        router: built over exactly these shards, or None to draw by lambda alone.

    Raises:
        CompositeError: if the parts do not belong together or the directory holds something already.
    """
    if shards.keys() != lambdas.keys():
        raise CompositeError("every shard needs a lambda, and every lambda a shard")
    if router is not None and list(router.config.shard_ids) != sorted(shards):
        raise CompositeError("the router was built over other shards; build it again over these")
    if directory.exists() and any(directory.iterdir()):
        raise CompositeError(f"{directory} is not empty; give a new directory")
    write_shards(directory / "shards", recipe, shards, lambdas)
    _write(directory / "scheduler" / "scheduler_config.json", scheduler_bytes(recipe))
    if router is not None:
        _write(directory / "router" / "config.json", router_config(router))
        _write(directory / "router" / SAFETENSORS_WEIGHTS_NAME, router_bytes(router))
    index = {
        "_class_name": PIPELINE_CLASS,
        "_diffusers_version": diffusers.__version__,
        "router": [None, None] if router is None else [type(router).__module__, type(router).__name__],
        "scheduler": ["diffusers", type(scheduler_for(recipe)).__name__],
        "shards": [ShardSet.__module__, ShardSet.__name__],
    }
    _write(directory / "model_index.json", _json(index))


def scheduler_bytes(recipe: Recipe) -> bytes:
    """Return the scheduler_config.json of a recipe's composites."""
    config: str = scheduler_for(recipe).to_json_string()
    return config.encode()


def router_bytes(router: LearnedRouter) -> bytes:
    """Return the router's weights as safetensors; equal routers give equal bytes."""
    return network.dump(router.state_dict())


def router_config(router: LearnedRouter) -> bytes:
    """Return the router's config.json."""
    own = {name: value for name, value in router.config.items() if not name.startswith("_")}
    return _json({**own, "_class_name": type(router).__name__, "_diffusers_version": diffusers.__version__})


def load_router(config: bytes, weights: bytes) -> LearnedRouter:
    """Return the router of a config.json and safetensors that this program wrote, in eval mode.

    Law: `router_bytes(load_router(router_config(r), router_bytes(r))) == router_bytes(r)`.

    Raises:
        CompositeError: if the two do not fit together.
    """
    try:
        values = json.loads(config)
        kinds: dict[str, type[LearnedRouter]] = {kind.__name__: kind for kind in (JointRouter, HeadsRouter)}
        router: LearnedRouter = kinds[values["_class_name"]].from_config(values)
        router.load_state_dict(load(weights))
    except (ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise CompositeError(f"the kept router cannot be loaded: {error}; build it again") from error
    router.eval().requires_grad_(requires_grad=False)
    return router


def _json(value: object) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=2) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
