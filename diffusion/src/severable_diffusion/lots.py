"""Drawing a shard for each sample, so that a removal changes no draw but the removed shard's own.

Every shard throws a lot for every sample: a number from the exponential distribution, divided by the shard's weight.
The smallest one wins, so shard k is drawn with probability w_k (the exponential race; Gumbel-max in logarithms). A lot
depends on the seed and its own shard's id alone.

Law: take a shard away and scale the other weights up: every sample that it had not won stays with the shard it had.
Shapes: N samples, K shards.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

import torch

Generators: TypeAlias = "torch.Generator | list[torch.Generator] | None"
"""Source of what is drawn: one for the batch, or one for each sample, or torch's own."""


@dataclass(frozen=True, slots=True)
class Lots:
    """The source of draws between shards.

    Attributes:
        shard_ids: in the order of K.
        generator: gives the seeds, one for each draw, or one for each sample and draw if it is a list.
    """

    shard_ids: tuple[str, ...]
    generator: Generators

    def draw(self, w_NK: torch.Tensor) -> torch.Tensor:
        """Return int64 (N,): one shard per row, with the probabilities of its weights; never one of weight 0."""
        count = len(w_NK)
        if isinstance(self.generator, list):
            lots_NK = torch.cat([self._thrown(_seed(one), 1) for one in self.generator])
        else:
            lots_NK = self._thrown(_seed(self.generator), count)
        weight_NK = w_NK.double()
        times_NK = torch.where(weight_NK > 0, lots_NK.to(w_NK.device) / weight_NK, torch.inf)
        return times_NK.argmin(dim=1)

    def _thrown(self, seed: int, count: int) -> torch.Tensor:
        """Return every shard's lots for so many samples, (count, K), on the CPU."""
        columns = [
            torch.empty(count, dtype=torch.float64).exponential_(generator=_own(seed, shard_id))
            for shard_id in self.shard_ids
        ]
        return torch.stack(columns, dim=1)


def _seed(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(2**63 - 1, (1,), generator=generator, device=device).item())


def _own(seed: int, shard_id: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {shard_id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
