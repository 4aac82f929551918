"""Routers: which shard would a noisy state come from?

A router gives prior-free logits l_i(x_t, t, c). Lambda is added when weights are formed, so that a router does not
change with the lambdas, and shards that the rights exclude are masked there:

    w_i = softmax_i(l_i + log lambda_i) over the allowed i     (CDM, arXiv 2308.01937, proposition 3.1)

Routers take log-SNR instead of a time, so that one serves any step count. Shapes: N samples, K shards, C, H, W.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from severable_diffusion.diffusers_parts import ConfigMixin, ModelMixin, register_to_config
from severable_diffusion.errors import CompositeError
from severable_diffusion.schedule import LOG_SNR_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

FREQUENCIES = 8


class Router(Protocol):
    """Anything that gives prior-free logits over the shards of one set, in the order of their ids."""

    def logits(
        self, x_t_NCHW: torch.Tensor, log_snr_N: torch.Tensor, condition: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return l_NK, up to a constant per sample."""


class PriorRouter:
    """Knows nothing of the state, so the weights are the lambdas; exact at pure noise, no network."""

    def __init__(self, num_shards: int) -> None:
        self.num_shards = num_shards

    def logits(
        self,
        x_t_NCHW: torch.Tensor,
        log_snr_N: torch.Tensor,  # noqa: ARG002  # the Router interface
        condition: torch.Tensor | None = None,  # noqa: ARG002  # the Router interface
    ) -> torch.Tensor:
        """Return zeros of shape (N, K)."""
        return x_t_NCHW.new_zeros(len(x_t_NCHW), self.num_shards)


class UniformRouter(PriorRouter):
    """Naive averaging: equal weights whatever the state. A negative control, never a default.

    It must be used with all lambdas equal (log lambda 0), which the pipeline does for it.
    """


def weights(l_NK: torch.Tensor, log_lambda_K: torch.Tensor, allowed_K: torch.Tensor) -> torch.Tensor:
    """Return posterior weights w_NK: each row sums to 1, excluded shards get exactly 0.

    Args:
        l_NK: prior-free logits.
        log_lambda_K: log of each shard's lambda, up to a constant.
        allowed_K: bool, which shards may be used.

    Raises:
        CompositeError: if no shard is allowed.
    """
    if not bool(allowed_K.any()):
        raise CompositeError("no shard of the composite is allowed; allow at least one")
    masked_NK = (l_NK + log_lambda_K).masked_fill(~allowed_K, -torch.inf)
    return masked_NK.softmax(dim=1)


class _Block(nn.Module):
    """Group norm, scale and shift by noise level (FiLM, arXiv 1709.07871), SiLU, convolution; residual if it fits."""

    def __init__(self, width_in: int, width_out: int, embedding: int, stride: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width_in)
        self.film = nn.Linear(embedding, 2 * width_in)
        self.conv = nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1)
        self.residual = width_in == width_out and stride == 1

    def forward(self, h_NCHW: torch.Tensor, e_NE: torch.Tensor) -> torch.Tensor:
        """Return the next feature map."""
        scale_NC, shift_NC = self.film(e_NE).chunk(2, dim=1)
        g_NCHW = self.norm(h_NCHW) * (1.0 + scale_NC[:, :, None, None]) + shift_NC[:, :, None, None]
        g_NCHW = self.conv(nn.functional.silu(g_NCHW))
        mapped_NCHW: torch.Tensor = h_NCHW + g_NCHW if self.residual else g_NCHW
        return mapped_NCHW


