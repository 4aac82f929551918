"""The composition root: a home folder in, wired use cases out.

Light on purpose: the Flower executor and the command line import it, torch is not among what it imports.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from severable_client.adapters.approvals import SqlApprovalStore
from severable_client.adapters.config import Config, read_config
from severable_client.adapters.database import open_database
from severable_client.adapters.decisions import FolderDecisionStore
from severable_client.adapters.erased import FileErasedStore, FolderTraces
from severable_client.adapters.exchange_grpc import TIMEOUT_S, GrpcExchange
from severable_client.adapters.files import FolderRecipeStore, FolderRemovalStore, FolderViewStore, storage
from severable_client.adapters.journal import SqlJournal
from severable_client.adapters.keys import read_former, read_public
from severable_client.adapters.signing import own_signer
from severable_client.adapters.sql import SqlContractStore, SqlJobStore
from severable_client.consent import ApprovalStore, Consent
from severable_client.contracts import Holdings, Sides, permitted_apps
from severable_client.discretion import Discretion
from severable_client.erasure import Erasures
from severable_client.errors import HomeError
from severable_client.home import Layout
from severable_client.jobs import MAX_SEED, JobDesk
from severable_client.ports import ContractStore, JobReport, JobRequest, JobStore, RecipeStore
from severable_client.release import Desk
from severable_client.removal import RemovalStore
from severable_client.witness import Witness
from severable_trust.errors import TrustError
from severable_trust.keys import Signer
from severable_trust.trust_root import TrustRoot


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """An opened home: where things lie, how it is set, and its stores."""

    layout: Layout
    config: Config
    trust_root: TrustRoot
    sides: Sides
    contracts: ContractStore
    recipes: RecipeStore
    jobs: JobStore
    journal: SqlJournal
    removals: RemovalStore
    approvals: ApprovalStore
    erased: FileErasedStore

    @property
    def traces(self) -> FolderTraces:
        """What trainings left in this home."""
        return FolderTraces(self.layout)

    @property
    def erasures(self) -> Erasures:
        """What was erased, held against what was trained."""
        return Erasures(
            erased=self.erased,
            traces=self.traces,
            jobs=self.jobs,
            contracts=self.contracts,
            removals=self.removals,
            clock=now,
        )

    @property
    def consent(self) -> Consent:
        """What deciding about recipes needs."""
        return Consent(
            approvals=self.approvals,
            jobs=self.jobs,
            journal=self.journal,
            clock=now,
            rule=self.config.approve,
        )

    @property
    def holdings(self) -> Holdings:
        """The part of the home that dealing in contracts needs."""
        return Holdings(
            sides=self.sides,
            contracts=self.contracts,
            recipes=self.recipes,
            journal=self.journal,
            clock=now,
        )

    @property
    def release_desk(self) -> Desk:
        """What deciding about a shard needs."""
        decisions = FolderDecisionStore(self.layout.jobs)
        return Desk(jobs=self.jobs, decisions=decisions, journal=self.journal, clock=now)

    @property
    def witness(self) -> Witness:
        """This party's watch over the coordinator's log and roster."""
        return Witness(root=self.trust_root, views=FolderViewStore(self.layout), clock=now)

    def signer(self) -> Signer:
        """Return the signer of this party's statements; raises HomeError when its key cannot be used."""
        return own_signer(self.layout, self.config.statement_key)

    def exchange(self, timeout_s: float = TIMEOUT_S) -> GrpcExchange:
        """Return the coordinator's exchange; use it in a ``with`` statement.

        Args:
            timeout_s: seconds to wait for the answer to a small call.
        """
        return GrpcExchange(self.config.exchange, self.layout, timeout_s)


def now() -> datetime:
    """Return the time now, UTC, in whole seconds as statements write it."""
    return datetime.now(UTC).replace(microsecond=0)


def open_home(path: Path) -> Home:
    """Return the home in a folder.

    Raises:
        HomeError: no home is there, or its keys or trust root are missing or damaged.
        ConfigError: config.yaml has a wrong field.
        StorageError: the database cannot be opened.
    """
    layout = Layout(path.expanduser().absolute())
    config = read_config(layout.config)
    with storage(f"{layout.trust_root} cannot be read"):
        data = layout.trust_root.read_bytes()
    try:
        root = TrustRoot.parse(data)
    except TrustError as error:
        raise HomeError(f"{layout.trust_root}: {error}; restore it from a backup or join again") from error
    engine = open_database(layout.state)
    return Home(
        layout=layout,
        config=config,
        trust_root=root,
        sides=Sides(
            party=config.party,
            own=read_public(layout),
            coordinator=root.coordinator_key,
            former=read_former(layout),
        ),
        contracts=SqlContractStore(engine, layout.contracts),
        recipes=FolderRecipeStore(layout.recipes),
        jobs=SqlJobStore(engine),
        journal=SqlJournal(engine, layout.journal),
        removals=FolderRemovalStore(layout.removals),
        approvals=SqlApprovalStore(engine),
        erased=FileErasedStore(layout.erased),
    )


def job_desk(path: Path) -> Callable[[JobRequest], JobReport]:
    """Return the desk that answers a coordinator's requests for the home in a folder; raises as `open_home`."""
    home = open_home(path)
    return _discreet(home, _desk(home))


def job_halt(path: Path) -> Callable[[JobRequest], JobReport]:
    """Return what ends the jobs of the home in a folder at a coordinator's word; raises as `open_home`."""
    home = open_home(path)
    return _discreet(home, _desk(home).halt)


def _desk(home: Home) -> JobDesk:
    return JobDesk(
        sides=home.sides,
        contracts=home.contracts,
        recipes=home.recipes,
        jobs=home.jobs,
        consent=home.consent,
        clock=now,
        draw_seed=lambda: secrets.randbelow(MAX_SEED),
    )


def _discreet(home: Home, desk: Callable[[JobRequest], JobReport]) -> Callable[[JobRequest], JobReport]:
    discreet = Discretion(Path(home.config.data))

    def answer(request: JobRequest) -> JobReport:
        report = desk(request)
        return replace(report, detail=discreet(report.detail))

    return answer


def allowed_bundles(path: Path) -> Callable[[], frozenset[str]]:
    """Return a function that gives the hex digests of the bundles a contract permits now; raises as `open_home`."""
    home = open_home(path)
    return lambda: permitted_apps(home.sides, home.contracts, now())
