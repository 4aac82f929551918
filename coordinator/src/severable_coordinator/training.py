"""Starting a training batch: a fresh task for every shard that is wanted and not there, or going on with an open one.

A contract asks for one shard of its party; one that divides the records, for one of each part.
"""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from severable_coordinator.contracting import Contracting
from severable_coordinator.dispatch import Task
from severable_coordinator.errors import ConflictError
from severable_coordinator.membership import PartyStore
from severable_coordinator.ports import ContractRecord, ShardStore
from severable_coordinator.sub_shards import index_of, indexes
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
        """Give every party whose contract permits training this recipe a task for each shard that it lacks.

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
        trained = self._trained(recipe)
        tasks = [
            self._task(batch, record, recipe, index)
            for record, proven in self.contracting.in_force(Action.TRAIN, recipe)
            for index in indexes(proven.value)
            if (not only or record.party in only) and (record.id, index) not in trained
        ]
        if not tasks:
            raise ConflictError(
                "nobody to train: every party with a contract in force for this recipe has an admitted shard; "
                "`contract list` shows who signed"
            )
        for task in tasks:
            self.tasks.add(task)
        return batch, tasks

    def replace(self, contract: Digest, parts: Sequence[tuple[Digest, int | None]]) -> list[Task]:
        """Order new shards in the place of removed ones, in a batch of their own; returns the tasks that are open.

        What is trained or asked for already is not asked for again, so that this may be done twice without harm.

        Args:
            contract: the contract that they were trained under, or a later version of it.
            parts: recipe and sub-shard of each.
        """
        governing, batch = self.contracting.governing(contract).id, uuid.uuid4().hex
        ordered = []
        for recipe, index in parts:
            in_force = {record.id: record for record, _ in self.contracting.in_force(Action.TRAIN, recipe)}
            if governing not in in_force or (governing, index) in self._trained(recipe):
                continue
            task = self._open(governing, recipe, index)
            if task is None:
                task = self._task(batch, in_force[governing], recipe, index)
                self.tasks.add(task)
            ordered.append(task)
        return ordered

    def _open(self, contract: Digest, recipe: Digest, index: int | None) -> Task | None:
        wanted = (str(contract), str(recipe), index)
        return next((t for t in self.tasks.unfinished() if (t.contract, t.recipe, t.sub_shard) == wanted), None)

    def _trained(self, recipe: Digest) -> set[tuple[Digest, int | None]]:
        """The contract in force and sub-shard of every live shard of a recipe: there is one of each at most."""
        shards = [shard for shard in self.shards.shards() if shard.recipe == recipe]
        return {(self.contracting.governing(shard.contract).id, index_of(shard)) for shard in shards}

    def _task(self, batch: str, contract: ContractRecord, recipe: Digest, index: int | None) -> Task:
        return Task(
            id=uuid.uuid4().hex,
            batch=batch,
            party=contract.party,
            node_key=self.parties.party(contract.party).node_key,
            contract=str(contract.id),
            recipe=str(recipe),
            nonce=secrets.token_hex(_NONCE_BYTES),
            sub_shard=index,
        )
