"""Starting a training batch: one task with a fresh nonce for every contract in force; or going on with an open one."""

import secrets
import uuid
from dataclasses import dataclass
from typing import Protocol

from severable_coordinator.contracting import Contracting
from severable_coordinator.dispatch import Task
from severable_coordinator.errors import ConflictError
from severable_coordinator.membership import PartyStore
from severable_coordinator.ports import ShardStore
from severable_trust.contract import Action
from severable_trust.digest import Digest

_NONCE_BYTES = 32


class TaskSink(Protocol):
    """Where new tasks go."""

    def add(self, item: Task) -> None:
        """Keep a new task, pending."""

    def unfinished(self) -> list[Task]:
        """Every task that is not final, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Opens batches; the ServerApp (dispatch.py) sees them through."""

    contracting: Contracting
    parties: PartyStore
    shards: ShardStore
    tasks: TaskSink

    def open_batch(self, recipe: Digest, only: frozenset[str]) -> tuple[str, list[Task]]:
        """Give every party whose contract permits training this recipe a task, unless it has a live shard of it.

        A batch that was left open (its run was lost, or is still going) is returned as it is: jobs are idempotent, so
        asking again harms nothing, and a party is never asked for the same shard under two nonces.

        Args:
            recipe: what to train.
            only: party ids to address, or empty for all.

        Raises:
            ConflictError: nobody is left to train.
        """
        left = [t for t in self.tasks.unfinished() if t.recipe == str(recipe) and (not only or t.party in only)]
        if left:
            return left[0].batch, [task for task in left if task.batch == left[0].batch]
        batch = uuid.uuid4().hex
        tasks = []
        shards = [shard for shard in self.shards.shards() if shard.recipe == recipe]
        trained = {(shard.party, self.contracting.governing(shard.contract).id) for shard in shards}
        for record, _ in self.contracting.in_force(Action.TRAIN, recipe):
            if (only and record.party not in only) or (record.party, record.id) in trained:
                continue
            tasks.append(
                Task(
                    id=uuid.uuid4().hex,
                    batch=batch,
                    party=record.party,
                    node_key=self.parties.party(record.party).node_key,
                    contract=str(record.id),
                    recipe=str(recipe),
                    nonce=secrets.token_hex(_NONCE_BYTES),
                )
            )
        if not tasks:
            raise ConflictError(
                "nobody to train: every party with a contract in force for this recipe has an admitted shard; "
                "`contract list` shows who signed"
            )
        for task in tasks:
            self.tasks.add(task)
        return batch, tasks
