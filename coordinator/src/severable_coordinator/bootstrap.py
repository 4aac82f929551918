"""The composition root: a home directory in, wired use cases out. Nothing else knows what stands behind a port.

What needs torch is imported when it is asked for: `up` and most commands never need it, and its import costs seconds.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from severable_coordinator.adapters.engine import submit
from severable_coordinator.adapters.settings import read_config
from severable_coordinator.adapters.steady_clock import SteadyClock
from severable_coordinator.config import Layout
from severable_coordinator.dispatch import CLOSED, JobReport, JobState, TaskStore
from severable_coordinator.errors import EngineError
from severable_coordinator.ports import RecipeRecord, ShardRecord
from severable_coordinator.reopening import Reopening
from severable_coordinator.services import Services
from severable_coordinator.stores import utc_now
from severable_trust.digest import Digest

if TYPE_CHECKING:
    from severable_coordinator.building import Building
    from severable_coordinator.erasing import Erasing
    from severable_coordinator.exporting import Exporting
    from severable_coordinator.inference import Inference
    from severable_coordinator.readiness import Readiness
    from severable_coordinator.removal import Removal
    from severable_coordinator.replay import Replay


@dataclass(frozen=True)
class Coordinator(Services):
    """Everything wired over one home directory."""

    @cached_property
    def building(self) -> "Building":
        """Banks, routers, composites (imports torch)."""
        from severable_coordinator.building import Building  # noqa: PLC0415  # imports torch

        return Building(
            contracting=self.contracting,
            contracts=self.contracts,
            shards=self.shards,
            composites=self.composites,
            vault=self.vault,
            logbook=self.logbook,
            clock=self.clock,
            work=self.layout.work,
            withdrawal=self.withdrawal,
        )

    @cached_property
    def exporting(self) -> "Exporting":
        """Handing composites out (imports torch)."""
        from severable_coordinator.exporting import Exporting  # noqa: PLC0415  # imports torch

        return Exporting(building=self.building, recalls=self.recalls, clock=self.clock)

    @cached_property
    def inference(self) -> "Inference":
        """Sampling and measuring composites (imports torch)."""
        from severable_coordinator.inference import Inference  # noqa: PLC0415  # imports torch

        return Inference(
            building=self.building, shards=self.shards, parties=self.parties, ledger=self.ledger, clock=self.clock
        )

    @cached_property
    def erasing(self) -> "Erasing":
        """What removals and restores take away (imports torch)."""
        from severable_coordinator.erasing import Erasing  # noqa: PLC0415  # imports torch

        return Erasing(
            building=self.building,
            shards=self.shards,
            composites=self.composites,
            ledger=self.ledger,
            vault=self.vault,
            logbook=self.logbook,
        )

    @cached_property
    def removal(self) -> "Removal":
        """Removals (imports torch)."""
        from severable_coordinator.proving import Proving  # noqa: PLC0415  # imports torch
        from severable_coordinator.removal import Removal  # noqa: PLC0415  # imports torch
        from severable_coordinator.retained import Retained  # noqa: PLC0415  # imports torch

        return Removal(
            building=self.building,
            contracts=self.contracts,
            shards=self.shards,
            removals=self.removals,
            erasing=self.erasing,
            vault=self.vault,
            logbook=self.logbook,
            clock=self.clock,
            close_tasks=self._close_tasks,
            training=self.training,
            recalling=self.recalling,
            scrub=self.database.scrub,
            keys_backups=self.keys_backups,
            proving=Proving(building=self.building, composites=self.composites),
            retained=Retained(building=self.building, composites=self.composites, vault=self.vault),
        )

    @cached_property
    def readiness(self) -> "Readiness":
        """Removals prepared beforehand (imports torch)."""
        from severable_coordinator.readiness import Readiness  # noqa: PLC0415  # imports torch

        return Readiness(
            building=self.building,
            composites=self.composites,
            shards=self.shards,
            removals=self.removals,
            vault=self.vault,
            retained=self.removal.retained,
        )

    @cached_property
    def replay(self) -> "Replay":
        """What a restored home does again (imports torch)."""
        from severable_coordinator.replay import Replay  # noqa: PLC0415  # imports torch

        return Replay(
            contracts=self.contracts,
            shards=self.shards,
            composites=self.composites,
            removals=self.removals,
            erasing=self.erasing,
            parties=self.parties,
            vault=self.vault,
            logbook=self.logbook,
            reopening=Reopening(
                contracting=self.contracting,
                contracts=self.contracts,
                removals=self.removals,
                recalls=self.recalls,
                logbook=self.logbook,
            ),
            scrub=self.database.scrub,
        )

    def _close_tasks(self, party: str, contract: Digest) -> int:
        concerned = [s for s in self.tasks.all() if s.task.party == party and s.task.contract == str(contract)]
        open_ones = [status for status in concerned if not status.report.state.final]
        for status in open_ones:
            self.tasks.report(status.task.id, JobReport(state=JobState.FAILED, detail=CLOSED))
            for upload in self.admission.uploads.open_of(status.task.id):
                self.admission.uploads.settle(upload.id, "refused", CLOSED)
        self._tell_nodes({status.task.batch for status in open_ones if status.report.state is not JobState.PENDING})
        return len(open_ones)

    def _tell_nodes(self, batches: set[str]) -> None:
        """Start a run that tells the owners' nodes to end their jobs; without `up`, the next run of a batch does."""
        for batch in sorted(batches):
            with suppress(EngineError):
                submit(self.engine, self.layout.bundle, {"batch": batch})


def open_home(home: Path) -> Coordinator:
    """The coordinator of a home directory. ConfigError when it is none."""
    layout = Layout(home.resolve())
    return Coordinator(layout, read_config(layout.config), SteadyClock(layout.clock_mark, utc_now))


def task_store(home: Path) -> TaskStore:
    """What the ServerApp works on."""
    return open_home(home).tasks


def read_recipe(path: Path) -> RecipeRecord:
    """A recipe file, checked. ConfigError."""
    from severable_coordinator.adapters import recipes  # noqa: PLC0415  # imports torch

    return recipes.read_recipe(path)


def import_shards(coordinator: Coordinator, directory: Path, trust_root: Path) -> list[ShardRecord]:
    """Verify and keep the shards that another coordinator exported. TrustError, ConfigError."""
    from severable_coordinator.adapters import handover  # noqa: PLC0415  # imports torch

    return handover.import_shards(coordinator, directory, trust_root)
