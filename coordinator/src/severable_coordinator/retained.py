"""What a removal changes for the data of the others: measured on the remaining shards' banks, kept with their router.

The measure needs nothing of the shards that leave but their ids and lambdas (`severable_diffusion.retained`), so it is
made in idle time, before anybody asks, or after the erasure, and is the same figure.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from severable_coordinator.building import Building, Progress
from severable_coordinator.composite_files import recipe_of, weights_of
from severable_coordinator.errors import ConflictError, NotFoundError, StorageError, WithdrawnError
from severable_coordinator.ports import CompositeRecord, CompositeStore, ShardState
from severable_coordinator.shard_sets import ShardSet
from severable_coordinator.vault_port import Vault
from severable_diffusion import network, shard_set
from severable_diffusion.errors import CompositeError
from severable_diffusion.retained import retained_quality
from severable_trust import canonical
from severable_trust.composite import CompositeManifest
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.statement import read_unverified

SAMPLES, SEED = 512, 0
Facts = dict[str, Any]
Gone = Mapping[str, float]  # hex of a leaving shard's id -> its lambda


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """Measures departures, each once."""

    building: Building
    composites: CompositeStore
    vault: Vault
    samples: int = SAMPLES
    seed: int = SEED

    def kept(self, after: ShardSet, gone: Gone) -> Facts | None:
        """The figure that was measured for this departure, or None."""
        try:
            value = canonical.decode(self.vault.read(after.compartment, self._file(after, gone)), "quality")
        except (NotFoundError, StorageError):
            return None
        return value if isinstance(value, dict) else None

    def measure(self, after: ShardSet, gone: Gone, progress: Progress) -> Facts:
        """The figure of this departure: kept, or measured now and kept.

        Returns:
            What `RetainedQuality` holds, with low and high of the change's 95 % interval; or `not_measured` with the
            reason, where nothing can be measured.
        """
        found = self.kept(after, gone)
        if found is None:
            found = self.measured(after, gone, progress)
            self.vault.write(after.compartment, self._file(after, gone), iter([canonical.encode(found)]))
        return found

    def measured(self, after: ShardSet, gone: Gone, progress: Progress) -> Facts:
        """Measure and keep nothing."""
        recipe = recipe_of(self.building.contracts, after)
        banks = {shard.id.hex: self.building.bank(shard, recipe, progress) for shard in after.shards}
        networks = {shard.id.hex: network.load(recipe, weights_of(self.vault, shard)) for shard in after.shards}
        shares = {shard.id.hex: weight for shard, weight in zip(after.shards, after.weights, strict=True)}
        try:
            told = retained_quality(
                shard_set.ShardSet(recipe, networks, shares),
                banks,
                gone,
                samples=self.samples,
                seed=self.seed,
                told=lambda _what, done, total: progress("retained quality", done, total),
            )
        except CompositeError as error:
            return {"not_measured": str(error)}
        low, high = told.interval
        return asdict(told) | {"low": low, "high": high}

    def of_removal(
        self, changes: Sequence[Sequence[str]], subjects: Collection[Digest], progress: Progress, *, measure: bool
    ) -> list[Facts]:
        """The figure of each composite that a removal rebuilt: the kept one, or measured now if that is asked for.

        Args:
            changes: of each group its name, the composite before, its router, the composite after ("" for none).
            subjects: the removed shards.
            progress: told how far a measurement is.
            measure: whether to measure what nobody measured yet.
        """
        records, told = {(one.group, str(one.id)): one for one in self.composites.composites(None)}, []
        for group, before, _, after, *_ in changes:
            if not after:
                continue
            try:
                left = set_of(self.building, records[group, after])
            except ConflictError:  # another removal took it apart since
                continue
            lambdas = lambdas_of(records[group, before])
            gone = {shard.hex: weight for shard, weight in lambdas.items() if shard in subjects}
            try:
                found = self.measure(left, gone, progress) if measure else self.kept(left, gone)
            except WithdrawnError:  # likewise, meanwhile
                continue
            if found is not None:
                told.append({"group": group, **found})
        return told

    def _file(self, after: ShardSet, gone: Gone) -> str:
        """A name for one departure: who left, at which lambdas of all, measured how."""
        shares = [[str(shard.id), weight] for shard, weight in zip(after.shards, after.weights, strict=True)]
        parts = [sorted(gone.items()), shares, self.samples, self.seed]
        return f"quality-{Digest.of(canonical.encode(parts)).hex[:16]}.json"


def gone_from(before: ShardSet, after: ShardSet) -> Gone:
    """The shards of a set that are not in another one, with their lambdas."""
    left = {shard.id for shard in after.shards}
    pairs = zip(before.shards, before.weights, strict=True)
    return {shard.id.hex: weight for shard, weight in pairs if shard.id not in left}


def lambdas_of(composite: CompositeRecord) -> dict[Digest, float]:
    """Each member's lambda, as the composite's own manifest says."""
    manifest = read_unverified(Envelope.parse(composite.manifest), CompositeManifest)
    return {member.shard: member.weight for member in manifest.content.members}


def set_of(building: Building, composite: CompositeRecord) -> ShardSet:
    """The set that a composite was made of. ConflictError when a shard of it is not in use any more."""
    weights = lambdas_of(composite)
    shards = tuple(building.shards.shard(shard) for shard in sorted(weights))
    if gone := [shard for shard in shards if shard.state is not ShardState.LIVE]:
        raise ConflictError(f"composite {composite.id} held {gone[0].party}'s shard, which was removed since")
    return ShardSet(
        group=composite.group,
        recipe=shards[0].recipe,
        shards=shards,
        weights=tuple(weights[shard.id] for shard in shards),
    )
