"""Measure quality, from training to docs/results, resumable at every point.

PYTHONPATH=benchmarks python -P -m quality --data DIR [--work DIR] [--jobs 2] [--only train|measure|report]
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path

import torch
from recording import RESULTS

from quality import credit_plots, data, distances, page, plots, report, routing, shards
from quality.bench import Bench
from quality.measures import MEASURES, kept_by, ready, wanted
from quality.plan import FURTHER, MAIN, Size, Training, read_size, trainings
from quality.splits import parts_of


def main() -> None:
    """Run what is asked for."""
    args = _arguments()
    try:
        for name in args.datasets:
            data.load(name, args.data, read_size(args.size).recipe.image.size)
    except data.MissingDataError as error:
        sys.exit(f"quality: {error}")
    args.work.mkdir(parents=True, exist_ok=True)
    if args.only in (None, "train"):
        train_all(args.data, args.work, args.size, names=args.datasets, seeds=args.seeds, jobs=args.jobs)
    if args.only in (None, "measure"):
        measure_all(args.data, args.work, args.size, names=args.datasets, seeds=args.seeds, jobs=args.jobs)
    if args.only in (None, "report"):
        report_all(args.data, args.work, args.size, names=args.datasets, seeds=args.seeds, results=args.results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="quality", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with mnist, fashion-mnist, cifar10")
    parser.add_argument("--work", type=Path, default=Path("quality-work"), help="what is computed is kept here")
    parser.add_argument("--size", default="cpu", help="a file of benchmarks/quality/sizes")
    parser.add_argument("--datasets", nargs="+", default=["fashion-mnist", "mnist"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--results", type=Path, default=RESULTS, help="quality.json and its pictures are written here")
    parser.add_argument("--only", choices=("train", "measure", "report"))
    return parser.parse_args()


def train_all(folder: Path, work: Path, size: str, *, names: list[str], seeds: list[int], jobs: int) -> None:
    """Train every network that is not there yet, the ones of the main figures first."""
    todo: list[Training] = []
    first, others = names[:1], names[1:]
    order = [
        (first, seeds, MAIN),
        (others, seeds[:1], MAIN[:2]),
        (first, seeds[:1], FURTHER),
        (others, seeds[1:], MAIN[:2]),
    ]
    for names_of, seeds_of, splits in order:
        for name, seed in itertools.product(names_of, seeds_of):
            label_N = _images(folder, name, read_size(size).recipe.image.size).train_label_N
            todo += trainings(name, splits, seed, label_N)
    todo += [Training(data=names[0], split="all", part="all", seed=seeds[0], wide=True)]
    begun = time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(train_one, folder, work, size, one): one for one in todo}
        for done, future in enumerate(as_completed(running), 1):
            one, minutes = running[future], (time.monotonic() - begun) / 60.0
            print(
                f"{minutes:5.1f} min, {done}/{len(todo)}: {one.data} {one.part} seed {one.seed}: {future.result()}",
                flush=True,
            )


def train_one(folder: Path, work: Path, size: str, one: Training) -> str:
    """Train one network in this process, on one thread."""
    torch.set_num_threads(1)
    plan: Size = read_size(size)
    images = _images(folder, one.data, plan.recipe.image.size)
    part = next(part for part in parts_of(one.split, images.train_label_N) if part.name == one.part)
    recipe = plan.wider if one.wide else plan.recipe
    shard = shards.trained(work / one.data, recipe, one.part, images.train_NCHW[part.rows_N], seed=one.seed, told=_told)
    return f"{shard.steps} steps, {shard.seconds:.0f} s of processor time, loss {shard.loss:.4f}"


def measure_all(folder: Path, work: Path, size: str, *, names: list[str], seeds: list[int], jobs: int) -> None:
    """Measure all that is trained; what was measured already is kept."""
    todo = [
        (measure.name, name, seed)
        for measure in MEASURES
        for seed, name in itertools.product(seeds, names)
        if wanted(measure, name, seed, names[0], seeds[0])
    ]
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(measure_one, folder, work, size, one=one): one for one in todo}
        for done, future in enumerate(as_completed(running), 1):
            print(f"{done}/{len(todo)} {' '.join(map(str, running[future]))}: {future.result()}", flush=True)


def measure_one(folder: Path, work: Path, size: str, *, one: tuple[str, str, int]) -> str:
    """Do one measurement in this process, on one thread, if what it needs is trained."""
    torch.set_num_threads(1)
    what, name, seed = one
    plan = read_size(size)
    bench = Bench(images=_images(folder, name, plan.recipe.image.size), size=plan, work=work, seed=seed)
    measure = next(one for one in MEASURES if one.name == what)
    if not ready(measure, bench):
        return "not trained yet"
    begun = time.monotonic()
    bench.once(what, kept_by(measure, bench), lambda: measure.run(bench))
    return f"{time.monotonic() - begun:.0f} s"


def report_all(folder: Path, work: Path, size: str, *, names: list[str], seeds: list[int], results: Path) -> None:
    """Write quality.json, its pictures and its page from what was measured."""
    figures, plan = report.write(work, size, results), read_size(size)
    sets = [report.Measured.read(work / name) for name in names]
    for measured in sets:
        name = measured.name
        made = plots.all_of(results / "quality", measured, figures[name])
        bench = Bench(images=_images(folder, name, plan.recipe.image.size), size=plan, work=work, seed=seeds[0])
        if ("routed-class-10", seeds[0]) in measured.facts:
            made.append(f"{name}-commitment.png")
            title = f"{name}, class-10: when samples of the full mixture commit to a shard"
            credit_plots.commitment(results / "quality" / made[-1], *routing.trajectory_of(bench, "class-10"), title)
        rows = {
            "real": bench.images.train_NCHW,
            "monolith": bench.draw(bench.monolith, None, "draw_once", "monolith").x_NCHW,
        }
        federation = bench.federation("class-10")
        rows["composite"] = bench.draw(federation, None, "draw_once", "prior").x_NCHW
        rows["naive"] = bench.draw(federation, None, "uniform", "naive", count=distances.NAIVE_SAMPLES).x_NCHW
        plots.samples(results / "quality" / f"{name}-samples.png", rows)
        print(f"{name}: {', '.join(made)}, {name}-samples.png")
    page.write(results / "quality.md", report.COMMAND, plan.samples, figures, sets)


def _told(what: str, step: int, steps: int) -> None:
    print(f"{what}: {step}/{steps}", flush=True)


@cache
def _images(folder: Path, name: str, size: int) -> data.LabelledImages:
    return data.load(name, folder, size)


if __name__ == "__main__":
    main()
