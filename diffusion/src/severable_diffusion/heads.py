"""Heads: a router of independent parts, one for each shard, so that dropping a shard touches nothing else.

Each head is a two-way classifier between one shard's bank and a public reference, built from these two alone:

    h_i(x_t, t, c) = log p_t^i(x_t | c) - log p_t^ref(x_t | c)

The reference cancels in the softmax over i, so the heads together are prior-free logits. They have never seen each
other: an error of one head is not made good by the others, which is the price (FlexOlmo, arXiv 2507.07024, pays it for
language models). The reference should cover the data, or the ratios become too large to learn (TRE, arXiv 2006.12204).
Shapes: N samples, K shards, C, H, W.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from severable_diffusion.diffusers_parts import ConfigMixin, ModelMixin, register_to_config
from severable_diffusion.router import JointRouter
from severable_diffusion.router_training import build_router

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from severable_diffusion.bank import Bank
    from severable_diffusion.recipe import Recipe
    from severable_diffusion.training import TrainingProgress

REFERENCE = ""
"""The reference's id among a head's two: no shard has an empty one, and it sorts first."""


def build_head(
    shard_id: str,
    bank: Bank,
    reference: Bank,
    recipe: Recipe,
    on_progress: Callable[[TrainingProgress], None] | None = None,
) -> JointRouter:
    """Return one shard's head: a calibrated router over (reference, shard). No other shard has a say in its bytes.

    Args:
        shard_id: the shard's id, not empty.
        bank: what was drawn from it.
        reference: as many public images, from `Bank.from_images`.
        recipe: what the shards share.
        on_progress: called after every optimizer step.

    Raises:
        CompositeError: if a bank does not fit the recipe.
    """
    return build_router({REFERENCE: reference, shard_id: bank}, recipe, on_progress)


class HeadsRouter(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers ships no types
    """The heads of one set of shards as one router.

    Args:
        shard_ids: ids in the order of the logits, sorted.
        head: the arguments of every head's JointRouter but its `shard_ids`.
    """

    config_name = "config.json"

    @register_to_config  # type: ignore[untyped-decorator]  # diffusers ships no types
    def __init__(self, *, shard_ids: Sequence[str], head: Mapping[str, int | float]) -> None:
        super().__init__()
        self.heads = nn.ModuleList([JointRouter(shard_ids=[REFERENCE, shard_id], **head) for shard_id in shard_ids])

    @classmethod
    def of(cls, heads: Mapping[str, JointRouter]) -> HeadsRouter:
        """Return the router of these heads, by shard id; the mapping's order is irrelevant."""
        ids = sorted(heads)
        config = {name: value for name, value in heads[ids[0]].config.items() if not name.startswith("_")}
        del config["shard_ids"]
        router: HeadsRouter = cls(shard_ids=ids, head=config)
        for place, shard_id in enumerate(ids):
            router.heads[place].load_state_dict(heads[shard_id].state_dict())
        router.eval().requires_grad_(requires_grad=False)
        return router

    def without(self, shard_id: str) -> HeadsRouter:
        """Return the router of the other heads, whose bytes stay as they are."""
        kept = {one: head for one, head in zip(self.config.shard_ids, self.heads, strict=True) if one != shard_id}
        fewer: HeadsRouter = HeadsRouter.of(kept)
        return fewer

    def logits(
        self, x_t_NCHW: torch.Tensor, log_snr_N: torch.Tensor, condition: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return prior-free logits l_NK: each head's calibrated log ratio to the reference.

        Raises:
            CompositeError: if a condition is given, and the heads were trained without any.
        """
        heads = cast("list[JointRouter]", list(self.heads))
        pairs = [head.logits(x_t_NCHW, log_snr_N, condition) for head in heads]
        return torch.stack([pair_N2[:, 1] - pair_N2[:, 0] for pair_N2 in pairs], dim=1)
