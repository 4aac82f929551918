"""A removal that is killed anywhere is gone on with, once, and leaves nothing: removal_crashes.py has how."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from coordinator.byte_scan import found_in, of_key, of_weights
from coordinator.federation import GROUP, World, quiet, shard_files
from coordinator.removal_crashes import TRIGGERS

_SAMPLE = 3  # points of each trigger in `make test`


def killed(work: Path, points: int, *triggers: str) -> list[dict[str, Any]]:
    """What the program says of every point."""
    words = [sys.executable, "-P", "-m", "coordinator.removal_crashes", "--work", str(work)]
    for trigger in triggers:
        words += ["--trigger", trigger]
    words += ["--points", str(points), "--seed", "1"]
    folders = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Some points of every trigger, in one process: loading what it needs takes as long as several points."""
    return killed(tmp_path_factory.mktemp("sampled"), _SAMPLE, *TRIGGERS)


def failed(outcomes: list[dict[str, Any]]) -> list[str]:
    return [f"{o['trigger']}, before {o['point']} ({o['operation']}): {o['why']}" for o in outcomes if o["why"]]


@pytest.mark.integration
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_removal_killed_at_some_of_its_durable_operations_is_gone_on_with_and_leaves_nothing(
    sampled: list[dict[str, Any]], trigger: str
) -> None:
    outcomes = [outcome for outcome in sampled if outcome["trigger"] == trigger]
    assert len(outcomes) == _SAMPLE
    assert failed(outcomes) == []


@pytest.mark.soak
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_removal_killed_at_any_of_its_durable_operations_is_gone_on_with_and_leaves_nothing(
    tmp_path: Path, trigger: str
) -> None:
    outcomes = killed(tmp_path, 0, trigger)
    assert len(outcomes) > 30
    assert failed(outcomes) == []


def test_the_scan_finds_weights_and_keys_wherever_they_lie(tmp_path: Path) -> None:
    """Before a removal it finds them in the vault's key file and the composite; planted, in any file at any offset."""
    world = World.of(tmp_path / "home", "agency")
    world.ship("agency")
    world.coordinator.building.assemble(GROUP, quiet)
    weights = shard_files("agency")["model.safetensors"]
    keyset = (world.coordinator.layout.data_keys / "agency.json").read_bytes()
    secrets = [*of_weights("agency", weights), *of_key("agency", keyset)]
    found = found_in(world.home, secrets)
    assert any(line.startswith("keys/data/agency.json: data key of agency") for line in found)
    assert any(line.startswith("composites/") and "weights of agency" in line for line in found)
    assert len(found) == 2
    for number, secret in enumerate(secrets):
        (tmp_path / "planted").mkdir(exist_ok=True)
        (tmp_path / "planted" / "log").write_bytes(b"x" * number + secret.data + b"y")
        assert len(found_in(tmp_path / "planted", secrets)) == 1
