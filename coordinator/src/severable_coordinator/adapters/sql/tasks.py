"""TaskStore on SQL: what the ServerApp is to see done, and what the nodes reported."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.tables import party, task
from severable_coordinator.dispatch import CLOSED, JobReport, JobState, Task
from severable_coordinator.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """A task and the newest report on it."""

    task: Task
    report: JobReport


class SqlTaskStore:
    """Training tasks in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def add(self, item: Task) -> None:
        """Keep a new task, pending."""
        values = {
            "id": item.id,
            "batch": item.batch,
            "party": item.party,
            "contract": item.contract,
            "recipe": item.recipe,
            "nonce": item.nonce,
            "sub_shard": item.sub_shard,
            "state": JobState.PENDING.value,
        }
        with self._database.write() as connection:
            connection.execute(insert(task).values(values))

    def open_tasks(self, batch: str) -> list[Task]:
        """See dispatch.TaskStore."""
        return [status.task for status in self.batch(batch) if not status.report.state.final]

    def closed(self, batch: str) -> list[Task]:
        """See dispatch.TaskStore."""
        ended = (task.c.state == JobState.FAILED.value) & (task.c.detail == CLOSED)
        return [status.task for status in self._select((task.c.batch == batch) & ended)]

    def unfinished(self) -> list[Task]:
        """See training.TaskSink."""
        return [status.task for status in self.all() if not status.report.state.final]

    def batch(self, batch: str) -> list[TaskStatus]:
        """Every task of a batch with its newest report, in order."""
        return self._select(task.c.batch == batch)

    def by_nonce(self, nonce: str) -> TaskStatus:
        """The task of a nonce. NotFoundError: a shard answers a task, or it is not wanted."""
        found = self._select(task.c.nonce == nonce)
        if not found:
            raise NotFoundError("no training task has this nonce; start one with `severable-coordinator train`")
        return found[0]

    def all(self) -> list[TaskStatus]:
        """Every task, in order."""
        return self._select(task.c.id.is_not(None))

    def report(self, task_id: str, report: JobReport) -> None:
        """See dispatch.TaskStore. A final state stands: a late message does not reopen a finished task."""
        open_states = [state.value for state in JobState if not state.final]
        values = {"state": report.state.value, "step": report.step, "steps": report.steps, "detail": report.detail}
        with self._database.write() as connection:
            connection.execute(
                update(task).where((task.c.id == task_id) & task.c.state.in_(open_states)).values(values)
            )

    def _select(self, condition: Any) -> list[TaskStatus]:
        query = select(task, party.c.node_key).join(party, party.c.id == task.c.party).where(condition)
        with self._database.read() as connection:
            return [_status(row) for row in connection.execute(query.order_by(task.c.number))]


def _status(row: Row[Any]) -> TaskStatus:
    return TaskStatus(
        Task(
            id=row.id,
            batch=row.batch,
            party=row.party,
            node_key=row.node_key,
            contract=row.contract,
            recipe=row.recipe,
            nonce=row.nonce,
            sub_shard=row.sub_shard,
        ),
        JobReport(state=JobState(row.state), step=row.step, steps=row.steps, detail=row.detail),
    )
