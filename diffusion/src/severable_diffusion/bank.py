"""Banks: synthetic samples that the coordinator draws from one shard, in place of images it must never see.

A bank depends on its shard's id, its shard's weights and the recipe alone, so it does not matter which shards are
beside it, or were, or in what order banks are drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from severable_diffusion.environment import generator, repeatable, seed_from
from severable_diffusion.sampler import draw

if TYPE_CHECKING:
    from collections.abc import Callable

    from severable_diffusion.recipe import Recipe

PURPOSE = b"severable bank v1"


def draw_bank(
    network: Callable[..., Any],
    recipe: Recipe,
    *,
    seed_material: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """Return a shard's bank: float32 in [-1, 1], shape (recipe.bank.images, C, H, W).

    Args:
        network: the shard's network, from `severable_diffusion.network.load`.
        recipe: what it was trained by.
        seed_material: the shard's id.
        on_progress: called with (images drawn, images in all) after every batch.
    """
    plan = recipe.bank
    noise = generator(seed_from(PURPOSE, seed_material.encode()))
    parts: list[torch.Tensor] = []
    with repeatable():
        for start in range(0, plan.images, plan.batch):
            count = min(plan.batch, plan.images - start)
            parts.append(draw(network, recipe, count=count, steps=plan.steps, generator=noise))
            if on_progress is not None:
                on_progress(start + count, plan.images)
    return torch.cat(parts)
