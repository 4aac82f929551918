"""Proving a removal: the set without the party is built from scratch, as if it had never been there, and compared.

From scratch means: from the remaining shards' weights alone. Banks and router are made anew in a vault of their own,
which forgets them; the composite's files are written into a fresh folder beside the real ones, compared by their
digests with the signed manifest and with what lies on the disk, and unlinked. The functions are the ones that built the
first composite. Where torch or the CPU is not the one in the manifest, bytes may differ: the facts name both.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from severable_coordinator.building import MANIFEST, Building, Progress
from severable_coordinator.composite_files import content_of, recipe_of, write_files
from severable_coordinator.errors import ConflictError, NotFoundError, WithdrawnError
from severable_coordinator.ports import CompositeRecord, CompositeStore
from severable_coordinator.retained import set_of
from severable_coordinator.shard_sets import ShardSet, file_digests
from severable_coordinator.vault_port import Files
from severable_diffusion.composite_directory import router_bytes
from severable_diffusion.environment import describe
from severable_trust.composite import CompositeManifest
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.statement import read_unverified

FOLDER = ".proving"  # in the place of a group, whose id never begins with a dot: a removal finds what is left there
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proving:
    """Builds from scratch and compares."""

    building: Building
    composites: CompositeStore

    def prove(self, composites: list[Digest], gone: list[Digest], progress: Progress) -> Facts:
        """Compare composites with what is built from scratch without some shards.

        Args:
            composites: those that came after a removal.
            gone: the removed shards: none of the composites may hold one.
            progress: told how far banks and routers are.

        Returns:
            equal: whether every file of every composite is; composites: for each its group, id, how many files were
            compared and which differ, and `not_proven` with the reason where nothing could be compared; environment
            here and the one that each manifest names; seconds.
        """
        begun, told = time.perf_counter(), []
        for composite_id in composites:
            record = self._record(composite_id)
            try:
                told.append(self._compared(record, gone, progress))
            except (ConflictError, WithdrawnError) as error:
                told.append({"group": record.group, "composite": str(record.id), "not_proven": str(error)})
        return {
            "equal": all("not_proven" not in one and not one["differing"] for one in told),
            "composites": told,
            "environment": describe(),
            "seconds": round(time.perf_counter() - begun, 3),
        }

    def _record(self, composite_id: Digest) -> CompositeRecord:
        for record in self.composites.composites(None):
            if record.id == composite_id:
                return record
        raise NotFoundError(f"no composite {composite_id} is known here")

    def _compared(self, record: CompositeRecord, gone: list[Digest], progress: Progress) -> Facts:
        if held := set(record.members) & set(gone):
            raise ConflictError(f"it holds removed shard {min(held)}")
        members = set_of(self.building, record)
        manifest = read_unverified(Envelope.parse(record.manifest), CompositeManifest)
        signed = {file.name: file.digest for file in manifest.files}
        on_disk = {file.name: file.digest for file in file_digests(self.building.directory(record))}
        on_disk.pop(MANIFEST, None)
        digest, built = self._from_scratch(members, progress)
        names = sorted(signed.keys() | on_disk.keys() | built.keys())
        differing = [name for name in names if not signed.get(name) == on_disk.get(name) == built.get(name)]
        return {
            "group": record.group,
            "composite": str(record.id),
            "from_scratch": str(digest),
            "files": len(names),
            "differing": differing if digest == record.id else [*differing, MANIFEST],
            "environment": dict(manifest.environment),
        }

    def _from_scratch(self, members: ShardSet, progress: Progress) -> tuple[Digest, dict[str, Digest]]:
        """Return the composite's digest, and its files' digests by name."""
        fresh = replace(self.building, vault=_Forgetful(self.building.vault))
        recipe = recipe_of(self.building.contracts, members)
        folder = self.building.work / FOLDER / "from-scratch"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            router = fresh.router(members, progress)
            write_files(folder, members, recipe, self.building.vault, router)
            files = {file.name: file.digest for file in file_digests(folder)}
        finally:
            shutil.rmtree(folder.parent, ignore_errors=True)
        return content_of(members, recipe, Digest.of(router_bytes(router))).digest, files


@dataclass(frozen=True, slots=True)
class _Forgetful:
    """A vault that has the shards' own files and nothing that was ever derived from them; what is kept is in memory."""

    real: Files
    derived: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def write(self, party: str, name: str, chunks: Iterator[bytes]) -> Digest:
        """See Files."""
        self.derived[party, name] = data = b"".join(chunks)
        return Digest.of(data)

    def holds(self, party: str, name: str) -> bool:
        """See Files."""
        return (party, name) in self.derived or (name.startswith("shards/") and self.real.holds(party, name))

    def read(self, party: str, name: str) -> bytes:
        """See Files."""
        if (party, name) in self.derived:
            return self.derived[party, name]
        if not name.startswith("shards/"):
            raise NotFoundError(f"{party}/{name} was not made yet")
        return self.real.read(party, name)

    def names(self, party: str, prefix: str = "") -> list[str]:
        """See Files."""
        return sorted(name for owner, name in self.derived if owner == party and name.startswith(prefix))

    def compartments(self) -> list[str]:
        """See Files."""
        return sorted({owner for owner, _ in self.derived})
