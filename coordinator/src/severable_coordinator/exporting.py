"""Handing a composite to its recipient: permitted by every member's contract, recorded, and never half."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from severable_coordinator.building import Building
from severable_coordinator.errors import ConflictError
from severable_coordinator.new_directory import new_directory
from severable_coordinator.ports import Clock, CompositeRecord
from severable_coordinator.recalls import Export, RecallStore
from severable_trust.contract import Action
from severable_trust.recall import Artifact
from severable_trust.terms import check_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """Exports composites."""

    building: Building
    recalls: RecallStore
    clock: Clock

    def export(self, record: CompositeRecord, out: Path, recipient: str = "") -> Path:
        """Copy a composite for its recipient, and record who was handed it.

        Args:
            record: the composite.
            out: a new directory; it is there, whole, once the export is recorded, and else not at all.
            recipient: whom it is for; the composite's access group where none is named.

        Raises:
            ContractError: a member's contract does not permit it.
            ConflictError: there is something at `out`.
            ConfigError: it cannot be written there.
            StatementError: the recipient's name is not an id.
            WithdrawnError: a member was withdrawn meanwhile; nothing was handed out.
        """
        guard, whom = self.building.withdrawal, recipient or record.group
        check_id(whom, "recipient")
        self.building.require(record, Action.DISTRIBUTE)
        if out.exists():
            raise ConflictError(f"{out}: exists already; choose a new directory")
        with guard.using(record.members), new_directory(out) as part:
            shutil.copytree(self.building.directory(record), part, dirs_exist_ok=True)
            with guard.handing_out(record.members):
                self.building.require(record, Action.DISTRIBUTE)
                self.recalls.add_export(
                    Export(
                        recipient=whom,
                        artifact=Artifact.COMPOSITE,
                        digest=record.id,
                        group=record.group,
                        shards=record.members,
                        at=self.clock(),
                    )
                )
                part.replace(out)
        return out
