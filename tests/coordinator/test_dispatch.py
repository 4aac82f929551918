"""The dispatch loop against a task store and nodes in memory, on a clock that the test turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from severable_coordinator.dispatch import JobReport, JobState, Silence, Task, pause_s, run

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def task(name: str, batch: str = "b1", key: str | None = None) -> Task:
    return Task(
        id=name,
        batch=batch,
        party=name,
        node_key=key or f"key-{name}",
        contract="sha256:" + "1" * 64,
        recipe="sha256:" + "2" * 64,
        nonce="3" * 64,
    )


def training(step: int) -> JobReport:
    return JobReport(state=JobState.TRAINING, step=step, steps=10)


SHIPPED = JobReport(state=JobState.SHIPPED, step=10, steps=10, detail="shard")


@dataclass
class Store:
    """Tasks in memory; every report is kept in order."""

    tasks: list[Task]
    reports: dict[str, list[JobReport]] = field(default_factory=dict)
    ended: list[Task] = field(default_factory=list)

    def open_tasks(self, batch: str) -> list[Task]:
        return [each for each in self.tasks if each.batch == batch]

    def closed(self, batch: str) -> list[Task]:
        return [each for each in self.ended if each.batch == batch]

    def report(self, task_id: str, report: JobReport) -> None:
        self.reports.setdefault(task_id, []).append(report)


@dataclass
class ScriptedNodes:
    """Nodes that answer from a script, one line for each message; a key without a script is offline."""

    scripts: dict[str, list[JobReport | Silence | None]]
    sent: list[str] = field(default_factory=list)
    ready: dict[str, JobReport | Silence] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)

    def send(self, tasks: Sequence[Task]) -> frozenset[str]:
        reached = [each for each in tasks if self.scripts.get(each.node_key)]
        for each in reached:
            self.sent.append(each.node_key)
            answer = self.scripts[each.node_key].pop(0)
            if answer is not None:  # None: the node takes the message and says nothing
                self.ready[each.id] = answer
        return frozenset(each.id for each in reached)

    def stop(self, tasks: Sequence[Task]) -> frozenset[str]:
        answered = frozenset(self.stops)
        self.stops += [each.id for each in tasks if each.node_key in self.scripts and each.id not in answered]
        return answered

    def answers(self) -> Mapping[str, JobReport | Silence]:
        taken, self.ready = self.ready, {}
        return taken


@dataclass
class Clock:
    """A clock that only sleeping moves."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def dispatch(store: Store, nodes: ScriptedNodes, deadline_s: float = 60.0) -> Clock:
    clock = Clock()
    run("b1", store, nodes, sleep=clock.sleep, now=clock.now, poll_s=1.0, deadline_s=deadline_s)
    return clock


def test_every_report_is_kept_until_all_tasks_are_final() -> None:
    store = Store([task("a"), task("b")])
    nodes = ScriptedNodes({"key-a": [training(1), training(5), SHIPPED], "key-b": [SHIPPED]})
    dispatch(store, nodes)
    assert store.reports == {"a": [training(1), training(5), SHIPPED], "b": [SHIPPED]}


def test_a_node_whose_task_is_final_is_left_alone() -> None:
    nodes = ScriptedNodes({"key-a": [training(1), SHIPPED], "key-b": [SHIPPED, SHIPPED, SHIPPED]})
    dispatch(Store([task("a"), task("b")]), nodes)
    assert nodes.sent.count("key-b") == 1


def test_only_nodes_with_a_task_of_this_batch_are_addressed() -> None:
    store = Store([task("a"), task("b", batch="another")])
    nodes = ScriptedNodes({"key-a": [SHIPPED], "key-b": [SHIPPED], "key-stranger": [SHIPPED]})
    dispatch(store, nodes)
    assert nodes.sent == ["key-a"]
    assert set(store.reports) == {"a"}


