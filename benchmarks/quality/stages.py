"""The three stages of the program, each resumable: train, measure, report."""

from __future__ import annotations

import math
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch

from quality import credit_plots, data, page, plots, report, routing, shards
from quality.bench import Bench
from quality.guided import measures_of
from quality.measures import kept_by, ready, wanted
from quality.plan import Size, Training, all_trainings, read_size
from quality.run import OutOfTimeError
from quality.splits import parts_of
from quality.summaries import Measured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from quality.data import LabelledImages
    from quality.run import Run


class NotMeasuredError(ValueError):
    """A report was asked for, and what it begins with was not measured yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line asks for.

    Attributes:
        data: the folder of the real images.
        work: the work folder.
        size: name of the size.
        names: data sets, the one of the main figures first.
        seeds: of trainings and samples.
        jobs: processes.
        run: where, and until when.
        results: where the report goes.
    """

    data: Path
    work: Path
    size: str
    names: list[str]
    seeds: list[int]
    jobs: int
    run: Run
    results: Path

    def images(self, name: str) -> LabelledImages:
        """Return a data set, read once in every process."""
        size = read_size(self.size)
        return _images(self.data, name, size.recipe.image.size, size.images_per_class)

    def bench(self, name: str, seed: int) -> Bench:
        """Return where one data set is measured with one seed."""
        size = read_size(self.size)
        return Bench(images=self.images(name), size=size, work=self.work, seed=seed, run=self.run)


def train_all(order: Order) -> bool:
    """Train every network that is not there yet, and return whether all are there now."""
    todo = all_trainings(read_size(order.size), order.names, order.seeds, lambda name: order.images(name).train_label_N)
    before = _steps(order, todo)

    def told(done: int, one: Training, said: str | None) -> None:
        minutes = (time.monotonic() - order.run.begun) / 60.0
        text = "the time is over" if said is None else said
        print(f"{minutes:5.1f} min, {done}/{len(todo)}: {one.data} {one.part} seed {one.seed}: {text}", flush=True)

    left = _each(order, train_one, todo, told)
    _tell_pace(order, before, _steps(order, todo))
    return left == 0


def _steps(order: Order, todo: list[Training]) -> tuple[int, int]:
    """Return how many steps of all trainings are done, and how many there are."""
    size = read_size(order.size)
    counts = []
    for one in todo:
        recipe = size.wider if one.wide else size.recipe
        bench = order.bench(one.data, one.seed)
        part = next(part for part in bench.parts(one.split) if part.name == one.part)
        counts.append(shards.steps_done(bench.path_of(part, recipe), recipe, len(part.rows_N)))
    return sum(done for done, _ in counts), sum(steps for _, steps in counts)


def _tell_pace(order: Order, before: tuple[int, int], after: tuple[int, int]) -> None:
    done, steps = after
    seconds, now = time.monotonic() - order.run.begun, done - before[0]
    left = (
        f", at this run's pace {(steps - done) * seconds / now / 60.0:.0f} minutes more" if now and done < steps else ""
    )
    print(f"training: {done} of {steps} steps, {done / steps:.0%}{left}", flush=True)


def _each(
    order: Order,
    work_on: Callable[[Order, Any], str | None],
    todo: list[Any],
    told: Callable[[int, Any, str | None], None],
) -> int:
    """Do each in turn, or in several processes, and return how many the time was too short for."""
    left = 0
    if order.jobs == 1:
        for done, one in enumerate(todo, 1):
            said = None if order.run.over else work_on(order, one)
            left += said is None
            told(done, one, said)
            if said is None:
                return left + len(todo) - done
        return left
    with ProcessPoolExecutor(order.jobs) as pool:
        running = {pool.submit(work_on, order, one): one for one in todo}
        for done, future in enumerate(as_completed(running), 1):
            left += future.result() is None
            told(done, running[future], future.result())
    return left


