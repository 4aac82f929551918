"""The part of the composition root that never needs torch: stores in, wired use cases out."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from severable_coordinator.adapters.authority import KeyPair, issue_party
from severable_coordinator.adapters.engine import EngineConfig
from severable_coordinator.adapters.exclusive import exclusive
from severable_coordinator.adapters.log_mark import LogMark
from severable_coordinator.adapters.signing import read_signer
from severable_coordinator.adapters.sql.log import SqlLog
from severable_coordinator.adapters.sql.shards import SqlUploadStore
from severable_coordinator.adapters.turns import FileTurns
from severable_coordinator.admission import Admission
from severable_coordinator.contracting import Contracting
from severable_coordinator.enforcement import Enforcement
from severable_coordinator.enrolment import Enrolment
from severable_coordinator.exits import Exits
from severable_coordinator.logbook import Logbook
from severable_coordinator.notices import Notices
from severable_coordinator.orders import Orders
from severable_coordinator.recalling import Recalling
from severable_coordinator.removal_report import Reporting
from severable_coordinator.requests import Requests
from severable_coordinator.standing import Standing
from severable_coordinator.stores import Stores
from severable_coordinator.training import Training
from severable_coordinator.withdrawal import Withdrawal
from severable_trust.checkpoint import Checkpoint
from severable_trust.digest import Digest
from severable_trust.note import LogSigner, sign_note
from severable_trust.trust_root import TrustRoot


@dataclass(frozen=True)
class Services(Stores):
    """What is wired over one home directory without torch; `bootstrap.Coordinator` adds the rest."""

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
