"""Measure what a removal costs beside retraining, and what it changes; write it down.

    PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/removal.py --data FOLDER     (hours; see --help)
    PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/removal.py --size small --out /tmp/removal.json

Eight parties, split by class. A removal is timed from the owner's request to the exact composite: request verified and
acknowledged, withdrawn, erased, rebuilt. What it is compared with is what would have to be trained anew where one model
holds everybody: a monolith on the same images, with as many steps as all shards together. Its steps are timed in turns
with the removals, so that both met the same machine; so is the share of a shard's training that a router takes.
`eager` has the routers prepared, `cold` trains the router; both must end in the same digest. One thread, one run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import recording
import torch
from coordinator.federation import GROUP, quiet
from removal_quality import membership, retained
from removal_world import SEED, Monolith, Parties, read_images, recipe_of, say, train

from severable_coordinator.build_times import ROUTER, noted_times
from severable_coordinator.shard_sets import compartment_of

if TYPE_CHECKING:
    from severable_coordinator.bootstrap import Coordinator

PACKAGES = ("torch", "diffusers", "numpy", "scikit-learn")
DIGITS = recording.ROOT / "deploy/severable_demo/recipes/digits.json"
FASHION = recording.ROOT / "benchmarks/quality/sizes/cpu.json"
SIZES: dict[str, dict[str, Any]] = {
    "full": {"steps": 8000, "samples": 40_000, "turns": 3, "per_class": 1000, "router_steps": None},
    "small": {"steps": 40, "samples": 200, "turns": 1, "per_class": 60, "router_steps": 20},
}
STEPS_TIMED = 200  # of the monolith, after each removal
BARS = {
    "speedup_eager": (">=", 100.0),
    "speedup_cold": (">=", 8.0),
    "router_share_of_training": ("<=", 0.04),
    "withdraw_s": ("<=", 1.0),
    "retained_change": ("<=", 0.01),
}


def main() -> None:
    """Run and record."""
    args = _arguments()
    torch.set_num_threads(1)
    images = read_images(args.data, args.dataset, args.pixels, args.per_class)
    training = {"epochs": 1_000_000, "max_steps": args.steps}  # the steps decide, however few the images
    if args.batch:
        training["batch"] = args.batch
    router = {"steps": args.router_steps} if args.router_steps else {}
    base = DIGITS if args.data is None else FASHION
    recipe = recipe_of(base, images, {"training": training, "router": router})
    say(f"{images.name}: {len(images.train_NCHW)} images of {len(images.rows)} parties, {args.steps} steps a shard")
    with tempfile.TemporaryDirectory() as scratch:
        keep = args.keep or Path(scratch) / "trained"
        keep.mkdir(parents=True, exist_ok=True)
        trained = train(images, recipe, keep)
        world = Parties.with_shards(Path(scratch) / "home", recipe, trained)
        say("composite assembled")
        parties, samples = list(images.rows)[: args.turns], min(512, args.samples)
        figures: dict[str, Any] = {"shard_trained_s": trained.shard_s}
        figures |= removed(world, Monolith(images, recipe), parties, samples, Path(scratch))
        figures |= membership(world, images, Path(scratch)) | retained(world, images, args.samples)
    figures |= _crash_points(args.crash_points)
    figures["bars"] = {name: f"{sign} {bar}" for name, (sign, bar) in BARS.items()}
    figures["met"] = {
        name: figures[name] >= bar if sign == ">=" else figures[name] <= bar for name, (sign, bar) in BARS.items()
    }
    seeds = {"shards and monolith": SEED, "samples, features, bootstrap": SEED}
    recording.record(args.out, " ".join(["benchmarks/removal.py", *sys.argv[1:]]), seeds, PACKAGES, figures)
    for name, (sign, bar) in BARS.items():
        say(f"{name} {figures[name]:.4g}, the bar is {sign} {bar}: {'met' if figures['met'][name] else 'missed'}")
    say(f"membership AUC before {figures['membership_auc_before']:.3f}, after {figures['membership_auc_after']:.3f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="folder with mnist, fashion-mnist, cifar10; else scikit-learn's digits"
    )
    parser.add_argument("--dataset", default="fashion-mnist", help="which of them")
    parser.add_argument("--pixels", type=int, default=16, help="size of the images")
    parser.add_argument("--size", choices=sorted(SIZES), default="full", help="small: figures mean nothing")
    parser.add_argument("--steps", type=int, help="optimizer steps of one shard")
    parser.add_argument("--router-steps", type=int, help="optimizer steps of a router; the recipe's by default")
    parser.add_argument("--batch", type=int, help="images of a step; the recipe's by default")
    parser.add_argument("--per-class", type=int, help="training images of each class of --data")
    parser.add_argument("--samples", type=int, help="images drawn for each Frechet distance")
    parser.add_argument("--turns", type=int, help="how many parties are removed, each from a fresh copy")
    parser.add_argument("--keep", type=Path, help="folder for what is trained, so that a run can be gone on with")
    parser.add_argument("--crash-points", type=Path, help="JSON with crash_points and crash_points_passed of the tests")
    parser.add_argument("--out", type=Path, default=recording.RESULTS / "removal.json")
    args = parser.parse_args()
    for name, value in SIZES[args.size].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def removed(world: Parties, monolith: Monolith, parties: list[str], samples: int, scratch: Path) -> dict[str, Any]:
    """Remove one party after another, each from fresh copies: cold, and with the routers prepared."""
    begun = time.perf_counter()
    prepared = world.copied(scratch / "prepared")
    routers = replace(prepared.readiness, retained=None)
    while routers.prepare_next(lambda: False, quiet):
        pass
    prepared_s = time.perf_counter() - begun
    say(f"{len(world.owners)} routers prepared in {prepared_s:.1f} s")
    turns: list[dict[str, Any]] = []
    for party in parties:
        cold = timed(world, world.copied(scratch / f"cold-{party}"), party, samples)
        step_s = monolith.step_s(STEPS_TIMED)
        eager = timed(world, world.copied(scratch / f"eager-{party}", prepared), party, samples)
        step_s = (step_s + monolith.step_s(STEPS_TIMED)) / 2
        if cold["after"] != eager["after"]:
            raise SystemExit(f"removal of {party}: the prepared composite is not the cold one's")
        turns.append({"party": party, "cold": cold, "eager": eager, "step_s": step_s})
        say(f"without {party}: cold {cold['seconds']:.2f} s, eager {eager['seconds']:.2f} s, same digest")
    return {
        **{f"speedup_{kind}": _speedup(turns, kind, monolith.steps) for kind in ("eager", "cold")},
        "withdraw_s": max(turn[kind]["withdraw_s"] for turn in turns for kind in ("cold", "eager")),
        "router_share_of_training": median(
            turn["cold"]["router_s"] / turn["step_s"] / monolith.steps_of_a_shard for turn in turns
        ),
        "monolith_steps": monolith.steps,
        "monolith_s": median(turn["step_s"] for turn in turns) * monolith.steps,
        "monolith_steps_timed": 2 * STEPS_TIMED * len(turns),
        **{f"{kind}_s": median(turn[kind]["seconds"] for turn in turns) for kind in ("cold", "eager")},
        "prepared_all_s": prepared_s,
        "turns": turns,
    }


def _speedup(turns: list[dict[str, Any]], kind: str, steps: int) -> float:
    """How often a removal fits into a training of so many steps, both as timed in one turn; the median turn's."""
    return float(median(steps * turn["step_s"] / turn[kind]["seconds"] for turn in turns))


