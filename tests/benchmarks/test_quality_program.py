"""The quality program from end to end at its smallest size, on images made up on the spot."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.synthetic import write_mnist

ROOT = Path(__file__).parents[2]
PICTURES = ("baselines", "costs", "dispatch", "number", "ratios", "routers", "samples")


def quality(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT / "benchmarks"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    places = ["--data", str(folder / "data"), "--work", str(folder / "work"), "--results", str(folder / "results")]
    command = [sys.executable, "-P", "-m", "quality", *places, "--size", "tiny", "--datasets", "mnist", "--seeds", "0"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run([*command, *options], capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("quality")
    write_mnist(place / "data")
    done = quality(place)
    assert done.returncode == 0, done.stderr[-3000:]
    return place


@pytest.fixture(scope="module")
def figures(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results" / "quality-tiny.json").read_text())["figures"]["mnist"]
    return found


@pytest.mark.integration
@pytest.mark.soak
def test_it_measures_everything_and_writes_figures_pictures_and_page(folder: Path, figures: dict[str, Any]) -> None:
    assert {"monolith", "fedavg", "costs", "partial_noise_start", "class-10", "class-8"} <= figures.keys()
    made = {path.stem.removeprefix("mnist-") for path in (folder / "results" / "quality-tiny").glob("mnist-*.png")}
    assert made >= set(PICTURES)
    assert "## mnist" in (folder / "results" / "quality-tiny.md").read_text()


@pytest.mark.integration
@pytest.mark.soak
def test_federated_averaging_takes_the_monoliths_steps_and_is_held_against_it(figures: dict[str, Any]) -> None:
    found = figures["fedavg"]
    assert found["steps"] == found["monolith_steps"]
    assert found["ratio_to_monolith"]["mean"] > 0
    assert found["ratio_to_composite"]["mean"] > 0


@pytest.mark.integration
@pytest.mark.soak
def test_the_wide_monolith_has_about_the_parameters_of_ten_shards(figures: dict[str, Any]) -> None:
    found = figures["monolith"]["equal_parameters"]
    assert 8 < found["parameters"] / found["parameters_of_one_shard"] < 12


@pytest.mark.integration
@pytest.mark.soak
def test_costs_are_ratios_of_five_turns_at_two_batch_sizes(figures: dict[str, Any]) -> None:
    for kind in figures["costs"]["bars"]:
        found = figures["costs"][kind]
        assert set(found) == {"8", "32"}
        assert all(len(one["ratios"]) == 5 and one["ratio"] == sorted(one["ratios"])[2] for one in found.values())


@pytest.mark.integration
@pytest.mark.soak
def test_a_second_run_trains_and_measures_nothing_anew(folder: Path) -> None:
    kept = {path: path.stat().st_mtime_ns for path in (folder / "work").rglob("*") if path.is_file()}
    assert quality(folder).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "work").rglob("*") if path.is_file()} == kept


@pytest.mark.integration
def test_missing_images_are_one_clear_line_and_nothing_is_written(tmp_path: Path) -> None:
    done = quality(tmp_path)
    assert done.returncode != 0
    assert "is missing: give the folder of the real images with --data" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
@pytest.mark.soak
def test_a_report_of_nothing_measured_is_refused_in_one_line_and_replaces_no_results(tmp_path: Path) -> None:
    write_mnist(tmp_path / "data")
    done = quality(tmp_path, "--only", "report")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "has no measurement of the split class-10 with seed 0; train and measure first" in done.stderr
    assert not (tmp_path / "results").exists()
