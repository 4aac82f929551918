"""Asks the data owners' nodes for their shards, and writes down what they answer.

A task is one shard to be trained by one party. Jobs belong to the owner's daemon: the message says "make sure that this
job exists, tell me its state" and is idempotent by the task's id, so this loop may be stopped, lost and run again at
any time. It holds nothing that the task store does not. Flower is behind the `Nodes` port (adapters/flower_app.py);
clock and sleep are passed in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

LONGEST_PAUSE_S = 15.0
CLOSED = "closed by a removal"  # detail of a task that a removal ended


class JobState(StrEnum):
    """Where a job stands at the owner. The owner's side has the same words."""

    PENDING = "pending"
    REFUSED = "refused"
    UNAPPROVED = "waiting for approval"  # of the recipe
    QUEUED = "queued"
    TRAINING = "training"
    GATING = "gating"
    UNRELEASED = "waiting for release"  # of the shard
    SHIPPING = "shipping"
    SHIPPED = "shipped"
    WITHHELD = "withheld"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing more will come of this job."""
        return self in {JobState.REFUSED, JobState.SHIPPED, JobState.WITHHELD, JobState.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One shard to be trained.

    Attributes:
        id: Name of the task, unique at this coordinator.
        batch: The tasks that one `train` command opened together.
        party: Who trains it.
        node_key: Public key of the party's Flower node, as an OpenSSH line; the message goes to that node alone.
        contract: Digest of the contract that allows it ("sha256:...").
        recipe: Digest of the recipe to follow ("sha256:...").
        nonce: 32 bytes in hex; the shard's claim must repeat them.
        sub_shard: Which sub-shard of the party's records, from 0; None where the contract does not divide them.
    """

    id: str
    batch: str
    party: str
    node_key: str
    contract: str
    recipe: str
    nonce: str
    sub_shard: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What is known of a job: its state, optimiser steps done out of `steps`, and one line for people."""

    state: JobState
    step: int = 0
    steps: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Silence:
    """A message that got no answer from the node's app, and why. It is sent again."""

    reason: str


class TaskStore(Protocol):
    """Tasks and the last report on each."""

    def open_tasks(self, batch: str) -> list[Task]:
        """Tasks of a batch that are not final, in a fixed order; none when the batch is done or cancelled."""

    def report(self, task_id: str, report: JobReport) -> None:
        """Keep the newest report on a task."""

    def closed(self, batch: str) -> list[Task]:
        """Tasks of a batch that a removal ended, in a fixed order."""


class Nodes(Protocol):
    """The way to the owners' nodes. Answers take seconds and come in any order."""

    def send(self, tasks: Sequence[Task]) -> frozenset[str]:
        """Send each task to the node that holds its `node_key`; return the ids sent, the others' nodes are offline."""

    def answers(self) -> Mapping[str, JobReport | Silence]:
        """Answers since the last call, by task id."""

    def stop(self, tasks: Sequence[Task]) -> frozenset[str]:
        """Tell each task's node to end its job, once; return the ids whose nodes have answered to that by now."""


@dataclass(slots=True, kw_only=True)
class _Conversation:
    """What this run remembers of its tasks; lost with it, and not missed."""

    waiting: set[str] = field(default_factory=set)  # sent, not yet answered
    ended: set[str] = field(default_factory=set)
    last: dict[str, JobReport] = field(default_factory=dict)
    offline_since: dict[str, datetime] = field(default_factory=dict)


def run(
    batch: str,
    tasks: TaskStore,
    nodes: Nodes,
    *,
    sleep: Callable[[float], None],
    now: Callable[[], datetime],
    poll_s: float = 1.0,
    deadline_s: float = 43_200.0,
    stop_s: float = 60.0,
) -> None:
    """Talk to the nodes of a batch's open tasks until every task is final, or the deadline passes.

    Only nodes whose key belongs to an open task of this batch get a message. A node that is offline or does not answer
    keeps its task: the report says since when, and it is asked again.

    Args:
        batch: The batch to see through.
        tasks: Where tasks come from and reports go.
        nodes: The way to the nodes.
        sleep: Waits, in seconds.
        now: The time (UTC).
        poll_s: Least seconds between two rounds of asking; see `pause_s`.
        stop_s: Seconds in which nodes are told at the end of jobs that a removal ended; one that is offline is not.
        deadline_s: Seconds after which tasks still open are left open, with a report that says so.
    """
    talk, begun = _Conversation(), now()
    deadline = begun + timedelta(seconds=deadline_s)
    while open_tasks := _still_open(batch, tasks, talk):
        if now() >= deadline:
            _give_up(open_tasks, tasks, talk)
            return
        _ask(open_tasks, tasks, nodes, talk, now())
        nodes.stop(tasks.closed(batch))
        sleep(pause_s((now() - begun).total_seconds(), poll_s))
        _listen(tasks, nodes, talk, now())
    until = now() + timedelta(seconds=stop_s)
    while (closed := tasks.closed(batch)) and {task.id for task in closed} - nodes.stop(closed) and now() < until:
        sleep(poll_s)


def pause_s(asked_for_s: float, least_s: float) -> float:
    """Return how long to wait between two rounds of asking, in seconds.

    A twentieth of the time that this has gone on, from `least_s` to `LONGEST_PAUSE_S`: every message goes through a
    database and over two processes, a training takes days, and a shard that arrives is reported by its admission.
    """
    return max(least_s, min(asked_for_s / 20.0, LONGEST_PAUSE_S))


def _still_open(batch: str, tasks: TaskStore, talk: _Conversation) -> list[Task]:
    # Read every round: a removal may have closed a task meanwhile.
    return [task for task in tasks.open_tasks(batch) if task.id not in talk.ended]


def _ask(open_tasks: list[Task], tasks: TaskStore, nodes: Nodes, talk: _Conversation, at: datetime) -> None:
    due = [task for task in open_tasks if task.id not in talk.waiting]
    sent = nodes.send(due) if due else frozenset[str]()
    talk.waiting |= sent
    for task in due:
        if task.id in sent:
            talk.offline_since.pop(task.id, None)
        else:
            _mark_offline(task.id, tasks, talk, at)


def _listen(tasks: TaskStore, nodes: Nodes, talk: _Conversation, at: datetime) -> None:
    for task_id, answer in nodes.answers().items():
        talk.waiting.discard(task_id)
        if isinstance(answer, Silence):
            _mark_offline(task_id, tasks, talk, at, answer.reason)
            continue
        talk.offline_since.pop(task_id, None)
        _record(task_id, answer, tasks, talk)
        if answer.state.final:
            talk.ended.add(task_id)


def _mark_offline(task_id: str, tasks: TaskStore, talk: _Conversation, at: datetime, reason: str = "") -> None:
    since = talk.offline_since.setdefault(task_id, at)
    known = talk.last.get(task_id, JobReport(state=JobState.PENDING))
    because = f" ({reason})" if reason else ""
    _record(task_id, replace(known, detail=f"node offline since {since:%Y-%m-%dT%H:%M:%SZ}{because}"), tasks, talk)


def _record(task_id: str, report: JobReport, tasks: TaskStore, talk: _Conversation) -> None:
    if talk.last.get(task_id) != report:
        talk.last[task_id] = report
        tasks.report(task_id, report)


def _give_up(open_tasks: list[Task], tasks: TaskStore, talk: _Conversation) -> None:
    for task in open_tasks:
        known = talk.last.get(task.id, JobReport(state=JobState.PENDING))
        _record(task.id, replace(known, detail="deadline passed; run train again to go on"), tasks, talk)
