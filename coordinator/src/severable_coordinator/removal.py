"""A removal: from an acknowledged request or order to a receipt, in steps done once and resumed after a crash.

    plan        the shards withdrawn first of all (withdrawal.py): nothing that contains them is assembled, sampled or
                exported from that moment on; then what is affected, written down before anything of it is touched
    withdraw    their composites withdrawn too; open training is closed, and the owners' nodes are told
    erase       data key destroyed; weights, bank, routers and composites unlinked; the ledger's lines summed up and
                dropped; bodies and free pages scrubbed
    rebuild     every affected group's composite from what remains, by the function that built the first
    quality     what the removal changed for the others' data, where it was measured beforehand or a proof is asked for
    prove       only where it is asked for: the same from scratch, in a fresh folder, compared file by file
    recall      every recorded copy of what held them is recalled
    order       only where the contract stays, records having been erased: new training of exactly these shards
    receipt     what was done and what could not be, signed, logged, with its proof

Each step records its facts when it is done, and a step with facts is not done again; within a step everything may be
done twice without harm. The shards' ids stay behind as tombstones.
"""

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from severable_coordinator.building import Building, Progress
from severable_coordinator.custody import KeysBackupStore, holding
from severable_coordinator.erasing import Erasing
from severable_coordinator.errors import ConflictError, WithdrawnError
from severable_coordinator.logbook import Logbook
from severable_coordinator.ports import (
    Clock,
    ContractStore,
    RemovalRecord,
    RemovalStore,
    ShardState,
    ShardStore,
)
from severable_coordinator.proving import Proving
from severable_coordinator.recalling import Recalling
from severable_coordinator.receipts import erasure_actions, receipt_of
from severable_coordinator.removal_steps import Facts, facts_of
from severable_coordinator.requests import is_about_records
from severable_coordinator.retained import Retained
from severable_coordinator.sub_shards import index_of
from severable_coordinator.training import Training
from severable_coordinator.vault_port import Vault
from severable_trust import canonical
from severable_trust.bundle import ReceiptBundle
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.instant import format_instant
from severable_trust.order import RemovalOrder, read_trigger
from severable_trust.receipt import Receipt
from severable_trust.statement import Kind, read_unverified, statement_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Carries removals out."""

    building: Building
    contracts: ContractStore
    shards: ShardStore
    removals: RemovalStore
    erasing: Erasing
    vault: Vault
    logbook: Logbook
    clock: Clock
    close_tasks: Callable[[str, Digest], int]  # party, contract -> how many were open
    training: Training
    recalling: Recalling
    scrub: Callable[[], None]
    proving: Proving
    retained: Retained
    keys_backups: KeysBackupStore

    def run(self, record: RemovalRecord, progress: Progress, *, prove: bool = False) -> RemovalRecord:
        """Do what is left to do of a removal, in its party's turn; returns it fulfilled, or as it ended before."""
        with self.building.withdrawal.turns.carrying_out(record.party):
            return self.run_in_turn(self.removals.removal(record.request), progress, prove=prove)

    def run_in_turn(self, record: RemovalRecord, progress: Progress, *, prove: bool = False) -> RemovalRecord:
        """The same for who has the party's turn already."""
        if record.ended:
            return record
        self.removals.set_state(record.request, "in_progress")
        steps: dict[str, Callable[[RemovalRecord, Progress], Facts]] = {
            "plan": self._plan,
            "withdraw": self._withdraw,
            "erase": self._erase,
            "rebuild": self._rebuild,
            "quality": lambda removal, told: self._quality(removal, told, measure=prove),
            **({"prove": self.prove} if prove else {}),
            "recall": self._recall,
            **({"order": self._order} if is_about_records(record) else {}),
            "receipt": self._issue,
        }
        with ExitStack() as stack:
            for number, (name, step) in enumerate(steps.items()):
                progress(f"removal: {name}", number, len(steps))
                if name == "erase":  # a withdrawal waits for no other removal, all else does
                    stack.enter_context(self.building.withdrawal.turns.removing())
                if name not in self.removals.steps(record.request):
                    facts = {**step(record, progress), "done": format_instant(self.clock())}
                    self.removals.finish_step(record.request, name, canonical.encode(facts))
        progress("removal: done", len(steps), len(steps))
        return self.removals.removal(record.request)

    def facts(self, record: RemovalRecord, step: str) -> Facts:
        """What a finished step recorded."""
        return facts_of(self.removals, record, step)

    def _plan(self, record: RemovalRecord, _progress: Progress) -> Facts:
        subjects = self._subjects(record)
        seconds = self.building.withdrawal.withdraw(subjects)
        affected = [c for c in self.erasing.holding(subjects) if c.state != "erased"]
        shards = [self.shards.shard(subject) for subject in subjects]
        return {
            "parts": [[str(shard.recipe), index_of(shard)] for shard in shards if shard.claim],  # gone after `erase`
            "subjects": [str(subject) for subject in subjects],
            "withdrawn_s": round(seconds, 4),
            "composites": [[c.group, str(c.id), str(c.router), c.state] for c in affected],
            "files": self.erasing.planned(record.party, subjects),
            "key": self.vault.key_id(record.party),
            "ledger_lines": self.erasing.lines(subjects),
        }

    def _withdraw(self, record: RemovalRecord, _progress: Progress) -> Facts:
        subjects = self._planned(record)
        self.erasing.mark(subjects, "withdrawn")
        if is_about_records(record):  # what is open trains without the erased records already
            return {"tasks_closed": 0}
        versions = self.building.contracting.versions(record.contract)
        return {"tasks_closed": sum(self.close_tasks(record.party, version) for version in versions)}

    def _erase(self, record: RemovalRecord, _progress: Progress) -> Facts:
        subjects = self._planned(record)
        with self.building.withdrawal.erasing(subjects):
            lines = self.erasing.erase(record.party, subjects)
            self._destroy_key(record)
            self.scrub()
        plan = self.facts(record, "plan")
        gone = not self.vault.key_id(record.party)
        return {
            "files": plan["files"],
            "key": plan["key"] if gone else "",
            "left": self.erasing.left(record.party, subjects),
            "ledger_lines": max(lines, plan.get("ledger_lines", 0)),  # 0 where a crash came after they had gone
            "ledger_left": self.erasing.lines(subjects),
            "keys_backups": [
                [str(copy.id), format_instant(copy.taken)]
                for copy in holding(self.keys_backups.backups(), plan["key"] if gone else "")
            ],
        }

    def _rebuild(self, record: RemovalRecord, progress: Progress) -> Facts:
        used = {  # one a group; withdrawn is one that another removal, under way too, has taken out of use first
            group: [group, before, router]
            for group, before, router, state in self.facts(record, "plan")["composites"]
            if state in {"live", "withdrawn"}
        }
        return {"composites": [[*known, *self._rebuilt(group, progress)] for group, known in used.items()]}

    def _rebuilt(self, group: str, progress: Progress) -> list[str]:
        """Composite, router and folder that a group has now; empty texts where nothing remains that it may hold."""
        while True:
            try:
                after, directory = self.building.assemble(group, progress)
            except ConflictError:
                return ["", "", ""]
            except WithdrawnError:  # by another removal, meanwhile: again, without those shards
                continue
            return [str(after.id), str(after.router), directory.name]

    def _recall(self, record: RemovalRecord, _progress: Progress) -> Facts:
        """Recall what was handed out; nobody's answer is waited for."""
        made = self.recalling.issue(record.request, record.contract, self._planned(record))
        return {"recalls": [str(recall.id) for recall in made]}

    def _quality(self, record: RemovalRecord, progress: Progress, *, measure: bool) -> Facts:
        changes = self.facts(record, "rebuild")["composites"]
        return {"composites": self.retained.of_removal(changes, self._planned(record), progress, measure=measure)}

    def prove(self, record: RemovalRecord, progress: Progress) -> Facts:
        """Build what the removal left from scratch, as if the shards had never been there, and compare."""
        changes = self.facts(record, "rebuild")["composites"]
        after = [Digest.parse(change[3]) for change in changes if change[3]]
        return self.proving.prove(after, self._planned(record), progress)

    def prove_later(self, record: RemovalRecord, progress: Progress) -> Facts:
        """Prove after the receipt, and measure what nobody measured of the others' quality; the receipt stays."""
        told = self.prove(record, progress)
        known = self.facts(record, "quality") if "quality" in self.removals.steps(record.request) else {}
        quality = known.get("composites") or self._quality(record, progress, measure=True)["composites"]
        return told | {"quality": quality}

    def _order(self, record: RemovalRecord, _progress: Progress) -> Facts:
        parts = [(Digest.parse(recipe), index) for recipe, index in self.facts(record, "plan")["parts"]]
        tasks = self.training.replace(record.contract, parts)
        return {"batches": sorted({task.batch for task in tasks}), "tasks": [task.id for task in tasks]}

    def _issue(self, record: RemovalRecord, _progress: Progress) -> Facts:
        self.logbook.keep_roster_current()  # a receipt under a roster that has expired is refused
        told = {"plan", "erase", "rebuild", "quality", "prove"} & self.removals.steps(record.request).keys()
        facts = {step: self.facts(record, step) for step in told}
        receipt = receipt_of(
            record,
            receipt_id=str(uuid.uuid4()),
            publisher=self.logbook.coordinator,
            issued=self.clock(),
            facts=facts,
            actions=erasure_actions(facts),
            recalls=tuple(self.recalling.store.recalls(record.request)),
        )
        envelope = self._issued(record) or self.logbook.issue(receipt)
        bundle = ReceiptBundle(
            receipt=envelope,
            request=Envelope.parse(record.envelope),
            contract=Envelope.parse(self.contracts.contract(record.contract).envelope),
            roster=self.logbook.roster().envelope,
            proof=self.logbook.prove(Kind.RECEIPT, envelope),
        )
        self.removals.set_state(record.request, "fulfilled", bundle.to_bytes())
        return {"receipt": str(statement_id(envelope))}

    def _issued(self, record: RemovalRecord) -> Envelope | None:
        """The receipt of this removal, if a crash came after it was logged: there must not be two."""
        for logged in self.logbook.log.statements(Kind.RECEIPT):
            envelope = Envelope.parse(self.logbook.log.body(logged))
            if read_unverified(envelope, Receipt).request == record.request:
                return envelope
        return None

    def _planned(self, record: RemovalRecord) -> list[Digest]:
        return [Digest.parse(text) for text in self.facts(record, "plan")["subjects"]]

    def _subjects(self, record: RemovalRecord) -> list[Digest]:
        """The shards that the request names, or all of the party's under the contract."""
        trigger, held = read_trigger(record.envelope), self.shards.shards(None, record.party)
        named = trigger.subjects
        if isinstance(trigger, RemovalOrder):  # it is about one contract, whatever else the party has agreed on since
            versions = self.building.contracting.versions(record.contract)
            held = [shard for shard in held if shard.contract in versions]
        if named:  # also one that another removal has erased since: the receipt answers for each that was asked for
            return [shard.id for shard in held if shard.id in named]
        return [shard.id for shard in held if shard.state is not ShardState.ERASED]

    def _destroy_key(self, record: RemovalRecord) -> None:
        """Destroy the party's data key unless another of its shards lives under it, or is on its way in."""
        stays = is_about_records(record) and self.vault.names(record.party)
        if not stays and not self.shards.shards(ShardState.LIVE, record.party):
            self.vault.unlink(record.party, "")
            self.vault.destroy_key(record.party)
