"""Measuring a composite: the ways of drawing, distances by their names, Inception's file, the picture of shares."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from severable_diffusion.attribution import Attribution
from severable_diffusion.errors import DataError
from severable_diffusion.evaluation import BATCH, CUMULATIVE, DEFAULT, NAIVE, alone, draw, measure
from severable_diffusion.frechet import frechet_distance
from severable_diffusion.images import ImageFolder, read_image_folder
from severable_diffusion.pictures import COLOURS, plot_shares
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.recipe import ImageSpace
from severable_diffusion.yardstick import inception_yardstick, trained_yardstick


class Stand(nn.Module):
    """Called as Inception is: 2048 numbers of an image are its mean, times 1 to 2048 over 2048."""

    scale_D: torch.Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("scale_D", torch.arange(1, features + 1) / features)

    def forward(self, x_NCHW: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert x_NCHW.dtype == torch.uint8
        assert x_NCHW.shape[1] == 3
        mean_N1 = x_NCHW.flatten(1).float().mean(dim=1, keepdim=True)
        return mean_N1 * self.scale_D if return_features else mean_N1


def script(path: Path, features: int = 2048) -> Path:
    with pytest.warns(DeprecationWarning, match="deprecated"):  # torch's own, of the form that the file has
        torch.jit.script(Stand(features)).save(str(path))  # type: ignore[no-untyped-call]
    return path


def folder_of(path: Path, classes: int, count: int = 12) -> ImageFolder:
    noise = np.random.default_rng(0)
    for number in range(count):
        folder = path / f"class-{number % classes}" if classes > 1 else path
        folder.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 120, (8, 8), dtype=np.uint8) + np.uint8(120 * (number % classes))
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return read_image_folder(path, ImageSpace(1, 8))


@pytest.fixture
def pipeline(composite: Path) -> CompositePipeline:
    loaded = CompositePipeline.from_pretrained(composite)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_every_way_starts_at_the_same_noise_and_repeats(pipeline: CompositePipeline) -> None:
    ways = (DEFAULT, CUMULATIVE, NAIVE, *alone({"sha256:aa": "archive"}))
    first, second = ([draw(pipeline, way, count=6, seed=3) for way in ways] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.images_NCHW, other.images_NCHW)
    assert [drawn.attribution.evaluations_per_step for drawn in first] == [1.0, pytest.approx(2.0, abs=1.0), 3.0, 1.0]
    lone = first[3].attribution
    assert lone.realised_NK.tolist() == [[1.0, 0.0, 0.0]] * 6
    bound_N = first[0].attribution.realised_N
    assert bound_N is not None
    same = bound_N == 0  # by default a sample is one shard's from the first step on
    assert torch.allclose(first[0].images_NCHW[same], first[3].images_NCHW[same], atol=1e-5)


def test_many_images_are_drawn_in_batches_and_told_of(pipeline: CompositePipeline) -> None:
    said: list[tuple[str, int, int]] = []
    drawn = draw(pipeline, DEFAULT, count=BATCH + 3, seed=0, told=lambda *words: said.append(words))
    assert drawn.images_NCHW.shape == (BATCH + 3, 1, 8, 8)
    assert drawn.attribution.trajectory_SNK.shape == (5, BATCH + 3, 3)
    assert drawn.attribution.evaluations_per_step == 1.0
    assert said[-1] == ("drawing, default (draw_once)", 10, 10)
    assert drawn.processor_seconds > 0.0


def test_attributions_of_batches_join_and_those_of_other_shards_do_not(pipeline: CompositePipeline) -> None:
    bound, mixed = (draw(pipeline, way, count=2, seed=1).attribution for way in (DEFAULT, NAIVE))
    joined = Attribution.joined([bound, mixed])
    assert joined.realised_N is not None
    assert joined.realised_N[2:].tolist() == [-1, -1]
    assert torch.equal(joined.realised_NK, torch.cat([bound.realised_NK, mixed.realised_NK]))
    assert Attribution.joined([mixed]).realised_N is None
    with pytest.raises(ValueError, match="same shards"):
        Attribution.joined([])


def test_distances_are_to_the_half_that_the_classifier_was_not_trained_on(
    pipeline: CompositePipeline, tmp_path: Path
) -> None:
    real = folder_of(tmp_path / "real", classes=2)
    yardstick = trained_yardstick(tmp_path / "real", real, seed=0)
    assert yardstick.name == "FD-conv32"
    assert len(yardstick.reference_ND) == 6
    assert yardstick.accuracy == 1.0
    assert yardstick.floor == pytest.approx(yardstick.distance(real.images_NCHW[::2]))
    found = list(measure(pipeline, yardstick, (DEFAULT, NAIVE), count=8, seed=0))
    assert [measured.drawn.way for measured in found] == [DEFAULT, NAIVE]
    assert found[0].distance == pytest.approx(yardstick.distance(found[0].drawn.images_NCHW))


def test_a_classifier_needs_classes_and_two_halves(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one subfolder for each class"):
        trained_yardstick(tmp_path / "flat", folder_of(tmp_path / "flat", classes=1), seed=0)
    with pytest.raises(DataError, match="holds 3 images"):
        trained_yardstick(tmp_path / "few", folder_of(tmp_path / "few", classes=2, count=3), seed=0)


def test_in_inceptions_features_the_distance_is_an_fid_of_all_images_and_needs_no_labels(tmp_path: Path) -> None:
    real = folder_of(tmp_path / "real", classes=1)
    yardstick = inception_yardstick(tmp_path / "real", real, script(tmp_path / "inception.pt"))
    assert (yardstick.name, yardstick.accuracy) == ("FID", None)
    assert yardstick.reference_ND.shape == (12, 2048)
    mean_N1 = ((real.images_NCHW + 1.0) * 127.5).flatten(1).mean(dim=1, keepdim=True)
    expected_ND = mean_N1.double() * torch.arange(1, 2049) / 2048
    assert torch.allclose(yardstick.reference_ND, expected_ND, rtol=1e-5)
    darker_NCHW = (real.images_NCHW - 0.2).clamp(-1.0, 1.0)
    assert yardstick.distance(darker_NCHW) == pytest.approx(
        frechet_distance(yardstick.features(darker_NCHW), expected_ND), rel=1e-4
    )
    assert yardstick.distance(real.images_NCHW) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "cannot be read as TorchScript"),
        ("empty", "cannot be read as TorchScript"),
        ("weights", "cannot be read as TorchScript"),
        ("folder", "cannot be read as TorchScript"),
        ("linear", "does not take uint8 images"),
        ("narrow", r"gives \(2, 7\) for 2 images"),
    ],
)
def test_a_file_that_is_not_inception_is_named(tmp_path: Path, kind: str, reason: str) -> None:
    real, file = folder_of(tmp_path / "real", classes=1), tmp_path / "wrong.pt"
    match kind:
        case "empty":
            file.write_bytes(b"")
        case "weights":
            torch.save({"weight": torch.zeros(3)}, file)
        case "folder":
            file.mkdir()
        case "linear":
            with pytest.warns(DeprecationWarning, match="deprecated"):
                torch.jit.script(nn.Linear(3, 3)).save(str(file))  # type: ignore[no-untyped-call]
        case "narrow":
            script(file, features=7)
    with pytest.raises(DataError, match=reason) as refused:
        inception_yardstick(tmp_path / "real", real, file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_picture_of_shares_gives_every_party_its_part_of_every_bar(tmp_path: Path) -> None:
    shares = {
        "contract (lambda)": {"archive": 0.5, "clinic": 0.25, "agency": 0.25},
        "realised": {"archive": 0.3, "clinic": 0.699, "agency": 0.001},
    }
    for name in ("a.png", "b.png"):
        plot_shares(tmp_path / name, shares)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        colours = {colour: count for count, colour in picture.convert("RGB").getcolors(1 << 20) or []}
    agency, archive, clinic = (tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5)) for colour in COLOURS[:3])
    assert colours[clinic] > colours[archive] > colours[agency] > 1000
