"""A data owner as it really runs: a home that joined over TLS, its daemon with SuperNode and worker, a link to cut."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from client.samples import write_images
from faults.ground import Ground
from faults.processes import PATIENCE_S, Process, command, end, noted, start, until
from integration.link import Link

from severable_client.adapters.config import read_config, write_config
from severable_client.adapters.enrolment_grpc import GrpcEnrolment
from severable_client.adapters.founding import join
from severable_client.bootstrap import Home, job_desk, now, open_home
from severable_client.consent import Rule
from severable_client.contracts import refresh, sign_contract
from severable_client.joining import Wishes
from severable_client.ports import Job, JobRequest, JobState
from severable_coordinator.adapters.sql.tasks import TaskStatus
from severable_coordinator.bootstrap import open_home as open_coordinator
from severable_coordinator.dispatch import JobState as TaskState
from severable_coordinator.ports import RecipeRecord
from severable_trust.shard import CONFIG, MANIFEST, WEIGHTS, ShardClaim
from severable_trust.statement import Kind, read_unverified

IMAGES = 16
ADMITTED = "shard, admitted"


@dataclass
class Owner:
    """One party.

    Attributes:
        party: its id.
        ground: the coordinator.
        root: a folder of its own, with home, images and logs.
        link: what its calls to the coordinator go through.
        recipe: the one that its contract is about.
        sight: the root of the file system as its daemon sees it.
    """

    party: str
    ground: Ground
    root: Path
    link: Link
    recipe: RecipeRecord
    sight: Path = Path("/")
    _task: str = ""
    _process: Process | None = field(default=None)

    @classmethod
    @contextmanager
    def joined(cls, party: str, ground: Ground, root: Path, recipe: RecipeRecord) -> Iterator["Owner"]:
        """A party that has joined and signed; whatever it started has ended after the block."""
        ground.up()
        exchange_port = ground.coordinator.config.ports.exchange
        with Link(exchange_port) as link:
            made = cls(party, ground, root, link, recipe)
            made._join()
            made._agree()
            try:
                yield made
            finally:
                link.flow()
                end(made._process, made.opened.layout.children)

    def _join(self) -> None:
        wishes = Wishes(home=self.home, data=write_images(self.images, IMAGES), legal_name=self.party)
        invite = self.ground.invite(self.party)
        join(invite, wishes, lambda asked: GrpcEnrolment(asked.coordinator, asked.authority_pem), now())
        path = self.home / "config.yaml"
        config = replace(read_config(path), approve=Rule.CONTRACT, exchange=self.link.address, grace_s=0)
        write_config(path, replace(config, checkpoint_minutes=0.01, grid_minutes=0, tensorboard=False))

    def _agree(self) -> None:
        self.ground.offer(self.party, self.recipe)
        problems: list[str] = []
        with self.opened.exchange() as exchange:
            (record,) = refresh(exchange, self.opened.holdings, problems.append)
            sign_contract(record, self.opened.signer(), exchange, self.opened.holdings)
        assert problems == []

    @property
    def home(self) -> Path:
        """Its home."""
        return self.root / "home"

    @property
    def images(self) -> Path:
        """Its images."""
        return self.root / "images"

    @cached_property
    def opened(self) -> Home:
        """What a command of its administrator sees."""
        return open_home(self.home)

    @property
    def pid(self) -> int:
        """The daemon's process."""
        return self._process.pid if self._process else 0

    @property
    def supernode(self) -> int:
        """The SuperNode's process."""
        return noted(self.opened.layout.children, "flower-supernode")

    @property
    def worker(self) -> int:
        """The worker's process."""
        return noted(self.opened.layout.children, "severable_client.worker")

    @property
    def said(self) -> str:
        """All that its daemons said."""
        log = self.root / "daemon.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def up(self, prefix: Sequence[str] = (), **environment: str) -> Process:
        """Start the daemon, as an administrator or systemd would; returns its process."""
        if self._process is not None:
            self._process.wait(PATIENCE_S)
        words = [*prefix, *command("severable_client", "up", "--home", str(self.home))]
        self._process = start(words, self.root / "daemon.log", **environment)
        return self._process

    def train(self, *, by_message: bool = False) -> None:
        """Be asked for a shard: by Flower's message, or, sooner, at the very desk that answers it."""
        task = self.ground.ask(self.party, self.recipe, by_message=by_message)
        self._task = task.id
        if not by_message:
            asked = JobRequest(task=task.id, nonce=task.nonce, contract=task.contract, recipe=task.recipe)
            assert job_desk(self.home)(asked).state is JobState.QUEUED

    @property
    def job(self) -> Job | None:
        """The job that it was asked for last, once it is there."""
        return next((job for job in self.opened.jobs.all() if job.request.task == self._task), None)

    def comes_to(self, true: Callable[[Job], bool], what: str) -> None:
        """Wait until its job has come somewhere."""

        def there() -> bool:
            job = self.job
            assert job is None or true(job) or not job.report.state.final, (job, self.said)
            return job is not None and true(job)

        until(there, f"{self.party}: {what}", lambda: self._process is None or self._process.poll() is None)

    def comes_to_train(self, attempt: int = 1) -> None:
        """Wait until its first, or a later, worker has done steps."""
        self.comes_to(lambda job: _trains(job) and job.attempts == attempt, f"training, attempt {attempt}")

    def ships(self) -> None:
        """Wait for the end; see that one whole shard was admitted, once, and nothing was lost or sent twice."""
        self.comes_to(lambda job: job.report.state is JobState.SHIPPED, "shipped")
        job = self.job
        assert job is not None
        self.opened.journal.verify()
        assert [entry.subject for entry in self.opened.journal.all() if entry.what == ADMITTED] == [job.report.detail]
        seen = open_coordinator(self.ground.home)
        until(lambda: self.tasks()[-1].report.state is TaskState.SHIPPED, f"{self.party}'s task is closed")
        assert [status.report.state for status in self.tasks()].count(TaskState.SHIPPED) == 1
        (shard,) = (shard for shard in seen.shards.shards(None) if shard.party == self.party)
        assert str(shard.id) == job.report.detail
        assert seen.logbook.log.statements(Kind.SHARD).count(shard.id) == 1
        files = {f"shards/{shard.id.hex}/{name}": name for name in (CONFIG, MANIFEST, WEIGHTS)}
        assert seen.vault.names(self.party) == sorted(files)
        for kept, name in files.items():
            assert seen.vault.read(self.party, kept) == (self._folder(job) / name).read_bytes()

    def _folder(self, job: Job) -> Path:
        return self.sight / self.opened.layout.jobs.relative_to("/") / job.id

    @property
    def claim(self) -> ShardClaim:
        """What its one shard claims."""
        (shard,) = (shard for shard in self.ground.coordinator.shards.shards() if shard.party == self.party)
        return read_unverified(shard.claim, ShardClaim)

    def tasks(self) -> list[TaskStatus]:
        """Its tasks as the coordinator knows them."""
        return [status for status in self.ground.coordinator.tasks.all() if status.task.party == self.party]


def _trains(job: Job) -> bool:
    """Whether steps were done by the present worker: `started` is none from its start to its first word."""
    return job.report.state is JobState.TRAINING and job.report.step > 0 and job.started is not None
