"""The quality program with conditions, from images to report, on a few real images of each class; and its resuming."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from quality import data, draws
from quality.features import NETWORKS
from quality.plan import read_size
from quality.splits import parts_of

from severable_diffusion.budget import planned_steps

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SEVERABLE_DATA", REPOSITORY.parent / "shared" / "data"))
CIFAR = DATA / "cifar10"
SIZE = "tiny-conditional"
LEFT = 3

pytestmark = pytest.mark.integration
needs_images = pytest.mark.skipif(
    not CIFAR.is_dir(), reason="the real images are not beside the repository: put cifar10 into ../shared/data"
)


def tiles(path: Path) -> np.ndarray:
    """Read a sheet by the words of the data's README: row-major cells of 32 x 32."""
    sheet = np.asarray(Image.open(path).convert("RGB"))
    height, width, _ = sheet.shape
    return sheet.reshape(height // 32, 32, width // 32, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)


def as_bytes(x_NCHW: torch.Tensor) -> list[bytes]:
    pixels = ((x_NCHW + 1.0) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return sorted(one.tobytes() for one in pixels)


@pytest.fixture(scope="module")
def corner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of the first 32 real images of every class, in sheets as the whole set's."""
    folder = tmp_path_factory.mktemp("images")
    for path in sorted(CIFAR.glob("t*/*.webp")):
        (folder / "cifar10" / path.parent.name).mkdir(parents=True, exist_ok=True)
        Image.open(path).crop((0, 0, 16 * 32, 2 * 32)).save(
            folder / "cifar10" / path.parent.name / path.name, lossless=True
        )
    return folder


@needs_images
def test_all_cifar_images_are_read_from_the_sheets_each_with_its_class() -> None:
    images = data.load("cifar10", DATA, 32)
    mask = np.load(CIFAR / "lossless_mask.npz")
    assert mask["train"].shape == (10, 5000)
    assert mask["test"].shape == (10, 1000)
    assert torch.bincount(images.train_label_N).tolist() == [5000] * 10
    assert torch.bincount(images.test_label_N).tolist() == [1000] * 10
    assert images.train_NCHW.shape == (50000, 3, 32, 32)
    # The values that the README gives for the whole set, to its four places.
    mean_C, std_C = images.train_NCHW.mean(dim=(0, 2, 3)) / 2 + 0.5, images.train_NCHW.std(dim=(0, 2, 3)) / 2
    assert mean_C.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
    assert std_C.tolist() == pytest.approx([0.2470, 0.2435, 0.2616], abs=1e-4)
    # Any prefix is mixed: measures take the first so many.
    assert torch.bincount(images.test_label_N[:1000], minlength=10).min() > 60


@needs_images
def test_a_tile_is_read_with_its_rows_columns_and_colours_in_place(corner: Path) -> None:
    images = data.load("cifar10", corner, 32)
    for label, name in enumerate(data.NAMES["cifar10"]):
        wanted = tiles(CIFAR / "train" / f"{label}_{name}.webp").reshape(50, 100, 32, 32, 3)[:2, :16]
        own = images.train_NCHW[images.train_label_N == label]
        assert as_bytes(own) == sorted(one.tobytes() for one in wanted.reshape(-1, 32, 32, 3))


@needs_images
def test_a_few_images_of_each_class_are_the_same_ones_every_time(corner: Path) -> None:
    one, other = (data.load("cifar10", corner, 16, per_class=4) for _ in range(2))
    assert torch.bincount(one.train_label_N).tolist() == [4] * 10
    assert torch.bincount(one.test_label_N).tolist() == [2] * 10
    assert torch.equal(one.train_NCHW, other.train_NCHW)


def test_labels_are_drawn_evenly_of_those_that_some_shard_has_seen() -> None:
    label_N = draws.evenly([(0, 5, 0, 0), (0, 0, 0, 7)], 7)
    assert label_N.tolist() == [1, 3, 1, 3, 1, 3, 1]


def test_the_gpu_size_trains_shards_and_monolith_on_equally_many_images_and_asks_for_a_gpu() -> None:
    size = read_size("gpu")
    assert size.cuda is not None
    assert size.cuda.device == "cuda"
    assert size.cuda.autocast is torch.bfloat16
    assert read_size("cpu").cuda is None
    label_N = torch.arange(10).repeat_interleave(5000)
    steps = {
        split: sum(planned_steps(size.recipe.training, len(part.rows_N)) for part in parts_of(split, label_N))
        for split in ("all", "class-10", "class-8", "iid-8")
    }
    # A shard's last, partly filled batch of an epoch is a whole step.
    assert all(count == pytest.approx(steps["all"], rel=0.03) for count in steps.values())


def test_the_larger_feature_network_takes_images_of_any_size() -> None:
    network = NETWORKS["res128"].build(3, 32)
    assert network.body(torch.zeros(2, 3, 16, 16)).shape == (2, 128)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def command(images: Path, folder: Path, *options: str) -> list[str]:
    program = [sys.executable, "-P", "-m", "quality", "--size", SIZE, "--data", str(images), "--device", "cpu"]
    places = ["--work", str(folder / "work"), "--results", str(folder / "results"), "--jobs", "1"]
    return [*program, *places, *options]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def finished(images: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(images, folder, *options), env=environment(), capture_output=True, text=True, check=False
    )


def killed_when(images: Path, folder: Path, pattern: str) -> None:
    """Run the program, and kill it as soon as a file of this pattern is in the work folder."""
    with subprocess.Popen(command(images, folder), env=environment(), stdout=subprocess.DEVNULL) as process:
        while not any((folder / "work").glob(pattern)):
            assert process.poll() is None, f"ended before {pattern} was there"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if "seconds" not in key}
    return value


def measured(folder: Path) -> dict[str, Any]:
    found = sorted((folder / "work" / "cifar10" / "measures").glob("*.json"))
    return {path.name: without_times(json.loads(path.read_text())) for path in found}


@pytest.fixture(scope="module")
def whole(corner: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run without a break."""
    folder = tmp_path_factory.mktemp("whole")
    ran = finished(corner, folder)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.soak
@needs_images
def test_a_run_with_conditions_trains_measures_and_reports(whole: Path) -> None:
    facts = json.loads((whole / "results" / f"quality-{SIZE}.json").read_text())["figures"]
    assert facts["ran_on"][0]["device"] == "cpu"
    own = facts["cifar10"]
    assert own["monolith"]["feature_network"] == "FD-conv64/cifar10-16"
    assert {"prior", "naive", "joint"} <= own["class-10"]["fd_ratio"].keys()
    assert {"prior", "naive"} <= own["iid-8"]["fd_ratio"].keys()
    assert own["class-10"]["guided"]["guidance_1.5"]["ratio"]["joint"] > 0.0
    assert 0.0 <= own["class-10"]["unlabelled"]["attribution"] <= 1.0
    assert (whole / "results" / f"quality-{SIZE}" / "cifar10-samples.png").exists()


@pytest.mark.soak
@needs_images
def test_a_label_goes_to_the_shard_that_has_seen_it_and_naive_averaging_runs_all_of_them(whole: Path) -> None:
    drawn = next(facts for name, facts in measured(whole).items() if name.startswith("drawn-class-10"))
    assert drawn["prior"]["evaluations_per_step"] == 1.0
    assert drawn["naive"]["evaluations_per_step"] == 10.0
    routed = next(facts for name, facts in measured(whole).items() if name.startswith("routed-class-10"))
    assert routed["full"]["evaluations_per_step"] == 1.0


@pytest.mark.soak
@needs_images
def test_a_composite_with_labels_is_after_a_removal_what_it_had_been_without_the_party(whole: Path) -> None:
    assert next(facts for name, facts in measured(whole).items() if name.startswith("exact"))["equal"]


@pytest.mark.soak
@needs_images
def test_a_run_whose_minutes_are_over_says_that_work_is_left(corner: Path, tmp_path: Path) -> None:
    for minutes in (
        0.05,
        0.1,
        0.2,
        0.4,
        0.8,
    ):  # the shortest that is enough to read the images is too short for the rest
        ran = finished(corner, tmp_path, "--minutes", str(minutes))
        if "too short" not in ran.stderr:
            break
    assert ran.returncode == LEFT, ran.stderr
    assert "run again to go on" in ran.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.soak
@needs_images
def test_a_run_that_was_killed_twice_gives_what_an_unbroken_one_gives(
    corner: Path, whole: Path, tmp_path: Path
) -> None:
    killed_when(corner, tmp_path, "cifar10/shards/all-0-*.progress")
    assert list((tmp_path / "work" / "cifar10" / "shards").glob("all-0-*.unfinished"))
    killed_when(corner, tmp_path, "cifar10/measures/drawn-class-10-*.json")
    last = finished(corner, tmp_path)
    assert last.returncode == 0, last.stderr
    for path in sorted((whole / "work" / "cifar10" / "shards").glob("*.safetensors")):
        assert (tmp_path / "work" / "cifar10" / "shards" / path.name).read_bytes() == path.read_bytes()
    assert measured(tmp_path) == measured(whole)
    assert not list((tmp_path / "work").rglob("*.unfinished"))


@pytest.mark.soak  # in `make test`: the same line of the same program, in test_quality_program.py
def test_missing_images_are_told_in_one_line(tmp_path: Path) -> None:
    ran = finished(tmp_path, tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.strip().endswith("give the folder of the real images with --data")
    assert len(ran.stderr.strip().splitlines()) == 1
