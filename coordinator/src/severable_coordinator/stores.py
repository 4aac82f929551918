"""The stores over one home directory: which adapter stands behind which port."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from severable_coordinator.adapters.sql.composites import SqlCompositeStore
from severable_coordinator.adapters.sql.contracts import SqlContractStore
from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.keys_backups import SqlKeysBackupStore
from severable_coordinator.adapters.sql.ledger import SqlLedgerStore
from severable_coordinator.adapters.sql.notices import SqlNoticeStore
from severable_coordinator.adapters.sql.parties import SqlPartyStore
from severable_coordinator.adapters.sql.recalls import SqlRecallStore
from severable_coordinator.adapters.sql.removals import SqlRemovalStore
from severable_coordinator.adapters.sql.shards import SqlShardStore
from severable_coordinator.adapters.sql.sketches import SqlSketchStore
from severable_coordinator.adapters.sql.tasks import SqlTaskStore
from severable_coordinator.adapters.vault import DirectoryVault
from severable_coordinator.config import Config, Layout
from severable_coordinator.errors import ConfigError
from severable_coordinator.tombstones import Tombstones


def utc_now() -> datetime:
    """The coordinator's clock: UTC, whole seconds, as statements carry them."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Stores:
    """What is kept, and where."""

    layout: Layout
    config: Config
    clock: Callable[[], datetime] = utc_now

    @cached_property
    def database(self) -> Database:
        """The database."""
        return Database(self.layout.database)

    @cached_property
    def parties(self) -> SqlPartyStore:
        """PartyStore."""
        return SqlPartyStore(self.database)

    @cached_property
    def contracts(self) -> SqlContractStore:
        """ContractStore."""
        return SqlContractStore(self.database)

    @cached_property
    def shards(self) -> SqlShardStore:
        """ShardStore."""
        return SqlShardStore(self.database)

    @cached_property
    def composites(self) -> SqlCompositeStore:
        """CompositeStore."""
        return SqlCompositeStore(self.database)

    @cached_property
    def ledger(self) -> SqlLedgerStore:
        """LedgerStore."""
        return SqlLedgerStore(self.database)

    @cached_property
    def removals(self) -> SqlRemovalStore:
        """RemovalStore."""
        return SqlRemovalStore(self.database)

    @cached_property
    def recalls(self) -> SqlRecallStore:
        """RecallStore."""
        return SqlRecallStore(self.database)

    @cached_property
    def notice_store(self) -> SqlNoticeStore:
        """NoticeStore."""
        return SqlNoticeStore(self.database)

    @cached_property
    def tasks(self) -> SqlTaskStore:
        """TaskStore."""
        return SqlTaskStore(self.database)

    @cached_property
    def keys_backups(self) -> SqlKeysBackupStore:
        """KeysBackupStore."""
        return SqlKeysBackupStore(self.database)

    @cached_property
    def tombstones(self) -> Tombstones:
        """What keeps removed shards out."""
        key = self.read(self.layout.sketch_key)
        return Tombstones(shards=self.shards, sketches=SqlSketchStore(self.database), key=key)

    @cached_property
    def vault(self) -> DirectoryVault:
        """Vault."""
        return DirectoryVault(self.layout.store, self.layout.data_keys)

    def read(self, path: Path) -> bytes:
        """A file of the home. ConfigError when it cannot be read."""
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be read ({error.strerror}); restore it or run `init` elsewhere"
            ) from error