class JointRouter(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers ships no types
    """A small convolutional classifier over the shards of one set, conditioned on log-SNR, calibrated per noise level.

    Args:
        shard_ids: ids in the order of the logits, sorted.
        in_channels: C.
        sample_size: H = W in pixels.
        channels: width of the first level; deeper ones have twice that.
        bins: number of noise levels with a temperature of their own, evenly spread over log-SNR.
        log_snr_low: centre of the noisiest bin; below it the posterior is the prior and the logits are 0.
        log_snr_high: centre of the cleanest bin.
        patch: side of the squares of pixels folded into channels before the first layer.
        labels: number of class labels; 0 if it knows no conditions. Label `labels` stands for "no label".
    """

    config_name = "config.json"

    @register_to_config  # type: ignore[untyped-decorator]  # diffusers ships no types
    def __init__(
        self,
        *,
        shard_ids: Sequence[str],
        in_channels: int,
        sample_size: int,
        channels: int,
        bins: int = 8,
        log_snr_low: float = -6.0,  # noqa: ARG002  # kept by register_to_config, read from self.config
        log_snr_high: float = 2.4,  # noqa: ARG002  # as above
        patch: int = 1,
        labels: int = 0,
    ) -> None:
        super().__init__()
        embedding = 2 * channels
        self.embed = nn.Sequential(nn.Linear(2 * FREQUENCIES, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.label_embed = nn.Embedding(labels + 1, embedding) if labels else None
        self.fold = nn.PixelUnshuffle(patch)
        self.stem = nn.Conv2d(in_channels * patch**2, channels, 3, padding=1)
        blocks, size, width = [_Block(channels, channels, embedding, 1)], sample_size // patch, channels
        while size > 4:
            blocks += [_Block(width, 2 * channels, embedding, 2), _Block(2 * channels, 2 * channels, embedding, 1)]
            size, width = -(-size // 2), 2 * channels
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.GroupNorm(1, width)
        self.head = nn.Linear(width * size * size, len(shard_ids))
        self.register_buffer("log_temperature", torch.zeros(bins))

    def forward(
        self, x_t_NCHW: torch.Tensor, log_snr_N: torch.Tensor, label_N: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return logits l_NK before calibration; without labels, those of "no label"."""
        e_NE = self.embed(_noise_features(log_snr_N).to(x_t_NCHW.dtype))
        if self.label_embed is not None:
            known_N = torch.full_like(log_snr_N, self.config.labels, dtype=torch.int64) if label_N is None else label_N
            e_NE = e_NE + self.label_embed(known_N)
        h_NCHW = self.stem(self.fold(x_t_NCHW))
        for block in self.blocks:
            h_NCHW = block(h_NCHW, e_NE)
        h_NCHW = nn.functional.silu(self.norm(h_NCHW))
        logits_NK: torch.Tensor = self.head(h_NCHW.flatten(1))
        return logits_NK

    def logits(
        self, x_t_NCHW: torch.Tensor, log_snr_N: torch.Tensor, condition: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return calibrated prior-free logits l_NK.

        Raises:
            CompositeError: if a condition is given, and this router was trained without any.
        """
        if condition is not None and self.label_embed is None:
            raise CompositeError("this composite's router knows no conditions; call it without one")
        temperature_N1 = self.temperature(log_snr_N)[:, None]
        raw_NK: torch.Tensor = self(x_t_NCHW, log_snr_N, condition)
        # Noisier than the band, the state says nothing: what the network makes of it would only tilt the lambdas.
        known_N1 = (log_snr_N >= self.config.log_snr_low)[:, None]
        return (raw_NK / temperature_N1.to(raw_NK.dtype)).masked_fill(~known_N1, 0.0)

    def temperature(self, log_snr_N: torch.Tensor) -> torch.Tensor:
        """Return the temperature at each log-SNR, linear in the logarithm between bin centres, shape (N,)."""
        bins, low, high = len(self.log_temperature), self.config.log_snr_low, self.config.log_snr_high
        place_N = ((log_snr_N.to(self.log_temperature) - low) / (high - low) * (bins - 1)).clamp(0, bins - 1)
        left_N = place_N.long().clamp(max=bins - 2)
        share_N = place_N - left_N
        mixed_N = torch.lerp(self.log_temperature[left_N], self.log_temperature[left_N + 1], share_N)
        return mixed_N.exp()


def _noise_features(log_snr_N: torch.Tensor) -> torch.Tensor:
    """Return sines and cosines of log-SNR at `FREQUENCIES` octaves, shape (N, 2 FREQUENCIES)."""
    octaves_F = torch.pi / (2.0 * LOG_SNR_LIMIT) * 2.0 ** torch.arange(FREQUENCIES, device=log_snr_N.device)
    angles_NF = log_snr_N.float()[:, None] * octaves_F
    return torch.cat([angles_NF.sin(), angles_NF.cos()], dim=1)
