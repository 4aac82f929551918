"""What a caller asks for, as labels a network knows. Class labels now; a text condition would be read here as well.

Shapes: N images, K shards, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch

from severable_diffusion.errors import CompositeError

if TYPE_CHECKING:
    from severable_diffusion.recipe import Recipe

Asked: TypeAlias = "str | int | Sequence[str | int] | torch.Tensor | None"
"""One label for all images or one for each: names or indices."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Branch:
    """One branch of classifier-free guidance: what networks and router are told, and the prior that goes with it.

    Attributes:
        label_N: what the networks are told, int64; None for networks without conditions.
        router_label_N: what the router is told; None for the unconditional posterior.
        log_prior_NK: log lambda_i p(c | i); -inf where a shard never saw the label.
    """

    label_N: torch.Tensor | None
    router_label_N: torch.Tensor | None
    log_prior_NK: torch.Tensor


def labels_of(asked: Asked, recipe: Recipe, count: int, device: torch.device) -> torch.Tensor | None:
    """Return the labels of `count` images, int64, or None if nothing is asked for.

    Raises:
        CompositeError: if the recipe has no conditions, or a label is unknown, or there is not one for each image.
    """
    if asked is None:
        return None
    if recipe.conditions is None:
        raise CompositeError("this composite knows no conditions; call it without one")
    values = asked.tolist() if isinstance(asked, torch.Tensor) else asked
    several = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values] * count
    if len(several) != count:
        raise CompositeError(f"{len(several)} conditions for {count} images; give one, or one for each image")
    found = [_index(one, recipe.conditions.labels) for one in several]
    return torch.tensor(found, dtype=torch.int64, device=device)


def _index(label: object, names: tuple[str, ...]) -> int:
    if isinstance(label, str) and label in names:
        return names.index(label)
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    known = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    raise CompositeError(f"condition {label!r} is unknown; choose one of {known}")


def branches(
    label_N: torch.Tensor | None,
    guidance: float,
    count: int,
    *,
    log_lambda_K: torch.Tensor,
    log_share_KC: torch.Tensor,
    allowed_K: torch.Tensor,
) -> tuple[Branch, ...]:
    """Return the conditional branch, and the unconditional one if guidance needs it.

    Raises:
        CompositeError: if guidance is asked for without a condition, or no allowed shard ever saw a label.
    """
    labels = log_share_KC.shape[1] - 1
    plain_NK = log_lambda_K.expand(count, -1)
    hidden_N = torch.full((count,), labels, dtype=torch.int64, device=log_lambda_K.device) if labels else None
    free = Branch(label_N=hidden_N, router_label_N=None, log_prior_NK=plain_NK)
    if label_N is None:
        if guidance != 1.0:
            raise CompositeError(
                f"guidance_scale is {guidance} without a condition; give a condition, or leave it at 1"
            )
        return (free,)
    prior_NK = plain_NK + log_share_KC[:, label_N].T
    if bool((prior_NK.isinf() | ~allowed_K).all(dim=1).any()):
        raise CompositeError("no allowed shard ever saw one of the labels asked for; ask for another, or allow more")
    told = Branch(label_N=label_N, router_label_N=label_N, log_prior_NK=prior_NK)
    return (told,) if guidance == 1.0 else (told, free)
