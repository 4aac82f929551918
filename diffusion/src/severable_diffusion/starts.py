"""Where a run starts: pure noise, or an image noised part of the way, all of it or where a mask says so.

Partial-noise starts follow SDEdit (arXiv 2108.01073); masks follow RePaint's replacement (arXiv 2201.09865): the part
that is kept is put back at every level. Shapes: N images, C, H, W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from severable_diffusion.diffusers_parts import randn_tensor
from severable_diffusion.errors import CompositeError

if TYPE_CHECKING:
    from severable_diffusion.drive import Drive, Frame
    from severable_diffusion.lots import Generators
    from severable_diffusion.recipe import ImageSpace


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """What a run starts from.

    Attributes:
        noise_NCHW: standard normal.
        image_NCHW: in [-1, 1]; None for a start at pure noise.
        mask_N1HW: 1 where the image is made anew, 0 where it is kept; None for all of it.
        strength: share of the way from data to noise at which the run starts, in (0, 1].
    """

    noise_NCHW: torch.Tensor
    image_NCHW: torch.Tensor | None
    mask_N1HW: torch.Tensor | None
    strength: float

    def state(self, drive: Drive, frame: Frame) -> torch.Tensor:
        """Return the scheduler's state at the first step."""
        if self.image_NCHW is None or self.strength == 1.0:
            return drive.start(self.noise_NCHW)
        return drive.noised(self.image_NCHW, self.noise_NCHW, frame)

    def kept(self, x_NCHW: torch.Tensor, drive: Drive, frame: Frame) -> torch.Tensor:
        """Return a state whose kept part is the image's own at that level."""
        if self.image_NCHW is None or self.mask_N1HW is None:
            return x_NCHW
        own_NCHW = drive.noised(self.image_NCHW, self.noise_NCHW, frame)
        return torch.where(self.mask_N1HW, x_NCHW, own_NCHW)

    def finished(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the images, in [-1, 1], with the kept part as it was given."""
        made_NCHW = x_NCHW.clamp(-1.0, 1.0)
        if self.image_NCHW is None or self.mask_N1HW is None:
            return made_NCHW
        return torch.where(self.mask_N1HW, made_NCHW, self.image_NCHW)


def start(
    count: int,
    space: ImageSpace,
    *,
    image: torch.Tensor | None,
    mask: torch.Tensor | None,
    strength: float,
    latents: torch.Tensor | None,
    generator: Generators,
    device: torch.device,
    dtype: torch.dtype,
) -> Start:
    """Read a start from what the caller gave.

    Args:
        count: N.
        space: the data space.
        image: (C, H, W), (1, C, H, W) or (N, C, H, W) in [-1, 1].
        mask: (H, W), (1, 1, H, W) or (N, 1, H, W); above 0.5 is made anew.
        strength: in (0, 1].
        latents: the noise itself, (N, C, H, W); drawn from `generator` by default.
        generator: source of the noise.
        device: of the run.
        dtype: of the run.

    Raises:
        CompositeError: if something does not fit.
    """
    shape = (count, space.channels, space.size, space.size)
    if isinstance(generator, list) and len(generator) != count:
        raise CompositeError(f"{len(generator)} generators for {count} images; give one, or one for each image")
    if not 0.0 < strength <= 1.0:
        raise CompositeError(f"strength is {strength}; it must be above 0 and at most 1")
    if image is None and (mask is not None or strength < 1.0):
        raise CompositeError("strength and mask_image need an image to start from; give one")
    if latents is not None and tuple(latents.shape) != shape:
        raise CompositeError(f"latents are {tuple(latents.shape)}; they must be {shape}")
    noise_NCHW = randn_tensor(shape, generator=generator, device=device, dtype=dtype) if latents is None else latents
    image_NCHW = None if image is None else _fitted(image, shape, "image").to(device, dtype)
    if image_NCHW is not None and not bool(((image_NCHW >= -1.001) & (image_NCHW <= 1.001)).all()):
        raise CompositeError("image has values outside [-1, 1]; scale it first")
    mask_N1HW = None if mask is None else _fitted(mask, (count, 1, *shape[2:]), "mask_image").to(device) > 0.5
    return Start(noise_NCHW=noise_NCHW.to(device, dtype), image_NCHW=image_NCHW, mask_N1HW=mask_N1HW, strength=strength)


def _fitted(given: torch.Tensor, shape: tuple[int, ...], name: str) -> torch.Tensor:
    whole = given[(None,) * (4 - given.dim())] if given.dim() < 4 else given
    if whole.dim() != 4 or any(found not in (1, wanted) for found, wanted in zip(whole.shape, shape, strict=True)):
        raise CompositeError(f"{name} is {tuple(given.shape)}; it must be {shape}, or one of it for all images")
    if tuple(whole.shape[1:]) != shape[1:]:
        raise CompositeError(f"{name} is {tuple(given.shape)}; it must be {shape}, or one of it for all images")
    return whole.expand(shape).float()
