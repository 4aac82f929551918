"""Banks, routers and composites: a composite is a pure function of (sorted shard ids, lambdas, recipe).

The first assembly, the assembly for an access group, the rebuild after a removal and the proof are one call,
`Building.assemble`. Byte equality holds for a recorded environment: it stands in the manifest.
"""

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from severable_coordinator.build_times import ASSEMBLY, ROUTER, note_time
from severable_coordinator.composite_files import content_of, weights_of, write_files
from severable_coordinator.contracting import Contracting
from severable_coordinator.discarding import discard_whole
from severable_coordinator.errors import ConflictError, NotFoundError, StorageError
from severable_coordinator.logbook import Logbook
from severable_coordinator.ports import Clock, CompositeRecord, CompositeStore, ContractStore, ShardRecord, ShardStore
from severable_coordinator.shard_sets import ShardSet, bank_file, file_digests, parse_recipe, read_members
from severable_coordinator.sub_shards import lambdas
from severable_coordinator.vault_port import Files
from severable_coordinator.withdrawal import Progress, Withdrawal
from severable_diffusion import network
from severable_diffusion.bank import Bank, draw_bank
from severable_diffusion.composite_directory import load_router, router_bytes, router_config
from severable_diffusion.environment import describe
from severable_diffusion.recipe import Recipe
from severable_diffusion.router import JointRouter
from severable_diffusion.router_training import build_router
from severable_trust import canonical
from severable_trust.composite import CompositeContent, CompositeManifest
from severable_trust.contract import Action, require
from severable_trust.digest import Digest, FileDigest
from severable_trust.envelope import Envelope

