"""The diffusion transformer of a recipe: diffusers' DiTTransformer2DModel, called like its UNet2DModel.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from severable_diffusion.diffusers_parts import DiTTransformer2DModel, LabelEmbedding, get_2d_sincos_pos_embed

if TYPE_CHECKING:
    from severable_diffusion.architecture import TransformerArchitecture
    from severable_diffusion.recipe import ImageSpace


class TransformerDenoiser(DiTTransformer2DModel):  # type: ignore[misc]  # diffusers ships no types
    """DiTTransformer2DModel as it is, but for how it is called and for what is random in it: nothing."""

    def forward(
        self,
        x_NCHW: torch.Tensor,
        time: float | torch.Tensor,
        class_labels: torch.Tensor | None = None,
        *,
        return_dict: bool = True,
    ) -> Any:
        """Return what the network says of noisy states, as diffusers' own class would.

        Args:
            x_NCHW: the states.
            time: one for all or one for each.
            class_labels: int64, one for each; None for "no label", the row after the last label's.
            return_dict: False for a plain tuple.
        """
        count, device = len(x_NCHW), x_NCHW.device
        time_N = torch.as_tensor(time, device=device).expand(count)
        if class_labels is None:
            class_labels = torch.full((count,), self.config.num_embeds_ada_norm, dtype=torch.int64, device=device)
        return super().forward(x_NCHW, time_N, class_labels, return_dict=return_dict)

    def hide_no_label(self) -> None:
        """Never hide a label in training: whoever makes a batch does that, from the training's own generator."""
        for module in self.modules():
            if isinstance(module, LabelEmbedding):
                module.dropout_prob = 0.0

    @torch.no_grad()
    def begin_as_identity(self) -> None:
        """Set what adaLN-Zero begins with (arXiv 2212.09748, section 3.2): blocks that change nothing; and answer 0."""
        for layer in (*(block.norm1.linear for block in self.transformer_blocks), self.proj_out_1, self.proj_out_2):
            layer.weight.zero_()
            layer.bias.zero_()

    def write_positions(self) -> None:
        """Compute the sines of the patches' places: no part of a shard's file, and lost on torch's meta device."""
        embed = self.pos_embed
        table = get_2d_sincos_pos_embed(
            self.inner_dim, embed.height, base_size=embed.base_size, interpolation_scale=embed.interpolation_scale
        )
        embed.pos_embed = table.float().unsqueeze(0)


def config(parts: TransformerArchitecture, image: ImageSpace, labels: int) -> dict[str, Any]:
    """Return diffusers' configuration of a recipe's transformer.

    Args:
        parts: what the recipe says of it.
        image: what it is asked about.
        labels: how many labels there are; without any there is one that nobody asks for, since diffusers wants one.
    """
    return {
        "_class_name": "DiTTransformer2DModel",
        "sample_size": image.size,
        "in_channels": image.channels,
        "out_channels": image.channels,  # the noise's variance is the schedule's, not learned
        "patch_size": parts.patch,
        "num_attention_heads": parts.heads,
        "attention_head_dim": parts.width // parts.heads,
        "num_layers": parts.layers,
        "num_embeds_ada_norm": max(1, labels),  # diffusers adds the row of "no label" itself
        "norm_type": "ada_norm_zero",
        "norm_elementwise_affine": False,
        "norm_eps": 1e-5,
        "activation_fn": "gelu-approximate",
        "attention_bias": True,
        "upcast_attention": False,
        "dropout": 0.0,
    }
