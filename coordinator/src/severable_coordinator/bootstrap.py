"""The composition root: a home directory in, wired use cases out. Nothing else knows what stands behind a port.

What needs torch is imported when it is asked for: `up` and most commands never need it, and its import costs seconds.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from severable_coordinator.adapters.authority import KeyPair, issue_party
from severable_coordinator.adapters.engine import EngineConfig, submit
from severable_coordinator.adapters.exclusive import exclusive
from severable_coordinator.adapters.log_mark import LogMark
from severable_coordinator.adapters.settings import read_config
from severable_coordinator.adapters.signing import read_signer
from severable_coordinator.adapters.sql.log import SqlLog
from severable_coordinator.adapters.sql.shards import SqlUploadStore
from severable_coordinator.adapters.steady_clock import SteadyClock
from severable_coordinator.adapters.turns import FileTurns
from severable_coordinator.admission import Admission
from severable_coordinator.config import Layout
from severable_coordinator.contracting import Contracting
from severable_coordinator.dispatch import CLOSED, JobReport, JobState, TaskStore
from severable_coordinator.enforcement import Enforcement
from severable_coordinator.enrolment import Enrolment
from severable_coordinator.errors import EngineError
from severable_coordinator.exits import Exits
from severable_coordinator.logbook import Logbook
from severable_coordinator.notices import Notices
from severable_coordinator.orders import Orders
from severable_coordinator.ports import RecipeRecord, ShardRecord
from severable_coordinator.recalling import Recalling
from severable_coordinator.removal_report import Reporting
from severable_coordinator.reopening import Reopening
from severable_coordinator.requests import Requests
from severable_coordinator.standing import Standing
from severable_coordinator.stores import Stores, utc_now
from severable_coordinator.training import Training
from severable_coordinator.withdrawal import Withdrawal
from severable_trust.checkpoint import Checkpoint
from severable_trust.digest import Digest
from severable_trust.note import LogSigner, sign_note
from severable_trust.trust_root import TrustRoot

if TYPE_CHECKING:
    from severable_coordinator.building import Building
    from severable_coordinator.exporting import Exporting
    from severable_coordinator.inference import Inference
    from severable_coordinator.readiness import Readiness
    from severable_coordinator.removal import Removal
    from severable_coordinator.replay import Replay


@dataclass(frozen=True)
class Coordinator(Stores):
    """Everything wired over one home directory."""

    @cached_property
    def trust_root(self) -> TrustRoot:
        """What strangers verify with."""
        return TrustRoot.parse(self.read(self.layout.trust_root))

    @cached_property
    def log(self) -> SqlLog:
        """Log; its origin is the coordinator's id."""
        signer = LogSigner(self.config.id, self.read(self.layout.keys / "log.pem"))

        def sign(checkpoint: Checkpoint) -> str:
            return sign_note(checkpoint.text, signer)

        return SqlLog(self.database, self.config.id, sign, LogMark(self.layout.log_mark))

    @cached_property
    def logbook(self) -> Logbook:
        """The coordinator's identity with its log."""
        return Logbook(
            coordinator=self.config.id,
            signer=read_signer(self.layout, self.config),
            log=self.log,
            parties=self.parties,
            clock=self.clock,
            trust_root=self.trust_root,
            turn=lambda: exclusive(self.layout.roster_lock),
        )

    @cached_property
    def authority(self) -> KeyPair:
        """The certificate authority."""
        return KeyPair(self.read(self.layout.keys / "ca.pem"), self.read(self.layout.keys / "ca.key"))

    @property
    def server(self) -> KeyPair:
        """The servers' certificate and key, as they are on the disk now."""
        return KeyPair(self.read(self.layout.keys / "server.pem"), self.read(self.layout.keys / "server.key"))

    @cached_property
    def engine(self) -> EngineConfig:
        """Flower's configuration."""
        return EngineConfig(
            directory=self.layout.engine,
            certificate=self.layout.keys / "server.pem",
            private_key=self.layout.keys / "server.key",
            ca=self.layout.keys / "ca.pem",
            host=self.config.host,
            fleet_port=self.config.ports.fleet,
            control_port=self.config.ports.control,
        )

    @cached_property
    def enrolment(self) -> Enrolment:
        """Invites and joining."""

        def certify(request_pem: bytes, party: str, now: datetime) -> bytes:
            return issue_party(self.authority, request_pem, party, now)

        def register(node_key: str, party: str) -> None:
            self.engine.control.register_node(node_key, party)

        return Enrolment(
            parties=self.parties, logbook=self.logbook, clock=self.clock, certify=certify, register_node=register
        )

    @cached_property
    def standing(self) -> Standing:
        """What changes for parties that have joined."""

        def unregister(node_key: str) -> None:
            self.engine.control.unregister_node(node_key)

        return Standing(
            parties=self.parties,
            logbook=self.logbook,
            unregister_node=unregister,
            suspend=self.contracting.suspend_all,
        )

    @cached_property
    def contracting(self) -> Contracting:
        """Contracts."""
        return Contracting(
            contracts=self.contracts,
            parties=self.parties,
            logbook=self.logbook,
            clock=self.clock,
            legal_name=self.config.legal_name,
            app=lambda: Digest.of(self.read(self.layout.bundle)),
        )

    @cached_property
    def training(self) -> Training:
        """Training batches."""
        return Training(contracting=self.contracting, parties=self.parties, shards=self.shards, tasks=self.tasks)

    @cached_property
    def admission(self) -> Admission:
        """Shards' way in."""
        return Admission(
            contracts=self.contracts,
            contracting=self.contracting,
            uploads=SqlUploadStore(self.database),
            shards=self.shards,
            tasks=self.tasks,
            vault=self.vault,
            logbook=self.logbook,
            clock=self.clock,
            tombstones=self.tombstones,
        )

    @cached_property
    def requests(self) -> Requests:
        """Erasure requests' way in."""
        return Requests(
            contracting=self.contracting,
            contracts=self.contracts,
            shards=self.shards,
            removals=self.removals,
            logbook=self.logbook,
            clock=self.clock,
            orders=self.orders,
        )

    @cached_property
    def notices(self) -> Notices:
        """What both sides of a removal are told."""
        return Notices(
            store=self.notice_store,
            coordinator=self.config.id,
            addresses=self.config.notices.addresses,
            clock=self.clock,
        )

    @cached_property
    def orders(self) -> Orders:
        """Removals that the coordinator orders, denies or lets lapse."""
        return Orders(
            contracting=self.contracting,
            contracts=self.contracts,
            shards=self.shards,
            removals=self.removals,
            logbook=self.logbook,
            clock=self.clock,
            announce=self.notices.of_removal,
        )

    @cached_property
    def enforcement(self) -> Enforcement:
        """What is due."""
        return Enforcement(
            contracts=self.contracts,
            parties=self.parties,
            removals=self.removals,
            requests=self.requests,
            orders=self.orders,
        )

    @cached_property
    def exits(self) -> Exits:
        """Parties that leave."""
        return Exits(
            parties=self.parties,
            contracts=self.contracts,
            shards=self.shards,
            removals=self.removals,
            orders=self.orders,
            standing=self.standing,
            announce=self.notices.of_exit,
            grace=timedelta(days=self.config.enforcement.exit_after_days),
        )

    @cached_property
    def withdrawal(self) -> Withdrawal:
        """Taking shards out of all use at once."""
        return Withdrawal(shards=self.shards, turns=FileTurns(self.layout.turns))

    @cached_property
    def recalling(self) -> Recalling:
        """Recalls of what was handed out."""
        return Recalling(
            store=self.recalls,
            contracting=self.contracting,
            parties=self.parties,
            composites=self.composites,
            logbook=self.logbook,
            clock=self.clock,
        )

    @cached_property
    def reporting(self) -> Reporting:
        """Facts of removals, for people."""
        return Reporting(
            coordinator=self.config.id,
            contracting=self.contracting,
            parties=self.parties,
            removals=self.removals,
            recalls=self.recalls,
            clock=self.clock,
        )

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
    def removal(self) -> "Removal":
        """Removals (imports torch)."""
        from severable_coordinator.proving import Proving  # noqa: PLC0415  # imports torch
        from severable_coordinator.removal import Removal  # noqa: PLC0415  # imports torch
        from severable_coordinator.retained import Retained  # noqa: PLC0415  # imports torch

        return Removal(
            building=self.building,
            contracts=self.contracts,
            shards=self.shards,
            composites=self.composites,
            removals=self.removals,
            ledger=self.ledger,
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
            building=self.building,
            contracts=self.contracts,
            shards=self.shards,
            composites=self.composites,
            removals=self.removals,
            ledger=self.ledger,
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
