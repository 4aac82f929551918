"""Attribution: whose shards made an image, and by how much.

Three answers, each row summing to 1:

    weights     the mean weight over the sampler's steps (CDM, arXiv 2308.01937, figure 3)
    weighted    each step counts by the log-SNR it covers, so that the noisy part, where all shards weigh alike, does
                not pull everything to the lambdas
    realised    the shard that a dispatch bound the sample to: exact provenance, since no other shard touched it later;
                its weights at the last step where it was never bound

Shapes: N images, K shards, S sampler steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

TELLING = (-6.0, 4.0)
"""log-SNR, from pure noise for all purposes to an image whose owner is long decided."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attribution:
    """The weights of one batch.

    Attributes:
        shard_ids: the shards, in the order of K.
        trajectory_SNK: posterior weights at every step, noisiest first; each row sums to 1.
        times: the S times, of the recipe; one between two whole ones where a scheduler stands there.
        log_snr: the S log-SNRs.
        realised_N: index of the shard that a sample was bound to, -1 where it never was; None if none ever was.
        evaluations: network evaluations of each step, summed over samples.
    """

    shard_ids: tuple[str, ...]
    trajectory_SNK: torch.Tensor
    times: tuple[float, ...]
    log_snr: tuple[float, ...]
    realised_N: torch.Tensor | None
    evaluations: tuple[int, ...]

    @classmethod
    def joined(cls, parts: Sequence[Attribution]) -> Attribution:
        """Return the record of several batches of one sampler as if they had been one.

        Raises:
            ValueError: if there are none, or their shards or times differ.
        """
        if len({(part.shard_ids, part.times, part.log_snr) for part in parts}) != 1:
            raise ValueError("attributions are joined over the same shards and times, and at least one")
        first = parts[0]
        bound = [part.realised_N for part in parts]
        never = [torch.full((part.trajectory_SNK.shape[1],), -1) for part in parts]
        return cls(
            shard_ids=first.shard_ids,
            trajectory_SNK=torch.cat([part.trajectory_SNK for part in parts], dim=1),
            times=first.times,
            log_snr=first.log_snr,
            realised_N=None
            if all(one_N is None for one_N in bound)
            else torch.cat([none_N if one_N is None else one_N for one_N, none_N in zip(bound, never, strict=True)]),
            evaluations=tuple(sum(step) for step in zip(*(part.evaluations for part in parts), strict=True)),
        )

    @property
    def weights_NK(self) -> torch.Tensor:
        """Credit: mean weight over the steps; each row sums to 1."""
        return self.trajectory_SNK.mean(dim=0)

    @property
    def weighted_NK(self) -> torch.Tensor:
        """Credit: mean weight over log-SNR within `TELLING`, outside of which nothing is decided; rows sum to 1."""
        at_S = torch.tensor(self.log_snr).clamp(*TELLING)
        covered_S = torch.diff(at_S, append=torch.tensor([TELLING[1]])).clamp_min(0.0)
        if float(covered_S.sum()) == 0.0:
            return self.final_NK
        return (covered_S[:, None, None] * self.trajectory_SNK).sum(dim=0) / covered_S.sum()

    @property
    def realised_NK(self) -> torch.Tensor:
        """Credit: 1 for the shard that a sample was bound to, else its weights at the last step; rows sum to 1."""
        if self.realised_N is None:
            return self.final_NK
        bound_NK = torch.zeros_like(self.final_NK).scatter(1, self.realised_N.clamp_min(0)[:, None], 1.0)
        return torch.where((self.realised_N >= 0)[:, None], bound_NK, self.final_NK)

    @property
    def final_NK(self) -> torch.Tensor:
        """Weight at the last step, where the noise is lowest: which shard the finished image belongs to."""
        return self.trajectory_SNK[-1]

    @property
    def evaluations_per_step(self) -> float:
        """Mean number of shards evaluated per sample and step, between 1 and K."""
        return sum(self.evaluations) / (len(self.evaluations) * self.trajectory_SNK.shape[1])

    def leader(self, image: int, *, final: bool = True) -> tuple[str, float]:
        """Return the shard with the most weight in one image, and that weight."""
        weights_K = (self.final_NK if final else self.weights_NK)[image]
        k = int(weights_K.argmax())
        return self.shard_ids[k], float(weights_K[k])

    def image_to_dict(self, image: int) -> dict[str, Any]:
        """Return one image's attribution as plain JSON values."""
        bound = -1 if self.realised_N is None else int(self.realised_N[image])
        return {
            "credit": self._named(self.weights_NK[image]),
            "weighted": self._named(self.weighted_NK[image]),
            "final": self._named(self.final_NK[image]),
            "realised": self.shard_ids[bound] if bound >= 0 else None,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the batch's attribution as plain JSON values."""
        return {
            "credit": self._named(self.weights_NK.mean(dim=0)),
            "weighted": self._named(self.weighted_NK.mean(dim=0)),
            "final": self._named(self.final_NK.mean(dim=0)),
            "realised": self._named(self.realised_NK.mean(dim=0)),
            "evaluations_per_step": self.evaluations_per_step,
            "images": [self.image_to_dict(image) for image in range(self.trajectory_SNK.shape[1])],
        }

    def _named(self, weights_K: torch.Tensor) -> dict[str, float]:
        return {shard: round(float(weight), 6) for shard, weight in zip(self.shard_ids, weights_K, strict=True)}
