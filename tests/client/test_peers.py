"""A worker whose training several processes share, for real: gloo on the CPU, and every way in which one can end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from client.exchange_service import Service
from client.samples import Federation, tiny_recipe
from client.test_interrupted import PATIENCE_S, stamp, until
from client.worker_runs import command, queued, served_home, uninterrupted
from safetensors.torch import load

from severable_client.adapters.leftovers import start_time
from severable_client.adapters.training_folder import CHECKPOINT
from severable_client.bootstrap import Home
from severable_client.ending import AGAIN_LATER
from severable_client.ports import Job
from severable_client.training import read_recipe
from severable_diffusion import network

pytestmark = pytest.mark.integration

SHORT = tiny_recipe(max_steps=40, epochs=100_000, held_out=0.2, check_every=10)
LONG = tiny_recipe(max_steps=1500, epochs=100_000, held_out=0.2, check_every=50, patience=100)


@pytest.fixture
def home(federation: Federation, tmp_path: Path, service: Service) -> Iterator[Home]:
    """A home whose trainings are kept as often as a configuration allows, by two processes."""
    kept = {"checkpoint_minutes": 0.01, "grid_minutes": 0.0}
    with served_home(federation, tmp_path, service, devices=2, **kept) as opened:
        yield opened


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def started(home: Home, job: Job) -> "subprocess.Popen[str]":
    """A worker in a group of its own, as the daemon starts it."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command(home, job), env=environment(), stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def peers_of(worker: int) -> list[tuple[int, str]]:
    """The peers of a worker, each by its id and start time."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split() if folder.name.isdigit() else []
            line = (folder / "cmdline").read_bytes() if stat else b""
        except OSError:
            continue
        if stat and int(stat[1]) == worker and b"spawn_main" in line:
            found.append((int(folder.name), start_time(int(folder.name))))
    return found


def gone(processes: list[tuple[int, str]]) -> bool:
    return all(start_time(pid) != began for pid, began in processes)


def soon(processes: list[tuple[int, str]], worker: "subprocess.Popen[str]") -> bool:
    """Whether they all end, though not they themselves but their parent was ended."""
    deadline = time.monotonic() + 60.0
    while not gone(processes) and time.monotonic() < deadline:
        time.sleep(0.1)
    worker.communicate(timeout=PATIENCE_S)
    return gone(processes)


def whole(home: Home, job: Job, size: int) -> bytes:
    """What as many processes make of the job if nobody interrupts them."""
    program = str(Path(__file__).with_name("training_together.py"))
    line = [sys.executable, "-P", program, str(home.layout.root), job.id, str(size)]
    subprocess.run(line, env=environment(), check=True, capture_output=True)
    return (home.layout.root / f"together-{size}").read_bytes()


def test_two_processes_ship_the_weights_of_one_up_to_rounding_and_say_that_they_were_two(
    home: Home, federation: Federation, service: Service
) -> None:
    job = queued(home, federation, SHORT)
    done = subprocess.run(command(home, job), env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    two, one = load(service.held["model.safetensors"]), load(uninterrupted(home, job, SHORT))
    recipe = json.loads(SHORT)
    start = network.build_seeded(read_recipe(SHORT), job.seed).state_dict()
    between = sum(float((two[name] - one[name]).square().sum()) for name in one)
    trained = sum(float((one[name] - start[name]).square().sum()) for name in one)
    assert (between / trained) ** 0.5 < 0.01
    assert max(float((two[name] - one[name]).abs().max()) for name in one) < recipe["training"]["learning_rate"]
    manifest = json.loads(service.held["manifest.json"])
    assert manifest["execution"] == {"processes": "2"}
    assert manifest["software"].keys() >= {"accelerate", "torch"}


@pytest.mark.soak
def test_a_job_of_which_one_process_was_killed_is_taken_up_to_the_bytes_of_two_that_were_not(
    home: Home, federation: Federation, service: Service
) -> None:
    job = queued(home, federation, LONG)
    kept = home.layout.jobs / job.id / "training" / CHECKPOINT
    worker = started(home, job)
    until(lambda: stamp(kept) > 0, worker)
    (peer,) = peers_of(worker.pid)
    os.kill(peer[0], signal.SIGKILL)
    said, complained = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 1, (said, complained)
    last = complained.splitlines()[-1]
    assert "process of this training has ended" in last
    assert last.endswith("; the job goes on from its last checkpoint")
    held = home.jobs.get(job.id)
    assert held is not None
    assert not held.report.state.final
    again = subprocess.run(command(home, job), env=environment(), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again
    assert "goes on after step" in again.stdout
    assert service.held["model.safetensors"] == whole(home, job, 2)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_no_process_outlives_a_worker_that_was_killed_or_asked_to_end(
    home: Home, federation: Federation, number: signal.Signals
) -> None:
    job = queued(home, federation, LONG)
    kept = home.layout.jobs / job.id / "training" / CHECKPOINT
    worker = started(home, job)
    until(lambda: stamp(kept) > 0, worker)
    peers = peers_of(worker.pid)
    assert [os.getpgid(pid) for pid, _ in peers] == [worker.pid]  # the daemon's group signals reach them
    before = stamp(kept)
    if number is signal.SIGTERM:
        os.killpg(worker.pid, number)  # as the daemon asks
        _, complained = worker.communicate(timeout=PATIENCE_S)
        assert worker.returncode == AGAIN_LATER, complained
        assert "asked to end after step" in complained
        assert stamp(kept) > before
    else:
        os.kill(worker.pid, number)  # and nobody else
    assert soon(peers, worker)


@pytest.mark.soak
def test_a_batch_that_has_no_image_for_a_process_ends_the_job_with_one_line(home: Home, federation: Federation) -> None:
    job = queued(home, federation, tiny_recipe(batch=1))
    done = subprocess.run(command(home, job), env=environment(), capture_output=True, text=True, check=False)
    held = home.jobs.get(job.id)
    assert held is not None
    assert (
        held.report.detail == "recipe field training.batch: is 1, too few for 2 processes; set `devices` to 1 or fewer"
    )
    assert done.returncode == 0
