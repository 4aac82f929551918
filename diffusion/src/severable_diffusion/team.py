"""Several processes that train one shard together: each computes a part of every batch, and they add up.

All members draw the same batch from the same generator and each takes its own part; gradients, weighted by the parts'
sizes, are summed, and every member then does the same optimizer step. So the recipe's batch is the team's batch, the
draws are those of one process, and weights differ from one process's by the order of a sum alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from severable_diffusion.errors import RecipeError, TeamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from severable_diffusion.memory import Parts

_WRAP = 1 << 10  # steps are compared modulo this: a float32 holds whole numbers up to 2^24


class Team(Protocol):
    """The processes that train together, as one of them sees them."""

    @property
    def rank(self) -> int:
        """This one's number, from 0; 0 is the one that keeps, reports and ships."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put the sum over all members in place of each tensor, the same bytes at each of them.

        Args:
            tensors: of one dtype, on this member's device, as many and of the same shapes at every member.

        Raises:
            TeamError: a member is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """A team of one: nothing to add."""

    rank: int = 0
    size: int = 1

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Leave every tensor as it is."""


ALONE = Alone()


def require_shares(batch: int, team: Team) -> None:
    """Refuse a batch that has no image for one of the members.

    Raises:
        RecipeError: it names the batch.
    """
    if batch < team.size:
        raise RecipeError(
            "training.batch", f"is {batch}, too few for {team.size} processes; set `devices` to {batch} or fewer"
        )


def join(team: Team, gradients: Sequence[torch.Tensor], loss: torch.Tensor, step: int, parts: Parts) -> torch.Tensor:
    """Add up gradients, in place, and the loss, which is returned; if a member's memory ran out, all back off.

    Raises:
        TeamError: a member is gone, or stands at another step.
    """
    if team.size == 1:
        return loss
    told = loss.new_tensor([0.0, float(parts.backed_off), float(step % _WRAP)])
    told[0] = loss
    team.add([*gradients, told])
    _, backed_off, steps = told.tolist()
    if steps != team.size * (step % _WRAP):
        raise TeamError(f"the processes of one training stand at different steps, this one at {step}; begin it again")
    if backed_off:
        parts.follow()
    return told[0]
