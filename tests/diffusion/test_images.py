from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from severable_diffusion.errors import DataError
from severable_diffusion.images import read_image_folder, to_pil
from severable_diffusion.recipe import ImageSpace

GREY = ImageSpace(channels=1, size=8)


def write(path: Path, level: int = 0, *, size: int = 8, mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size, size), level if mode == "L" else (level,) * 3).save(path)
    return path


def test_subfolders_are_classes_and_pixels_span_minus_one_to_one(tmp_path: Path) -> None:
    write(tmp_path / "two" / "a.png", 255)
    write(tmp_path / "one" / "b.png", 0)
    write(tmp_path / "one" / "a.png", 51)
    folder = read_image_folder(tmp_path, GREY)
    assert folder.classes == ("one", "two")
    assert folder.labels == (0, 0, 1)
    assert [path.name for path in folder.paths] == ["a.png", "b.png", "a.png"]
    assert folder.images_NCHW.shape == (3, 1, 8, 8)
    torch.testing.assert_close(folder.images_NCHW[:, 0, 0, 0], torch.tensor([51 / 127.5 - 1.0, -1.0, 1.0]))


def test_a_flat_folder_is_one_class(tmp_path: Path) -> None:
    write(tmp_path / "digits" / "a.png")
    assert read_image_folder(tmp_path / "digits", GREY).classes == ("digits",)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_colour_pixels_keep_their_place(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    (tmp_path / "x").mkdir()
    Image.fromarray(pixels).save(tmp_path / "x" / f"a{suffix}", lossless=True)
    folder = read_image_folder(tmp_path, ImageSpace(channels=3, size=8))
    assert np.array_equal(np.asarray(to_pil(folder.images_NCHW)[0]), pixels)


def _no_folder(root: Path) -> Path:
    return root / "none"


def _a_file(root: Path) -> Path:
    return write(root / "a.png")


def _no_images(root: Path) -> Path:
    return root


def _empty_class(root: Path) -> Path:
    write(root / "one" / "a.png")
    (root / "two").mkdir()
    return root


def _stray_text(root: Path) -> Path:
    write(root / "one" / "a.png")
    (root / "one" / "notes.txt").write_text("x")
    return root


def _file_beside_classes(root: Path) -> Path:
    write(root / "one" / "a.png")
    write(root / "b.png")
    return root


def _broken(root: Path) -> Path:
    write(root / "one" / "a.png")
    (root / "one" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    return root


def _truncated(root: Path) -> Path:
    path = write(root / "one" / "a.png", 77)
    path.write_bytes(path.read_bytes()[:50])
    return root


def _size(root: Path) -> Path:
    write(root / "one" / "a.png")
    write(root / "one" / "b.png", size=9)
    return root


def _mode(root: Path) -> Path:
    write(root / "one" / "a.png", mode="RGB")
    return root


def _link(root: Path) -> Path:
    target = write(root / "elsewhere" / "a.png")
    write(root / "data" / "b.png")
    (root / "data" / "c.png").symlink_to(target)
    return root / "data"


def _nested(root: Path) -> Path:
    write(root / "one" / "deeper" / "a.png")
    return root


@pytest.mark.parametrize(
    ("make", "named", "says"),
    [
        (_no_folder, "none", "does not exist"),
        (_a_file, "a.png", "is not a folder"),
        (_no_images, "", "holds no images"),
        (_empty_class, "two", "is an empty class"),
        (_stray_text, "one/notes.txt", "only .png"),
        (_file_beside_classes, "b.png", "beside class folders"),
        (_broken, "one/b.png", "cannot be read as PNG"),
        (_truncated, "one/a.png", "cannot be read as PNG"),
        (_size, "one/b.png", "is 9x9 pixels; the recipe wants 8x8"),
        (_mode, "one/a.png", "has mode RGB; the recipe wants L"),
        (_link, "c.png", "is a link"),
        (_nested, "one/deeper", "is not a file"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, make: Callable[[Path], Path], named: str, says: str
) -> None:
    folder = make(tmp_path)
    with pytest.raises(DataError) as caught:
        read_image_folder(folder, GREY)
    assert str(caught.value.path).endswith(named)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
