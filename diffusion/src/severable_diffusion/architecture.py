"""What kinds of network a recipe may ask for, and which of diffusers' fields it sets; all others are fixed.

A recipe's `architecture.kind` names the kind. Recipes from before there was a choice name none and mean a U-Net; they
keep their bytes, and so their digests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from severable_diffusion import strict
from severable_diffusion.errors import RecipeError

DOWN_BLOCKS = ("DownBlock2D", "AttnDownBlock2D")
UP_BLOCKS = ("UpBlock2D", "AttnUpBlock2D")
MAX_PATCHES = 4096  # of an image: attention looks from each patch at each
WHERE = "architecture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The fields of diffusers' UNet2DModel that a recipe may set; `severable_diffusion.network` fixes all others.

    Attributes:
        kind: unet; may be left out.
        block_out_channels: width of each level.
        layers_per_block: residual blocks per level.
        down_block_types: one per level, from `DOWN_BLOCKS`.
        up_block_types: one per level, from `UP_BLOCKS`.
        norm_num_groups: groups of every group norm; must divide every width.
        attention_head_dim: width of one attention head.
        mid_block: whether there is a middle block.
        mid_attention: whether the middle block has an attention layer.
    """

    kind: str = strict.word(("unet",), "unet", later=True)
    block_out_channels: tuple[int, ...] = strict.whole(4, 1024)
    layers_per_block: int = strict.whole(1, 4)
    down_block_types: tuple[str, ...] = strict.word(DOWN_BLOCKS)
    up_block_types: tuple[str, ...] = strict.word(UP_BLOCKS)
    norm_num_groups: int = strict.whole(1, 64)
    attention_head_dim: int = strict.whole(1, 256, 8)
    mid_block: bool = True
    mid_attention: bool = True

    def __post_init__(self) -> None:
        """Check the bounds and that the parts fit each other."""
        strict.check(self, WHERE)
        levels = len(self.block_out_channels)
        if not 1 <= levels <= 6:
            raise RecipeError(f"{WHERE}.block_out_channels", f"has {levels} levels; must have between 1 and 6")
        for name in ("down_block_types", "up_block_types"):
            if len(getattr(self, name)) != levels:
                raise RecipeError(f"{WHERE}.{name}", f"must have one entry for each of the {levels} block_out_channels")
        for width in self.block_out_channels:
            if width % self.norm_num_groups:
                raise RecipeError(f"{WHERE}.norm_num_groups", f"is {self.norm_num_groups}; must divide {width}")

    def require_fit(self, size: int) -> None:
        """Refuse images of a height and width, in pixels, that the network cannot take.

        Raises:
            RecipeError: it names the field.
        """
        halvings = 2 ** (len(self.block_out_channels) - 1)
        if size % halvings:
            raise RecipeError("image.size", f"is {size}; must be a multiple of {halvings}, one halving a level")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerArchitecture:
    """The fields of diffusers' DiTTransformer2DModel that a recipe may set (Peebles and Xie, arXiv 2212.09748).

    Attributes:
        kind: dit.
        patch: height and width of a patch in pixels; must divide the image's, into `MAX_PATCHES` patches at most.
        width: numbers that stand for a patch; a multiple of 4 and of the heads.
        heads: attention heads of a layer.
        layers: transformer blocks.
    """

    kind: str = strict.word(("dit",))
    patch: int = strict.whole(1, 64)
    width: int = strict.whole(8, 4096)
    heads: int = strict.whole(1, 64)
    layers: int = strict.whole(1, 64)

    def __post_init__(self) -> None:
        """Check the bounds and that the parts fit each other."""
        strict.check(self, WHERE)
        if self.width % 4:  # a sine and a cosine, for each of the two directions
            raise RecipeError(f"{WHERE}.width", f"is {self.width}; must be a multiple of 4")
        if self.width % self.heads:
            raise RecipeError(f"{WHERE}.heads", f"is {self.heads}; must divide architecture.width ({self.width})")

    def require_fit(self, size: int) -> None:
        """Refuse images of a height and width, in pixels, that the network cannot take.

        Raises:
            RecipeError: it names the field.
        """
        if size % self.patch:
            raise RecipeError(f"{WHERE}.patch", f"is {self.patch}; must divide image.size ({size})")
        if (count := (size // self.patch) ** 2) > MAX_PATCHES:
            raise RecipeError(
                f"{WHERE}.patch",
                f"is {self.patch}, which makes {count} patches of an image; must make {MAX_PATCHES} or fewer",
            )


AnyArchitecture: TypeAlias = Architecture | TransformerArchitecture
