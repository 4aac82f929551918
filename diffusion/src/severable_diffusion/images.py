"""Image folders in, tensors out, and tensors back to pictures.

A folder follows the conventions of Hugging Face's imagefolder: one subfolder per class, or a flat folder (one class,
named like the folder). Everything that does not fit the recipe is refused by name; nothing is resized or converted
unless asked for, since a silent conversion at one party would shift its shard's data space away from the others'.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from severable_diffusion.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from severable_diffusion.recipe import ImageSpace

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MODES = {1: "L", 3: "RGB"}
PLAIN_MODES = ("1", "L", "P", "RGB", "CMYK")
MAX_PIXELS = 1 << 26  # of a picture that is scaled
UNDECODABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


class ImageRows(Protocol):
    """Images that are picked by row: a tensor of them, or a file that holds more than memory does."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, rows_B: torch.Tensor, /) -> torch.Tensor:
        """Return the images of these rows (int64), float32 in [-1, 1], shape (B, C, H, W)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder:
    """A party's images.

    Attributes:
        images_NCHW: float32 in [-1, 1], ordered by path.
        labels: class index of each image.
        classes: class names, sorted.
        paths: the file of each image.
    """

    images_NCHW: torch.Tensor
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    paths: tuple[Path, ...]


def read_image_folder(path: Path, image: ImageSpace) -> ImageFolder:
    """Read every image under `path`.

    Raises:
        DataError: naming the folder or file: missing, unreadable, a link, empty, a stray file, another size or mode.
    """
    files_of = _classes(path)
    classes = tuple(sorted(files_of))
    paths = tuple(file for name in classes for file in files_of[name])
    labels = tuple(label for label, name in enumerate(classes) for _ in files_of[name])
    pixels = [decode(file, image, file) for file in paths]
    return ImageFolder(images_NCHW=to_tensor(np.stack(pixels)), labels=labels, classes=classes, paths=paths)


def _classes(path: Path) -> dict[str, list[Path]]:
    entries = _entries(path)
    folders = [entry for entry in entries if entry.is_dir()]
    if not folders:
        if not entries:
            raise DataError(path, f"holds no images; put {', '.join(SUFFIXES)} files there, or one subfolder per class")
        return {path.name: _images(entries)}
    for entry in entries:
        if entry not in folders:
            raise DataError(entry, "lies beside class folders; move it into one of them or remove it")
    files_of = {}
    for folder in folders:
        files = _entries(folder)
        if not files:
            raise DataError(folder, "is an empty class; add images or remove the folder")
        files_of[folder.name] = _images(files)
    return files_of


def _entries(path: Path) -> list[Path]:
    if path.is_symlink():
        raise DataError(path, "is a link; give the real folder")
    try:
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except FileNotFoundError as error:
        raise DataError(path, "does not exist; give the folder that holds the images") from error
    except NotADirectoryError as error:
        raise DataError(path, "is not a folder; give the folder that holds the images") from error
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror}); check its permissions") from error
    for entry in entries:
        if entry.is_symlink():
            raise DataError(entry, "is a link; copy the file or folder itself here")
    return entries


def _images(entries: list[Path]) -> list[Path]:
    for entry in entries:
        if not entry.is_file():
            raise DataError(entry, "is not a file; a class folder holds images only")
        if entry.suffix.lower() not in SUFFIXES:
            raise DataError(entry, f"is no image by its name; only {', '.join(SUFFIXES)} are read, remove it")
    return entries


def decode(file: Path | BinaryIO, image: ImageSpace, where: Path, *, fit: bool = False) -> np.ndarray:
    """Return one image's pixels, uint8, shape (H, W, C).

    Args:
        file: a PNG, JPEG or WebP.
        image: the recipe's data space.
        where: what an error names.
        fit: convert the colours, cut the middle square out and scale it, where the picture is of another mode or size;
            otherwise such a picture is refused.

    Raises:
        DataError: it cannot be decoded, is too large to be, or does not fit; its size is known before it is decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(file, formats=("PNG", "JPEG", "WEBP"))
        with picture:
            pixels = np.array(_fitted(picture, image, where) if fit else _fitting(picture, image, where))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(where, f"has more than {MAX_PIXELS >> 20} million pixels; scale it down") from error
    except UNDECODABLE as error:
        raise DataError(where, "cannot be read as PNG, JPEG or WebP; replace or remove it") from error
    return pixels.reshape(image.size, image.size, image.channels)


def _fitting(picture: Image.Image, image: ImageSpace, where: Path) -> Image.Image:
    """Return the picture if it has the recipe's size and mode."""
    if picture.size != (image.size, image.size):
        size = f"{picture.width}x{picture.height}"
        raise DataError(where, f"is {size} pixels; the recipe wants {image.size}x{image.size}")
    if picture.mode != MODES[image.channels]:
        raise DataError(where, f"has mode {picture.mode}; the recipe wants {MODES[image.channels]}, convert it")
    return picture


def _fitted(picture: Image.Image, image: ImageSpace, where: Path) -> Image.Image:
    """Return the picture made to fit."""
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(where, f"has more than {MAX_PIXELS >> 20} million pixels; scale it down")
    if picture.mode not in PLAIN_MODES or "transparency" in picture.info:
        raise DataError(where, f"has mode {picture.mode} or transparency, which has no one right colour; convert it")
    coloured = picture.convert(MODES[image.channels])
    return ImageOps.fit(coloured, (image.size, image.size), Image.Resampling.LANCZOS)


def to_tensor(pixels_NHWC: np.ndarray) -> torch.Tensor:
    """Return uint8 pixels as float32 in [-1, 1], shape (N, C, H, W)."""
    x_NHWC = torch.from_numpy(pixels_NHWC).to(torch.float32) / 127.5 - 1.0
    return x_NHWC.permute(0, 3, 1, 2).contiguous()


def to_pil(x_NCHW: torch.Tensor) -> list[Image.Image]:
    """Return float images in [-1, 1] as Pillow images, grey or RGB; values outside are clipped."""
    scaled = (x_NCHW.detach().to("cpu", torch.float32).clamp(-1.0, 1.0) + 1.0) * 127.5
    pixels_NHWC = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    if pixels_NHWC.shape[3] == 1:
        return [Image.fromarray(pixels_HWC[:, :, 0]) for pixels_HWC in pixels_NHWC]
    return [Image.fromarray(pixels_HWC) for pixels_HWC in pixels_NHWC]
