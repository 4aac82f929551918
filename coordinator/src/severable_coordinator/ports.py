"""The coordinator's ports: what the use cases need from the outside, named for what they hold.

Records are frozen; digests are `severable_trust.digest.Digest`; times are UTC. Each port has one contract suite under
tests/contracts that every implementation passes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from severable_trust.contract import ContractState
from severable_trust.digest import Digest

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRecord:
    """A recipe with what its shards must look like: the canonical config.json and every tensor's dtype and shape."""

    digest: Digest
    body: bytes
    config: bytes
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractRecord:
    """A contract's envelope bytes and where it stands."""

    id: Digest
    party: str
    envelope: bytes
    state: ContractState


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRecord:
    """A shard on its way in."""

    id: str
    party: str
    task: str
    claim: bytes
    state: str  # "open", "admitted" or "refused"
    detail: str = ""


class ShardState(StrEnum):
    """Whether a shard is in use, out of use while a removal runs, or gone."""

    LIVE = "live"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """An admitted shard. `claim` is empty once it is erased: only the id stays, as a tombstone."""

    id: Digest
    party: str
    contract: Digest
    recipe: Digest
    claim: bytes
    admitted: datetime
    state: ShardState


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeRecord:
    """A composite of an access group: its signed manifest, and what it was made of."""

    id: Digest  # the content digest
    group: str
    manifest: bytes
    members: tuple[Digest, ...]
    router: Digest
    created: datetime
    state: str  # "live", "withdrawn" or "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalRecord:
    """A removal: the request that asked for it, the acknowledgement, and how far it is."""

    request: Digest
    party: str
    contract: Digest
    envelope: bytes
    acknowledgement: bytes
    state: str  # "open", "in_progress", "fulfilled", "denied" or "expired"
    bundle: bytes = b""
    denial: bytes = b""  # the coordinator's statement, where it was denied or has expired

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done."""
        return self.state in ("fulfilled", "denied", "expired")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What keeps a removal from going on: how many tries failed, and the last one's line and time (UTC)."""

    failures: int
    line: str
    at: datetime


class ContractStore(Protocol):
    """Contracts and the recipes that they allow."""

    def add_recipe(self, recipe: RecipeRecord) -> None:
        """Keep a recipe; adding it twice changes nothing."""

    def recipe(self, digest: Digest) -> RecipeRecord:
        """Return a recipe. NotFoundError."""

    def recipes(self) -> list[RecipeRecord]:
        """Every recipe, by digest."""

    def put(self, *contracts: ContractRecord) -> None:
        """Insert contracts, or replace their envelopes and states: all of them or none."""

    def contract(self, contract_id: Digest) -> ContractRecord:
        """Return a contract. NotFoundError."""

    def contracts(self, party: str | None = None) -> list[ContractRecord]:
        """Contracts in the order of their offers, of one party or of all."""


class UploadStore(Protocol):
    """Uploads and admitted shards, as facts; their bytes are in the Vault."""

    def open_upload(self, upload: UploadRecord) -> UploadRecord:
        """Keep a new upload, or return the one already known under the same id."""

    def upload(self, upload_id: str) -> UploadRecord:
        """Return an upload. NotFoundError."""

    def open_of(self, task: str) -> list[UploadRecord]:
        """Return the uploads for a task that have not ended."""

    def settle(self, upload_id: str, state: str, detail: str) -> None:
        """Record an upload's end."""


class ShardStore(Protocol):
    """Admitted shards and tombstones of removed ones."""

    def add(self, shard: ShardRecord) -> None:
        """Add an admitted shard. RefusedError when its id is a tombstone, ConflictError when it is there already."""

    def shard(self, shard_id: Digest) -> ShardRecord:
        """Return a shard, also an erased one. NotFoundError."""

    def shards(self, state: ShardState | None = ShardState.LIVE, party: str | None = None) -> list[ShardRecord]:
        """Shards by id; `state=None` means of any state."""

    def withdraw(self, shard_ids: Iterable[Digest]) -> None:
        """Move live shards to WITHDRAWN, all of them or none; the others among them stay as they are."""

    def set_state(self, shard_id: Digest, state: ShardState) -> None:
        """Move a shard on; ERASED drops its claim and keeps the tombstone."""


class CompositeStore(Protocol):
    """Composites by access group."""

    def add(self, composite: CompositeRecord) -> None:
        """Add a composite and retire the group's earlier live one; the same content again is brought back to life."""

    def composites(self, state: str | None = "live") -> list[CompositeRecord]:
        """Composites by time of creation."""

    def set_state(self, composite_id: Digest, group: str, state: str) -> None:
        """Move a composite on."""


class RemovalStore(Protocol):
    """Removals and the steps that they finished: a durable state machine's memory."""

    def open(self, removal: RemovalRecord) -> RemovalRecord:
        """Keep a new removal, or return the one already known for the same request."""

    def removal(self, request: Digest) -> RemovalRecord:
        """Return a removal. NotFoundError."""

    def removals(self) -> list[RemovalRecord]:
        """Every removal, in the order of the requests."""

    def finish_step(self, request: Digest, step: str, facts: bytes) -> None:
        """Record a finished step with its facts (canonical JSON)."""

    def steps(self, request: Digest) -> dict[str, bytes]:
        """Facts of the finished steps, by name, in the order in which they were finished."""

    def set_state(self, request: Digest, state: str, bundle: bytes = b"") -> None:
        """Move a removal on; the last one carries the receipt's bundle."""

    def deny(self, request: Digest, state: str, denial: bytes) -> None:
        """End a removal that has not begun, with its denial. ConflictError when it is not open."""

    def note_trouble(self, request: Digest, line: str, at: datetime) -> Trouble:
        """Count one more failed try and keep its line."""

    def troubles(self) -> dict[Digest, Trouble]:
        """What failed, by request."""

    def clear_trouble(self, request: Digest) -> None:
        """Forget what failed: it has gone on."""
