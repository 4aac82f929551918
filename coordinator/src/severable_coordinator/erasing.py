"""Taking away what the coordinator holds of shards: for a removal, and for a restore that does one again.

Everything may be done twice without harm; what is left after a crash is found at the next time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from severable_coordinator.building import Building
from severable_coordinator.ledger import LedgerStore
from severable_coordinator.logbook import Logbook
from severable_coordinator.ports import CompositeRecord, CompositeStore, ShardState, ShardStore
from severable_coordinator.shard_sets import bank_file
from severable_coordinator.uploads import shard_file
from severable_coordinator.vault_port import Vault
from severable_trust.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasing:
    """Erases shards and all that was made of them."""

    building: Building
    shards: ShardStore
    composites: CompositeStore
    ledger: LedgerStore
    vault: Vault
    logbook: Logbook

    def planned(self, party: str, subjects: Sequence[Digest]) -> list[list[str]]:
        """Every file that an erasure would unlink, as [compartment, name]."""
        files = [[party, name] for name in self.vault.names(party) if any(shard.hex in name for shard in subjects)]
        for compartment in self.building.compartments(subjects):
            files += [[compartment, name] for name in self.vault.names(compartment)]
        return files + [["composites", name] for name in self.building.files_holding(subjects)]

    def holding(self, subjects: Sequence[Digest]) -> list[CompositeRecord]:
        """The composites that hold one of these shards, whatever became of them."""
        return [c for c in self.composites.composites(None) if set(c.members) & set(subjects)]

    def mark(self, subjects: Sequence[Digest], state: str) -> None:
        """Set the state of every composite that holds one of these shards."""
        for composite in self.holding(subjects):
            self.composites.set_state(composite.id, composite.group, state)

    def lines(self, subjects: Sequence[Digest]) -> int:
        """How many lines of the ledger are about these shards."""
        return len(self.ledger.lines(subjects))

    def erase(self, party: str, subjects: Sequence[Digest]) -> int:
        """Erase shards of one party, with their composites, routers and lines of the ledger; returns how many lines.

        The party's data key stays: other shards may live under it.

        Raises:
            StorageError: the disk refuses.
        """
        for subject in subjects:
            for name in (shard_file(subject, ""), bank_file(subject), f"incoming/{subject.hex}/"):
                self.vault.unlink(party, name)
        for compartment in self.building.compartments(subjects):
            self.vault.destroy_key(compartment)
            self.vault.unlink(compartment, "")
        self.building.discard(subjects)
        self.mark(subjects, "erased")
        for subject in subjects:
            self.logbook.log.erase_body(subject)
            self.shards.set_state(subject, ShardState.ERASED)
        return self.ledger.erase(subjects)  # once they are tombstones: a draw under way settles its own lines

    def left(self, party: str, subjects: Sequence[Digest]) -> list[str]:
        """Look again: files and compartments of erased shards that are still there. Must be empty."""
        kept = [name for name in self.vault.names(party) if any(subject.hex in name for subject in subjects)]
        return kept + self.building.compartments(subjects)