MANIFEST = "composite.dsse.json"
__all__ = ["MANIFEST", "Building", "Progress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    """Builds what is derived from shards."""

    contracting: Contracting
    contracts: ContractStore
    shards: ShardStore
    composites: CompositeStore
    vault: Files
    logbook: Logbook
    clock: Clock
    work: Path
    withdrawal: Withdrawal

    def members(self, group: str) -> ShardSet:
        """The live shards whose contracts let this group hold a composite of them. ConflictError."""
        in_force = {record.id: proven.value for record, proven in self.contracting.in_force(Action.COMPOSE)}
        governed = [(shard, self.contracting.governing(shard.contract).id) for shard in self.shards.shards()]
        chosen = [
            (shard, in_force[version])
            for shard, version in governed
            if version in in_force
            and group in in_force[version].recipients
            and shard.recipe in in_force[version].recipes
        ]
        if not chosen:
            raise ConflictError(
                f"no live shard may be composed for group {group!r}; see `shards list`, `contract list`"
            )
        recipes = {shard.recipe for shard, _ in chosen}
        if len(recipes) > 1:
            raise ConflictError(
                f"shards of {len(recipes)} recipes cannot be composed for {group!r}: one recipe a group"
            )
        return ShardSet(
            group=group,
            recipe=recipes.pop(),
            shards=tuple(shard for shard, _ in chosen),
            weights=lambdas(chosen),
        )

    def bank(self, shard: ShardRecord, recipe: Recipe, progress: Progress) -> Bank:
        """The synthetic bank of a shard: drawn once, then kept encrypted beside the shard."""
        name = bank_file(shard.id)
        try:
            return Bank.from_tensors(load_tensors(self.vault.read(shard.party, name)))
        except NotFoundError:
            with self.withdrawal.using([shard.id]):
                return self._drawn(shard, recipe, self.withdrawal.watched([shard.id], progress))

    def _drawn(self, shard: ShardRecord, recipe: Recipe, progress: Progress) -> Bank:
        said = f"bank of {shard.party}"
        bank = draw_bank(
            network.load(recipe, weights_of(self.vault, shard)),
            recipe,
            seed_material=str(shard.id),
            on_progress=lambda done, total: progress(said, done, total),
        )
        self.vault.write(shard.party, bank_file(shard.id), iter([save_tensors(bank.tensors())]))
        return bank

    def router(self, members: ShardSet, progress: Progress) -> JointRouter:
        """The joint router of a set: built deterministically from the banks, then kept under the set's own key."""
        recipe = self._recipe(members.recipe)
        try:
            config = self.vault.read(members.compartment, "router.json")
            return load_router(config, self.vault.read(members.compartment, "router.safetensors"))
        except (NotFoundError, StorageError):  # an altered one is built anew: nothing derived may hold a removal up
            ids = [shard.id for shard in members.shards]
            with self.withdrawal.using(ids):
                return self._trained(members, recipe, self.withdrawal.watched(ids, progress))

    def _trained(self, members: ShardSet, recipe: Recipe, progress: Progress) -> JointRouter:
        banks = {shard.id.hex: self.bank(shard, recipe, progress) for shard in members.shards}
        begun = time.perf_counter()
        router = build_router(banks, recipe, lambda told: progress("router", told.step, told.steps))
        seconds = time.perf_counter() - begun
        ids = [shard.id for shard in members.shards]
        self.withdrawal.look(ids)
        with self.withdrawal.turns.erasing():  # an erasure takes a compartment without its members for one to be erased
            self.vault.write(members.compartment, "members.json", iter([canonical.encode([str(one) for one in ids])]))
            note_time(self.vault, members.compartment, ROUTER, seconds)
            self.vault.write(members.compartment, "router.json", iter([router_config(router)]))
            self.vault.write(members.compartment, "router.safetensors", iter([router_bytes(router)]))
        return router

    def compartments(self, shards: Iterable[Digest]) -> list[str]:
        """The vault compartments of every router that has seen one of these shards, assembled or not."""
        wanted = {str(shard) for shard in shards}
        sets = [name for name in self.vault.compartments() if name.startswith("set-")]
        return [name for name in sets if self._may_hold(name, wanted)]

    def _may_hold(self, compartment: str, shards: set[str]) -> bool:
        try:
            return bool(shards & set(read_members(self.vault.read(compartment, "members.json"))))
        except (
            NotFoundError,
            StorageError,
        ):  # an erasure of it, or its first writing, was cut off: of no use to anybody
            return True

    def assemble(self, group: str, progress: Progress) -> tuple[CompositeRecord, Path]:
        """Build the composite that a group may hold now, sign its manifest, log it, write its directory.

        Raises:
            ConflictError: no live shard may be composed for the group.
            WithdrawnError: a member was withdrawn meanwhile; nothing of the composite is kept.
        """
        with self.withdrawal.turns.assembling(group):
            members = self.members(group)
            ids = [shard.id for shard in members.shards]
            with self.withdrawal.using(ids):
                return self._assembled(members, self.withdrawal.watched(ids, progress))

    def _assembled(self, members: ShardSet, progress: Progress) -> tuple[CompositeRecord, Path]:
        router = self.router(members, progress)
        begun, scratch = time.perf_counter(), self.work / members.group / "assembling"
        try:
            self._write(scratch, members, router)
            files = tuple(file_digests(scratch))
            published = self._published(members, router, scratch, files)
        except BaseException:  # no half of it stays: its weights would outlive a removal
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        note_time(self.vault, members.compartment, ASSEMBLY, time.perf_counter() - begun)
        return published

    def _published(
        self, members: ShardSet, router: JointRouter, scratch: Path, files: tuple[FileDigest, ...]
    ) -> tuple[CompositeRecord, Path]:
        content = self._content(members, router)
        target = self.work / members.group / content.digest.hex[:16]
        ids = tuple(shard.id for shard in members.shards)
        with self.withdrawal.handing_out(ids):
            envelope = self._manifest(members, content, files)
            (scratch / MANIFEST).write_bytes(envelope.to_bytes())
            shutil.rmtree(target, ignore_errors=True)
            scratch.replace(target)
            record = CompositeRecord(
                id=content.digest,
                group=members.group,
                manifest=envelope.to_bytes(),
                members=ids,
                router=content.router,
                created=self.clock(),
                state="live",
            )
            self.composites.add(record)
        return record, target

    def directory(self, record: CompositeRecord) -> Path:
        """Where an assembled composite lies."""
        return self.work / record.group / record.id.hex[:16]

    def live(self, group: str) -> CompositeRecord:
        """The composite that a group may use. NotFoundError."""
        found = [record for record in self.composites.composites() if record.group == group]
        if not found:
            raise NotFoundError(f"group {group!r} has no live composite; assemble one first")
        return found[-1]

    def require(self, record: CompositeRecord, action: Action) -> None:
        """Refuse what the contract of a member does not permit now. ContractError."""
        for shard in map(self.shards.shard, record.members):
            record_of = self.contracting.governing(shard.contract)
            contract = self.contracting.prove(record_of).value
            now = self.clock()
            require(contract, record_of.state, action, now, recipe=shard.recipe, recipient=record.group)

    def files_holding(self, shards: Iterable[Digest]) -> list[str]:
        """Every file of the directories that hold one of these shards, below the work directory."""
        files = sorted(path for folder in self._holding(shards) for path in folder.rglob("*") if path.is_file())
        return [path.relative_to(self.work).as_posix() for path in files]

    def discard(self, shards: Iterable[Digest]) -> None:
        """Unlink every directory that holds one of these shards, also a half-assembled one. StorageError."""
        discard_whole(self.work, lambda: self._holding(shards))

    def _holding(self, shards: Iterable[Digest]) -> list[Path]:
        """What lies on the disk decides, not what the database knows."""
        return sorted({path.parents[1] for shard in shards for path in self.work.glob(f"*/*/shards/{shard.hex}")})

    def _write(self, scratch: Path, members: ShardSet, router: JointRouter) -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        write_files(scratch, members, self._recipe(members.recipe), self.vault, router)

    def _content(self, members: ShardSet, router: JointRouter) -> CompositeContent:
        return content_of(members, self._recipe(members.recipe), Digest.of(router_bytes(router)))

    def _manifest(self, members: ShardSet, content: CompositeContent, files: tuple[FileDigest, ...]) -> Envelope:
        return self.logbook.issue(
            CompositeManifest(
                content=content,
                group=members.group,
                issued=self.clock(),
                files=files,
                environment=tuple(sorted(describe().items())),
            )
        )

    def _recipe(self, digest: Digest) -> Recipe:
        return parse_recipe(self.contracts.recipe(digest).body)
