"""Attribution: whose shards made an image, and by how much.

The credit of a shard is its mean weight over the sampler's steps (CDM, arXiv 2308.01937, figure 3). Where a dispatch
bound a sample to one shard, that shard is the exact answer and is given too.
Shapes: N images, K shards, S sampler steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


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

    @property
    def weights_NK(self) -> torch.Tensor:
        """Credit: mean weight over the steps; each row sums to 1."""
        return self.trajectory_SNK.mean(dim=0)

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
            "final": self._named(self.final_NK[image]),
            "realised": self.shard_ids[bound] if bound >= 0 else None,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the batch's attribution as plain JSON values."""
        return {
            "credit": self._named(self.weights_NK.mean(dim=0)),
            "final": self._named(self.final_NK.mean(dim=0)),
            "evaluations_per_step": self.evaluations_per_step,
            "images": [self.image_to_dict(image) for image in range(self.trajectory_SNK.shape[1])],
        }

    def _named(self, weights_K: torch.Tensor) -> dict[str, float]:
        return {shard: round(float(weight), 6) for shard, weight in zip(self.shard_ids, weights_K, strict=True)}
