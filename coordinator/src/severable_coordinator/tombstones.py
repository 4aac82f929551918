"""Tombstones: what was removed does not come back, neither under its id nor as the same weights under another.

Of every admitted shard a one-way sketch of its weights (weight_sketch.py) is kept beside its record; after a removal it
stays with the tombstone. Incoming weights are compared with the sketches of all removed shards, whosever they were.
"""

from dataclasses import dataclass
from typing import Protocol

from severable_coordinator.errors import NotFoundError, RefusedError, StorageError
from severable_coordinator.ports import ShardState, ShardStore
from severable_coordinator.weight_sketch import Sketching, WeightSketch, key_id
from severable_trust.digest import Digest


class SketchStore(Protocol):
    """Sketches of shards' weights, by the shard's id; none is ever taken away."""

    def keep(self, shard_id: Digest, sketch: WeightSketch) -> None:
        """Keep a shard's sketch; a second one takes the place of the first."""

    def sketches(self) -> dict[Digest, WeightSketch]:
        """Every sketch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstones:
    """Keeps out what was removed.

    Attributes:
        shards: says which shards are removed.
        sketches: of all shards.
        key: the secret under which sketches are made.
    """

    shards: ShardStore
    sketches: SketchStore
    key: bytes

    def sketching(self, size: int) -> Sketching:
        """Begin the sketch of a weights file of so many bytes."""
        return Sketching(self.key, size)

    def keep(self, shard_id: Digest, sketch: WeightSketch) -> None:
        """Keep the sketch of an admitted shard."""
        self.sketches.keep(shard_id, sketch)

    def refuse_id(self, shard_id: Digest) -> None:
        """Refuse a shard that was removed. RefusedError."""
        try:
            record = self.shards.shard(shard_id)
        except NotFoundError:
            return
        if record.state is not ShardState.LIVE:
            raise RefusedError(f"shard {shard_id} was removed and does not come back; train a new one")

    def refuse_weights(self, sketch: WeightSketch) -> None:
        """Refuse the weights of a removed shard, also re-signed, for another recipe, or hardly changed.

        Raises:
            RefusedError: they are those of a removed shard.
            StorageError: removed shards were sketched under another key than the one that is there now.
        """
        kept = self.sketches.sketches()
        removed = [shard.id for shard in self.shards.shards(None) if shard.state is not ShardState.LIVE]
        for shard_id in removed:
            before = kept.get(shard_id)
            if before is None:
                continue
            if before.key != key_id(self.key):
                raise StorageError(
                    f"shard {shard_id} was sketched under key {before.key}, the sketch key here is {key_id(self.key)}; "
                    "restore keys/sketch.key from the keys' backup"
                )
            if sketch.is_of_same_weights(before):
                likeness = f"likeness {sketch.likeness(before):.2f}, 0.50 or more is refused"
                raise RefusedError(
                    f"these are the weights of shard {shard_id}, which was removed ({likeness}); they do not come "
                    "back, train new ones"
                )