def timed(world: Parties, coordinator: Coordinator, party: str, samples: int) -> dict[str, Any]:
    """Carry a removal out, with proof, and say when each step began and what it ended in."""
    marks: list[tuple[str, float]] = []
    begun = time.perf_counter()

    def stamp(what: str, _done: int, _total: int) -> None:
        if what.startswith("removal: "):
            marks.append((what.removeprefix("removal: "), time.perf_counter() - begun))

    request = world.request(coordinator, party)
    asked_s = time.perf_counter() - begun
    removal = replace(coordinator.removal, retained=replace(coordinator.removal.retained, samples=samples))
    record = removal.run(coordinator.removals.removal(request), stamp, prove=True)
    ends = {name: marks[place + 1][1] for place, (name, _) in enumerate(marks[:-1])}
    begins = dict(marks)
    after = coordinator.building.live(GROUP)
    proof = coordinator.removal.facts(record, "prove")
    if not proof["equal"]:
        raise SystemExit(f"removal of {party}: built from scratch it differs, see {proof}")
    return {
        "seconds": ends["rebuild"],
        "acknowledged_s": asked_s,
        "withdraw_s": ends["withdraw"],
        "steps_s": {name: ends[name] - begins[name] for name in ends},
        "router_s": noted_times(coordinator.vault, compartment_of(after.members)).get(ROUTER, 0.0),
        "after": str(after.id),
        "proved_files": sum(one["files"] for one in proof["composites"]),
        "quality_on_banks": coordinator.removal.facts(record, "quality")["composites"],
    }


def _crash_points(path: Path | None) -> dict[str, Any]:
    """What the tests of crashes counted, as their own file says; nothing where it is not given."""
    if path is None:
        return {"crash_points": None, "crash_points_passed": None}
    read = json.loads(path.read_text())
    counted = read.get("figures", read)
    return {name: int(counted[name]) for name in ("crash_points", "crash_points_passed")}


if __name__ == "__main__":
    main()
