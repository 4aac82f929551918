"""Measure quality, from training to docs/results, resumable at every point.

PYTHONPATH=benchmarks python -P -m quality --data DIR [--work DIR] [--jobs 2] [--only train|measure|report]
PYTHONPATH=benchmarks python -P -m quality --size gpu --data DIR --work DIR --minutes 9

Exit status: 0 all is done, 1 it failed, 3 the minutes are over and there is work left: run it again to go on.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

from recording import RESULTS

from quality import data, work
from quality.plan import SIZES, plan_for, read_size
from quality.run import Run
from quality.stages import NotMeasuredError, Order, measure_all, report_all, train_all

LEFT = 3
"""Exit status where the minutes are over and there is work left."""


def main() -> None:
    """Run what is asked for."""
    args, started = _arguments(), time.monotonic()
    try:
        order = _ready(args, started)
    except (data.MissingDataError, ValueError) as error:
        sys.exit(f"quality: {error}")
    order.work.mkdir(parents=True, exist_ok=True)
    _say_where(order, args.only or "all")
    done = True
    if args.only in (None, "train"):
        done = train_all(order)
    if done and args.only in (None, "measure"):
        done = measure_all(order)
    if not done:
        print(f"quality: {args.minutes:g} minutes are over and all that was done is kept: run again to go on")
        sys.exit(LEFT)
    if args.only in (None, "report"):
        try:
            report_all(order)
        except NotMeasuredError as error:
            sys.exit(f"quality: {error}")


def _arguments() -> argparse.Namespace:
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="quality", description=__doc__, formatter_class=about)
    parser.add_argument("--data", type=Path, required=True, help="folder with mnist, fashion-mnist, cifar10")
    parser.add_argument("--work", type=Path, default=Path("quality-work"), help="what is computed is kept here")
    sizes = sorted(path.stem for path in SIZES.glob("*.json"))
    parser.add_argument("--size", default="cpu", choices=sizes, help="a file of benchmarks/quality/sizes")
    parser.add_argument("--datasets", nargs="+", choices=sorted(data.NAMES), help="the size's own by default")
    parser.add_argument("--seeds", nargs="+", type=int, help="the size's own by default")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each; one process with a GPU")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if the size wants"
    )
    parser.add_argument(
        "--minutes", type=float, help="stop after so many, to be run again; as long as it takes if absent"
    )
    parser.add_argument("--only", choices=("train", "measure", "report"))
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the report goes")
    return parser.parse_args()


def _ready(args: argparse.Namespace, started: float) -> Order:
    """Return the order with its images read, and its clock running.

    Raises:
        MissingDataError: if the images are not there.
        ValueError: if something asked for cannot be.
    """
    if args.minutes is not None and not 0.0 < args.minutes < math.inf:
        raise ValueError(f"--minutes is {args.minutes:g}; it must be above 0")
    size = read_size(args.size)
    plan = plan_for(size, args.device)
    run = Run(
        plan=plan,
        compile_from=size.compile_from,
        ends=math.inf if args.minutes is None else started + 60.0 * args.minutes,
        checkpoint_every=size.checkpoint_every,
    )
    order = Order(
        data=args.data, work=args.work, size=args.size, names=args.datasets or list(size.datasets),
        seeds=args.seeds or list(size.seeds), jobs=1 if plan.device != "cpu" else args.jobs, run=run,
        results=args.results,
    )  # fmt: skip
    for name in order.names:
        order.images(name)
    order = replace(order, run=replace(run, begun=time.monotonic()))
    if order.run.over:
        raise ValueError(f"--minutes {args.minutes:g} is too short: reading the images alone took longer; give more")
    return order


def _say_where(order: Order, what: str) -> None:
    """Print what runs where, and keep it in the work folder beside what earlier runs said."""
    ran = order.run.describe() or order.run.plan.describe() | {"device": "cpu"}
    place = f"{ran['device']} ({ran.get('gpu', ran['cpu'])})"
    print(f"quality {order.size}: networks, banks, samples and features on {place}; routers on the CPU", flush=True)
    path = order.work / "ran.json"
    runs = (work.kept_facts(path) or {"runs": []})["runs"]
    if (now := {"only": what, **ran, "routers": "cpu, one thread"}) not in runs:
        work.keep_facts(path, {"runs": [*runs, now]})


if __name__ == "__main__":
    main()
