"""Measure training steps per second beside diffusers' own unconditional example: docs/results/throughput.json.

    PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/throughput.py --example PATH [--packages FOLDER]

PATH is `examples/unconditional_image_generation/train_unconditional.py` of https://github.com/huggingface/diffusers,
and requirements-throughput.txt names what it needs, best installed in a FOLDER apart (`make throughput` does so). It is
run as it is, offline, in a process of its own; benchmarks/training_example.py says what little is put around it.

Both sides have the same network, image files, batch size and one thread; one trains while the others stand still, turn
after turn, and the ratio is taken within a turn. Three cases of 7 turns take about 4 minutes. With --device cuda, which
writes docs/results/throughput_gpu.json, the example has torch's own number of threads, and one network is what the
example trains where it is given none.
"""

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import recording
import torch
from throughput_cases import CASES, GPU_CASES, SEED, Case, recipe_of, write_images

from severable_diffusion import network
from severable_diffusion.images import read_image_folder
from severable_diffusion.training import Trainer

SOURCE = "https://github.com/huggingface/diffusers, examples/unconditional_image_generation/train_unconditional.py"
PACKAGES = ("torch", "diffusers", "accelerate", "datasets", "torchvision", "tensorboard")
TURNS = 7
EXAMPLE, EXAMPLE_NARROW = "example_float32", "example_bfloat16"


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--example", type=Path, required=True, help="diffusers' train_unconditional.py")
    parser.add_argument("--packages", type=Path, help="folder with the example's packages, if they are kept apart")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where both sides train")
    parser.add_argument("--out", type=Path, help="default: docs/results/throughput.json, or throughput_gpu.json")
    args = parser.parse_args()
    on_gpu = args.device == "cuda"
    if not args.example.is_file():
        sys.exit(f"{args.example} is not there; get it from {SOURCE}")
    torch.set_num_threads(1)
    if args.packages:
        sys.path.append(str(args.packages))  # for the versions; nothing of it is imported here
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), args.example.resolve(), args.packages, None if on_gpu else 1)
        cases = {name: bench.measure(case) for name, case in (GPU_CASES if on_gpu else CASES).items()}
    figures = {
        "example": SOURCE,
        "example_sha256": hashlib.sha256(args.example.read_bytes()).hexdigest(),
        "example_runs": "unmodified; its end-of-step log call waits for its turn, and its step's functions are timed",
        "operators_declared_for_torchvision": bench.declared,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "threads": {"ours": 1, "example": "torch's own number" if on_gpu else 1},
        "turns": TURNS,
        "steps_per_s_ratio": min(case["ratios"]["default"]["median"] for case in cases.values()),
        "steps_per_s_ratio_both_bfloat16": min(case["ratios_both_bfloat16"]["median"] for case in cases.values()),
        "cases": cases,
    }
    recording.record(
        args.out or recording.RESULTS / ("throughput_gpu.json" if on_gpu else "throughput.json"),
        command="PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/throughput.py --example PATH"
        + (" --device cuda" if on_gpu else ""),
        seeds={"images": SEED, "training": SEED, "the example's training": "torch's own"},
        packages=PACKAGES,
        figures=figures,
    )
    print(json.dumps(figures, indent=2))


def example_options(case: Case, scratch: Path, precision: str) -> list[str]:
    """The script's command line: one epoch that the measurement does not reach the end of."""
    model = scratch / f"model-{'-'.join(map(str, case.widths))}"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_bytes(network.config_bytes(recipe_of(case)))
    given = {
        "model_config_name_or_path": model,
        "train_data_dir": write_images(scratch, case),
        "cache_dir": scratch / "cache",
        "output_dir": scratch / f"out-{precision}",
        "resolution": case.size,
        "train_batch_size": case.batch,
        "num_epochs": 1,
        "checkpointing_steps": 1_000_000,
        "mixed_precision": precision,
    }
    return ["--use_ema", *(f"--{name}={value}" for name, value in given.items())]