def test_refused_and_failed_jobs_are_final_too() -> None:
    refused = JobReport(state=JobState.REFUSED, detail="contract unknown")
    failed = JobReport(state=JobState.FAILED, detail="out of memory")
    store = Store([task("a"), task("b")])
    dispatch(store, ScriptedNodes({"key-a": [refused], "key-b": [failed]}))
    assert store.reports == {"a": [refused], "b": [failed]}


def test_an_offline_node_keeps_its_task_and_its_report_says_since_when() -> None:
    store = Store([task("a")])
    clock = dispatch(store, ScriptedNodes({}), deadline_s=10.0)
    assert store.reports["a"][0] == JobReport(state=JobState.PENDING, detail="node offline since 2026-11-22T12:00:00Z")
    assert clock.now() - START == timedelta(seconds=10)


def test_nodes_are_asked_less_often_the_longer_it_takes() -> None:
    assert [pause_s(asked_for, 3.0) for asked_for in (0.0, 60.0, 100.0, 300.0, 86_400.0)] == [3.0, 3.0, 5.0, 15.0, 15.0]
    assert pause_s(0.0, 20.0) == 20.0
    nodes = ScriptedNodes({"key-a": [training(step) for step in range(1, 5_000)]})
    dispatch(Store([task("a")]), nodes, deadline_s=3_600.0)
    assert 240 < len(nodes.sent) < 320  # one a second would be 3,600


def test_the_deadline_leaves_the_task_open_and_says_so() -> None:
    store = Store([task("a")])
    dispatch(store, ScriptedNodes({}), deadline_s=3.0)
    last = store.reports["a"][-1]
    assert not last.state.final
    assert "deadline passed" in last.detail


def test_a_message_that_got_no_answer_is_sent_again_and_progress_is_not_forgotten() -> None:
    store = Store([task("a")])
    nodes = ScriptedNodes({"key-a": [training(5), Silence("node left"), SHIPPED]})
    dispatch(store, nodes)
    assert nodes.sent == ["key-a"] * 3
    interrupted = store.reports["a"][1]
    assert (interrupted.state, interrupted.step) == (JobState.TRAINING, 5)
    assert interrupted.detail == "node offline since 2026-11-22T12:00:02Z (node left)"
    assert store.reports["a"][-1] == SHIPPED


def test_a_node_that_is_still_busy_with_a_message_gets_no_second_one() -> None:
    nodes = ScriptedNodes({"key-a": [None, SHIPPED]})
    dispatch(Store([task("a")]), nodes, deadline_s=5.0)
    assert nodes.sent == ["key-a"]


def test_a_report_that_says_nothing_new_is_not_written_again() -> None:
    store = Store([task("a")])
    dispatch(store, ScriptedNodes({"key-a": [training(1), training(1), training(1), SHIPPED]}))
    assert store.reports["a"] == [training(1), SHIPPED]


def test_a_cancelled_task_ends_the_conversation() -> None:
    class Cancelling(Store):
        def report(self, task_id: str, report: JobReport) -> None:
            super().report(task_id, report)
            self.tasks = []

    store = Cancelling([task("a")])
    nodes = ScriptedNodes({"key-a": [training(1), training(2), SHIPPED]})
    dispatch(store, nodes)
    assert store.reports["a"] == [training(1)]


def test_the_node_of_a_task_that_a_removal_closed_is_told_also_when_the_batch_has_no_other_task() -> None:
    store, nodes = Store([], ended=[task("a")]), ScriptedNodes({"key-a": []})
    dispatch(store, nodes)
    assert nodes.stops == ["a"]
    assert nodes.sent == []


def test_a_node_that_is_offline_when_its_task_is_closed_is_waited_for_a_minute() -> None:
    clock = dispatch(Store([], ended=[task("a")]), ScriptedNodes({}))
    assert clock.now() - START == timedelta(seconds=60)


def test_a_batch_without_open_tasks_ends_at_once() -> None:
    clock = dispatch(Store([]), ScriptedNodes({}))
    assert clock.now() == START