def train_one(order: Order, one: Training) -> str | None:
    """Train one network in this process, and say how it went; None if the time was too short."""
    if order.run.over:
        return None
    torch.set_num_threads(order.run.plan.threads)
    plan: Size = read_size(order.size)
    images = order.images(one.data)
    part = next(part for part in parts_of(one.split, images.train_label_N) if part.name == one.part)
    own_NCHW, label_N = images.train_NCHW[part.rows_N], images.train_label_N[part.rows_N]
    folder, recipe, told = order.work / one.data, plan.wider if one.wide else plan.recipe, partial(_told, order)
    try:
        shard = shards.trained(
            folder, recipe, one.part, own_NCHW, seed=one.seed, told=told, label_N=label_N, run=order.run
        )
    except OutOfTimeError:
        return None
    clock = "processor time" if order.run.device == "cpu" else "GPU time"
    return f"{shard.steps} steps, {shard.seconds:.0f} s of {clock}, loss {shard.loss:.4f}"


def measure_all(order: Order) -> bool:
    """Measure all that is trained, and return whether time was enough; what was measured already is kept."""
    todo = [
        (measure.name, name, seed)
        for measure in measures_of(read_size(order.size))
        for seed in order.seeds
        for name in order.names
        if wanted(measure, name, seed, order.names[0], order.seeds[0])
    ]

    def told(done: int, one: tuple[str, str, int], said: str | None) -> None:
        print(
            f"{done}/{len(todo)} {' '.join(map(str, one))}: {'the time is over' if said is None else said}", flush=True
        )

    left = _each(order, measure_one, todo, told)
    print(f"measuring: {len(todo) - left} of {len(todo)}", flush=True)
    return left == 0


def measure_one(order: Order, one: tuple[str, str, int]) -> str | None:
    """Do one measurement in this process, if what it needs is trained; None if the time was too short."""
    if order.run.over:
        return None
    torch.set_num_threads(order.run.plan.threads)
    what, name, seed = one
    bench = order.bench(name, seed)
    measure = next(one for one in measures_of(bench.size) if one.name == what)
    if not ready(measure, bench):
        return "not trained yet"
    begun = time.monotonic()
    try:
        bench.once(what, kept_by(measure, bench), lambda: measure.run(bench))
    except OutOfTimeError:
        return None
    return f"{time.monotonic() - begun:.0f} s"


def report_all(order: Order) -> None:
    """Write results, pictures and a page from what was measured: docs/results/quality.json for the CPU size.

    Raises:
        NotMeasuredError: if a data set was not measured; nothing is written then.
    """
    sets = [Measured.read(order.work / name) for name in order.names]
    for measured in sets:
        if ("drawn-class-10", order.seeds[0]) not in measured.facts:
            raise NotMeasuredError(
                f"{order.work / measured.name}: has no measurement of the split class-10 with seed {order.seeds[0]}; "
                "train and measure first (the same command without --only), or give its folder with --work"
            )
    stem = "quality" if order.size == "cpu" else f"quality-{order.size}"
    figures = report.write(order.work, order.size, order.results / f"{stem}.json")
    for measured in sets:
        made = plots.all_of(order.results / stem, measured, figures[measured.name])
        made += _pictures_of_samples(order, measured, order.results / stem)
        print(f"{measured.name}: {', '.join(made)}")
    samples = read_size(order.size).samples
    page.write(order.results / f"{stem}.md", report.command(order.size), samples, figures, sets)


def _pictures_of_samples(order: Order, measured: Measured, folder: Path) -> list[str]:
    name, bench = measured.name, order.bench(measured.name, order.seeds[0])
    federation, made = bench.federation("class-10"), [f"{measured.name}-samples.png"]
    rows = {
        "real": bench.images.train_NCHW,
        "monolith": bench.draw(bench.monolith, None, "draw_once", "monolith").x_NCHW,
        "composite": bench.draw(federation, None, "draw_once", "prior").x_NCHW,
        "naive": bench.draw(federation, None, "uniform", "naive", count=bench.few).x_NCHW,
    }
    plots.samples(folder / made[0], rows)
    if ("routed-class-10", order.seeds[0]) in measured.facts:
        made.append(f"{name}-commitment.png")
        title = f"{name}, class-10: when samples of the full mixture commit to a shard"
        credit_plots.commitment(folder / made[-1], *routing.trajectory_of(bench, "class-10"), title)
    return made


def _told(order: Order, what: str, step: int, steps: int) -> None:
    left = (order.run.ends - time.monotonic()) / 60.0
    print(f"{what}: {step}/{steps}" + (f", {max(0.0, left):.1f} min left" if left < math.inf else ""), flush=True)


@cache
def _images(folder: Path, name: str, size: int, per_class: int | None) -> LabelledImages:
    return data.load(name, folder, size, per_class)
