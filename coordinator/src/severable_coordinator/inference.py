"""Drawing from a group's live composite: permitted by every member's contract, and every draw in the ledger.

`sample` draws for people to look at, `evaluate` to measure. A draw is entered before anything of it is written, so that
nobody has images that the ledger does not know.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from severable_coordinator.building import Building, Progress
from severable_coordinator.evaluation import Evaluation, Subject, evaluate_composite
from severable_coordinator.ledger import LedgerLine, LedgerStore
from severable_coordinator.membership import PartyStore
from severable_coordinator.membership_audit import Audit, audit_composite
from severable_coordinator.ports import Clock, CompositeRecord, ShardStore
from severable_coordinator.sampling import Counted, sample_composite
from severable_diffusion.attribution import Attribution
from severable_trust.contract import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """Draws from composites."""

    building: Building
    shards: ShardStore
    parties: PartyStore
    ledger: LedgerStore
    clock: Clock

    def sample(self, group: str, out: Path, *, images: int, seed: int, progress: Progress) -> list[Path]:
        """Sample for people to look at; returns the files written. NotFoundError, ContractError, WithdrawnError."""
        record, guard = self._permitted(group), self.building.withdrawal
        with guard.using(record.members):
            return sample_composite(
                self.building.directory(record),
                self._names(record),
                out,
                everyone=self._everyone(),
                images=images,
                seed=seed,
                progress=guard.watched(record.members, progress),
                counted=self._counter(record),
                handing_out=partial(self._handing_out, record),
            )

    def evaluate(self, group: str, asked: Evaluation, progress: Progress) -> dict[str, object]:
        """Measure against real images; returns what evaluation.json says. NotFoundError, ContractError, ConfigError."""
        record = self._permitted(group)
        subject = Subject(
            composite=str(record.id),
            group=group,
            directory=self.building.directory(record),
            names=self._names(record),
            everyone=self._everyone(),
        )
        guard = self.building.withdrawal
        with guard.using(record.members):
            return evaluate_composite(
                subject,
                asked,
                progress=guard.watched(record.members, progress),
                counted=self._counter(record),
                handing_out=partial(self._handing_out, record),
            )

    @contextmanager
    def _handing_out(self, record: CompositeRecord) -> Iterator[None]:
        """The moment in which what was drawn gets its name: may it still? WithdrawnError, ContractError."""
        with self.building.withdrawal.handing_out(record.members):
            self.building.require(record, Action.INFER)
            yield

    def audit(self, group: str, asked: Audit, progress: Progress) -> dict[str, object]:
        """Look whether the composite knows a party's images; returns what membership.json says. As `evaluate` raises.

        Nothing is drawn, so the ledger has no line of it.
        """
        record, guard = self._permitted(group), self.building.withdrawal
        with guard.using(record.members):
            return audit_composite(
                str(record.id),
                self.building.directory(record),
                asked,
                guard.watched(record.members, progress),
                partial(self._handing_out, record),
            )

    def _permitted(self, group: str) -> CompositeRecord:
        record = self.building.live(group)
        self.building.require(record, Action.INFER)
        return record

    def _names(self, record: CompositeRecord) -> dict[str, str]:
        return {shard.hex: self.shards.shard(shard).party for shard in record.members}

    def _everyone(self) -> list[str]:
        return [party.id for party in self.parties.parties()]

    def _counter(self, record: CompositeRecord) -> Counted:
        """What enters a draw: a line for each shard that could be used in it, also where none of the images is its."""
        members = {shard.hex: self.shards.shard(shard) for shard in record.members}

        def counted(drawn: Attribution, usable: Collection[str]) -> None:
            now, images = self.clock(), drawn.trajectory_SNK.shape[1]
            credit_K = drawn.realised_NK.double().sum(dim=0)
            self.ledger.add(
                LedgerLine(
                    composite=record.id,
                    group=record.group,
                    shard=members[shard].id,
                    party=members[shard].party,
                    contract=members[shard].contract,
                    images=images,
                    credit=float(credit),
                    drawn=now,
                )
                for shard, credit in zip(drawn.shard_ids, credit_K, strict=True)
                if shard in usable
            )

        return counted
