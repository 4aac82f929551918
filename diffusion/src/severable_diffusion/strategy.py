"""Which router and which dispatch answer what a caller asked for. Shapes: K shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from severable_diffusion.composition import DISPATCHES, Dispatch, DrawOnce, Full
from severable_diffusion.errors import CompositeError
from severable_diffusion.router import PriorRouter, Router, UniformRouter

if TYPE_CHECKING:
    from severable_diffusion.shard_set import ShardSet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strategy:
    """How a composite is sampled.

    Attributes:
        dispatch: of the conditional branch, or of the only one.
        router: of its weights.
        free_router: of the weights of the unconditional branch of guidance.
        log_lambda_K: the shards' prior, not normalised.
    """

    dispatch: Dispatch
    router: Router
    free_router: Router
    log_lambda_K: torch.Tensor


def strategy_for(
    shards: ShardSet, router: Router | None, dispatch: str | Dispatch, override: str | None, *, from_noise: bool
) -> Strategy:
    """Return the strategy for a call.

    Args:
        shards: to be composed.
        router: of the composite; None if it was assembled without one.
        dispatch: a name from `severable_diffusion.composition.DISPATCHES`, "uniform", or a Dispatch.
        override: "uniform" for naive averaging, "prior" for the lambdas alone, or None.
        from_noise: whether sampling starts from pure noise.

    Raises:
        CompositeError: if the dispatch is unknown, or an image is given and no router could say whose it is.
    """
    count, log_lambda_K = len(shards.shard_ids), shards.log_lambda_K
    if "uniform" in (dispatch, override):
        equal = UniformRouter(count)
        return Strategy(dispatch=Full(), router=equal, free_router=equal, log_lambda_K=torch.zeros_like(log_lambda_K))
    if isinstance(dispatch, str):
        if dispatch not in DISPATCHES:
            raise CompositeError(f"dispatch {dispatch!r} is unknown; choose {', '.join(DISPATCHES)} or uniform")
        dispatch = DISPATCHES[dispatch]
    if count > 1 and router is None and not from_noise:
        raise CompositeError("this composite has no router, so it cannot say whose an image is: start from noise")
    alone = PriorRouter(count)
    if router is None or override == "prior":
        return Strategy(dispatch=DrawOnce(), router=alone, free_router=alone, log_lambda_K=log_lambda_K)
    # Drawn once, at pure noise, the lambdas are the exact posterior: no router can do better. Guidance's other branch
    # draws nothing, and there lambdas at every level would be naive averaging.
    by_lambda = from_noise and isinstance(dispatch, DrawOnce)
    return Strategy(
        dispatch=dispatch, router=alone if by_lambda else router, free_router=router, log_lambda_K=log_lambda_K
    )
