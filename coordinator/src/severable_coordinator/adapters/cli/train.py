"""`train`: start a batch and watch it until every shard is in or has failed."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, Home
from severable_coordinator.adapters.engine import run_status, submit
from severable_coordinator.adapters.sql.tasks import TaskStatus
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.dispatch import JobReport, JobState
from severable_coordinator.errors import ConflictError, EngineError, NotFoundError
from severable_coordinator.ports import RecipeRecord
from severable_coordinator.sub_shards import named

_POLL_S = 0.5
_PIPE_EVERY_S, _PIPE_AGAIN_S = 5.0, 60.0  # between two lines, and between two that say the same
_ASK_ENGINE_S = 10.0  # each question to SuperLink costs it a TLS handshake
_RESULT_GRACE_S = 20.0


def train(
    party: Annotated[list[str] | None, typer.Option(help="Only this party; repeat it. Everybody by default.")] = None,
    recipe: Annotated[str, typer.Option(help="The recipe's digest, when there are several.")] = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Have every party with a contract in force train and ship its shard; needs `up` running.

    Example: severable-coordinator train --party hospital-a
    """
    coordinator = open_home(home)
    chosen = _recipe(coordinator, recipe)
    batch, tasks = coordinator.training.open_batch(chosen.digest, frozenset(party or ()))
    names = ", ".join(named(task.party, task.sub_shard) for task in tasks)
    print(f"training {names} (batch {batch[:12]})", file=sys.stderr)
    run = submit(coordinator.engine, coordinator.layout.bundle, {"batch": batch})
    statuses = _watch(coordinator, batch, run)
    for status in statuses:
        print(f"{_name(status)}: {status.report.state} {status.report.detail}".rstrip())
    if any(status.report.state is not JobState.SHIPPED for status in statuses):
        raise ConflictError("not every shard was admitted; the lines above say why")


def _recipe(coordinator: Coordinator, wanted: str) -> RecipeRecord:
    hex_part = wanted.removeprefix("sha256:")
    found = [recipe for recipe in coordinator.contracts.recipes() if recipe.digest.hex.startswith(hex_part)]
    known = ", ".join(str(recipe.digest)[:19] for recipe in coordinator.contracts.recipes())
    if not known:
        raise NotFoundError("nothing to train: no contract was offered yet; begin with `contract offer`")
    if len(found) != 1:
        raise NotFoundError(f"{len(found)} recipes match {wanted or 'any'!r} (known: {known}); say which with --recipe")
    return found[0]


def _watch(coordinator: Coordinator, batch: str, run: int) -> list[TaskStatus]:
    """Print progress until every task is final. EngineError when the run ended before that."""
    said = asked = time.monotonic()
    live = sys.stderr.isatty()
    pace, told = Pace(), ""
    over_since: float | None = None
    while True:
        statuses = coordinator.tasks.batch(batch)
        now = time.monotonic()
        left_s = pace.left_s({_name(s): s.report for s in statuses}, now)
        done = all(status.report.state.final for status in statuses)
        where = _line(statuses)
        if live or done or now - said >= (_PIPE_AGAIN_S if where == told else _PIPE_EVERY_S):
            said, told = now, where
            line = where + ("" if left_s is None else f", about {left_s:.0f} s of training left")
            start, end = ("\r\033[K", "\n" if done else "") if live else ("", "\n")
            print(start + line, end=end, file=sys.stderr, flush=True)
        if done:
            return statuses
        if now - asked >= _ASK_ENGINE_S:
            asked = now
            over_since = _ended(coordinator, run, over_since, now)
        time.sleep(_POLL_S)


def _ended(coordinator: Coordinator, run: int, over_since: float | None, now: float) -> float | None:
    """When the run was first seen ended. A report may still be on its way for a moment; then it is an error."""
    status = run_status(coordinator.engine, run)
    if not status.finished:
        return None
    if over_since is not None and now - over_since > _RESULT_GRACE_S:
        raise EngineError(f"the run ended ({status.outcome}: {status.detail}) with tasks open; run `train` again")
    return over_since or now


@dataclass
class Pace:
    """How fast each shard is trained, measured from its first reported step."""

    first: dict[str, tuple[float, int]] = field(default_factory=dict)

    def left_s(self, reports: Mapping[str, JobReport], now: float) -> float | None:
        """Seconds until the slowest has done its steps, None while no pace is known. A party trains one at a time."""
        estimates = []
        for name, report in reports.items():
            if report.state is not JobState.TRAINING or not report.step:
                continue
            begun, step = self.first.setdefault(name, (now, report.step))
            if report.step > step:
                estimates.append((report.steps - report.step) * (now - begun) / (report.step - step))
        return max(estimates, default=None)


def _name(status: TaskStatus) -> str:
    return named(status.task.party, status.task.sub_shard)


def _line(statuses: list[TaskStatus]) -> str:
    words = []
    for status in statuses:
        report = status.report
        share = f" {100 * report.step // report.steps}%" if report.steps and not report.state.final else ""
        words.append(f"{_name(status)} {report.state}{share}")
    return "; ".join(words)