class Bench:
    """The sides and their turns.

    Args:
        scratch: a folder for what the sides read and write.
        script: diffusers' example.
        packages: a folder with its packages, or None.
        threads: the example's; None leaves it torch's own number.

    Attributes:
        declared: torchvision's operators that had to be declared.
    """

    def __init__(self, scratch: Path, script: Path, packages: Path | None, threads: int | None) -> None:
        self.scratch, self.script, self.threads = scratch, script, threads
        self.apart = {"PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{packages.resolve()}"} if packages else {}
        self.common = dict(os.environ) | {"TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor")}
        self.common |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
        self.declared: list[str] = []

    @contextlib.contextmanager
    def sides(self, case: Case) -> Iterator[dict[str, Connection]]:
        """Start every side, each waiting for its first turn."""
        pipes: dict[str, Connection] = {}
        with contextlib.ExitStack() as stack:
            for name, precision in ((EXAMPLE, "no"), (EXAMPLE_NARROW, "bf16")):
                pipes[name] = stack.enter_context(self.side("training_example.py", self.common | self.apart))
                pipes[name].send((self.script, example_options(case, self.scratch, precision), self.threads))
            for name, plan in case.plans.items():
                pipes[name] = stack.enter_context(self.side("training_ours.py", self.common))
                pipes[name].send((recipe_of(case), write_images(self.scratch, case), plan, SEED))
            for name in (EXAMPLE, EXAMPLE_NARROW):
                self.declared = pipes[name].recv()
            yield pipes
            for pipe in pipes.values():
                pipe.send(0)

    @contextlib.contextmanager
    def side(self, program: str, environment: dict[str, str]) -> Iterator[Connection]:
        """Start one side; what it prints goes to a file in the scratch folder."""
        pipe, theirs = Pipe()
        command = [sys.executable, "-P", str(Path(__file__).with_name(program)), str(theirs.fileno())]
        with (self.scratch / "words").open("ab") as words:
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdout=words, stderr=words)
        theirs.close()
        try:
            yield pipe
        except (EOFError, ConnectionError) as error:
            sys.exit(f"{program} ended early ({error!r}):\n{(self.scratch / 'words').read_text()[-3000:]}")
        finally:
            pipe.close()
            process.wait()

    def measure(self, case: Case) -> dict[str, Any]:
        """Warm every side up, then let them train in turns."""
        if case.batch * (2 + case.steps * TURNS) > case.images:
            raise ValueError(
                f"{case}: the example would end its epoch of {case.images} images; take fewer steps a turn"
            )
        seconds: dict[str, list[float]] = {}
        parts: dict[str, list[dict[str, float]]] = {}
        first: dict[str, float] = {}
        with self.sides(case) as pipes:
            for pipe in pipes.values():
                pipe.send(1)
            begun = time.perf_counter()
            for name, pipe in pipes.items():
                pipe.recv()
                first[name] = round(time.perf_counter() - begun, 1)
            for number in range(TURNS):
                for name, pipe in pipes.items():
                    taken, spent = turn(pipe, case.steps)
                    seconds.setdefault(name, []).append(taken / case.steps)
                    parts.setdefault(name, []).append({part: value / taken for part, value in spent.items()})
                print(f"{case.widths}, {case.batch} images: turn {number + 1} of {TURNS}", file=sys.stderr)
        return {
            "steps_per_turn": case.steps,
            "seconds_until_the_first_step_is_done": first,
            **compared(case, seconds, parts),
            "operations_of_the_default_plan": self.operations(case),
        }

    def operations(self, case: Case) -> dict[str, float]:
        """The default plan's; see the function below."""
        recipe = recipe_of(case)
        images_NCHW = read_image_folder(write_images(self.scratch, case), recipe.image).images_NCHW
        trainer = Trainer(recipe, images_NCHW, SEED, plan=case.plans["default"])
        trainer.advance()
        return operations(trainer, 4)


def compared(case: Case, seconds: dict[str, list[float]], parts: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Times, ratios and shares."""
    theirs = seconds[EXAMPLE]
    without_data = [taken * (1.0 - spent["data"]) for taken, spent in zip(theirs, parts[EXAMPLE], strict=True)]
    return {
        "ms_per_step": {name: round(statistics.median(taken) * 1e3, 2) for name, taken in seconds.items()},
        "ratios": {name: ratio(theirs, seconds[name]) for name in case.plans},
        "ratios_without_the_examples_data_loading": {name: ratio(without_data, seconds[name]) for name in case.plans},
        "ratios_both_bfloat16": ratio(seconds[EXAMPLE_NARROW], seconds["bfloat16"]),
        "shares_of_a_step": {name: shares(found) for name, found in parts.items()},
    }


def turn(pipe: Connection, steps: int) -> tuple[float, dict[str, float]]:
    """Let one side train."""
    pipe.send(steps)
    answer: tuple[float, dict[str, float]] = pipe.recv()
    return answer


def ratio(theirs: list[float], own: list[float]) -> dict[str, float]:
    """Our steps per second over theirs: the median of the turns, and the turns' quartiles."""
    found = sorted(their / our for their, our in zip(theirs, own, strict=True))
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
    return {"median": round(middle, 3), "lower_quartile": round(low, 3), "upper_quartile": round(high, 3)}


def shares(turns: list[dict[str, float]]) -> dict[str, float]:
    """Each part's median share of a step; what no part holds is the rest."""
    found = {part: round(statistics.median(spent[part] for spent in turns), 4) for part in turns[0]}
    return found | {"rest": round(1.0 - sum(found.values()), 4)}


def operations(trainer: Trainer, steps: int) -> dict[str, float]:
    """The ten operations, on a GPU its kernels, with most of a step's own time, by torch's profiler, as shares."""
    on_gpu = trainer.plan.device != "cpu"
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, *([activity.CUDA] if on_gpu else [])]) as profile:
        for _ in range(steps):
            trainer.advance()
    own = {
        entry.key: entry.self_device_time_total if on_gpu else entry.self_cpu_time_total
        for entry in profile.key_averages()
        if not on_gpu or entry.device_type.name != "CPU"
    }
    total = sum(own.values())
    return {key[:120]: round(own[key] / total, 4) for key in sorted(own, key=lambda key: -own[key])[:10]}


if __name__ == "__main__":
    main()
