"""Kill workers at random moments and compare the shards that arrive, byte by byte, with uninterrupted ones.

    PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/resume.py [--rounds N] [--device cuda] [--out FILE]

Each round is an owner's home of its own with one job. Its worker, a process that trains, measures the shard at the gate
and ships it over mutual TLS, is killed (SIGKILL) up to three times, each time after a random share of the seconds that
a whole run takes here, and started again; the last one is left alone. What then arrived is compared with the weights
of the same training run in one go. Everything is on one thread, on one machine. Written to docs/results/resume.json, or
with --device cuda, where the network is run in bfloat16 if the GPU has it, to docs/results/resume_gpu.json.
"""

import argparse
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import recording
import torch
from client.exchange_service import Service
from client.samples import Federation, tiny_recipe
from client.worker_runs import keeping_home, queued, start, uninterrupted

from severable_client.bootstrap import Home
from severable_client.ports import Job, JobState

SEED, ROUNDS, MOST_KILLS, PATIENCE_S = 17, 12, 3, 900.0
RECIPE = tiny_recipe(max_steps=900, epochs=100_000, held_out=0.2, check_every=50, patience=100)
PACKAGES = ("torch", "diffusers", "grpcio", "safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One job's end.

    Attributes:
        killed_in: the state that the job was in at each kill, in order.
        killed_at: the last step that it had told of by then.
        arrived: shards that arrived.
        equal: whether the weights that arrived are the uninterrupted ones, byte for byte.
    """

    killed_in: tuple[str, ...]
    killed_at: tuple[int, ...]
    arrived: int
    equal: bool


def main() -> None:
    """Run and record; exit 1 unless every shard arrived once and was equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="jobs, each killed anew (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the workers train")
    parser.add_argument("--out", type=Path, help="default: docs/results/resume.json, or resume_gpu.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    on_gpu = args.device == "cuda"
    figures = {"device": torch.cuda.get_device_name() if on_gpu else "cpu", **measure(args.rounds, args.device)}
    command = "PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/resume.py"
    command += " --device cuda" if on_gpu else ""
    seeds = {"moments of kills": SEED, "trainings": "each job's own, drawn by its home"}
    out = args.out or recording.RESULTS / ("resume_gpu.json" if on_gpu else "resume.json")
    recording.record(out, command, seeds, PACKAGES, figures)
    print(f"{figures['kills']} kills in {figures['rounds']} jobs; resume_bit_exact {figures['resume_bit_exact']}")
    if not figures["resume_bit_exact"]:
        raise SystemExit("a shard differs, or did not arrive once")


def measure(rounds: int, device: str) -> dict[str, Any]:
    """Return the figures: `resume_bit_exact`, and where the kills fell."""
    chance = random.Random(SEED)  # noqa: S311  # no secret
    whole_s = _whole_run_s(device)
    seen = [_round(chance, whole_s, number, device) for number in range(rounds)]
    states = Counter(state for one in seen for state in one.killed_in)
    return {
        "resume_bit_exact": bool(seen) and all(one.equal and one.arrived == 1 for one in seen),
        "rounds": rounds,
        "kills": sum(states.values()),
        "kills_by_state": dict(sorted(states.items())),
        "steps_at_kills": [one.killed_at for one in seen],
        "whole_run_s": round(whole_s, 1),
    }


def _whole_run_s(device: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        federation = Federation.make()
        with keeping_home(federation, Path(folder), Service(), device) as home:
            began_s = time.monotonic()
            _finish(start(home, queued(home, federation, RECIPE)))
            return time.monotonic() - began_s


def _round(chance: random.Random, whole_s: float, number: int, device: str) -> Round:
    federation, service = Federation.make(), Service()
    with tempfile.TemporaryDirectory() as folder, keeping_home(federation, Path(folder), service, device) as home:
        job = queued(home, federation, RECIPE)
        killed: list[tuple[str, int]] = []
        for _ in range(chance.randint(1, MOST_KILLS)):
            after_s = chance.uniform(0.0, whole_s)
            if not _killed(start(home, job), after_s):
                break  # it was over sooner
            killed.append(_where(home, job))
        if _where(home, job)[0] != JobState.SHIPPED:
            _finish(start(home, job))
        equal = service.held.get("model.safetensors") == uninterrupted(home, job, RECIPE)
        arrived = len({*service.claims})
    told = ", ".join(f"{state} at step {step}" for state, step in killed) or "none: over sooner"
    print(f"job {number + 1}: killed {told}; {'equal' if equal else 'DIFFERENT'}", flush=True)
    states, steps = tuple(state for state, _ in killed), tuple(step for _, step in killed)
    return Round(killed_in=states, killed_at=steps, arrived=arrived, equal=equal)


def _where(home: Home, job: Job) -> tuple[str, int]:
    """The job's state and step, as it last told them."""
    held = home.jobs.get(job.id)
    if held is None:
        raise SystemExit(f"job {job.id} is gone")
    return held.report.state.value, held.report.step


def _killed(worker: subprocess.Popen[str], after_s: float) -> bool:
    """Kill a worker after some seconds; return whether it still ran."""
    try:
        worker.wait(after_s)
    except subprocess.TimeoutExpired:
        worker.send_signal(signal.SIGKILL)
    worker.communicate(timeout=PATIENCE_S)
    return worker.returncode == -signal.SIGKILL


def _finish(worker: subprocess.Popen[str]) -> None:
    """Let a worker come to its end. SystemExit if it fails."""
    _, complained = worker.communicate(timeout=PATIENCE_S)
    if worker.returncode:
        raise SystemExit(f"a worker ended with {worker.returncode}: {complained}")


if __name__ == "__main__":
    main()
