"""Starting a training batch: one task with a fresh nonce for every contract in force."""

import secrets
import uuid
from dataclasses import dataclass
from typing import Protocol

from severable_coordinator.contracting import Contracting
from severable_coordinator.dispatch import Task
from severable_coordinator.errors import ConflictError
from severable_coordinator.ports import PartyStore, ShardStore
from severable_trust.contract import Action
from severable_trust.digest import Digest

_NONCE_BYTES = 32


class TaskSink(Protocol):
    """Where new tasks go."""

    def add(self, item: Task) -> None:
        """Keep a new task, pending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Opens batches; the ServerApp (dispatch.py) sees them through."""

    contracting: Contracting
    parties: PartyStore
    shards: ShardStore
    tasks: TaskSink

    def open_batch(self, recipe: Digest, only: frozenset[str]) -> tuple[str, list[Task]]:
        """Give every party whose contract permits training this recipe a task, unless it has a live shard of it.

        Args:
            recipe: what to train.
            only: party ids to address, or empty for all.

        Raises:
            ConflictError: nobody is left to train.
        """
        batch = uuid.uuid4().hex
        tasks = []
        trained = {(shard.party, shard.contract) for shard in self.shards.shards() if shard.recipe == recipe}
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
