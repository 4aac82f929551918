"""What the operator chose at `init`, as one frozen value (HOME/config.yaml)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from severable_coordinator.confirmed_time import CONFIRM_S
from severable_coordinator.notices import Address


class Preparing(StrEnum):
    """Whether `up` builds in idle time what a removal of any one party would need."""

    EAGER = "eager"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """TCP ports. `control` is Flower's whole API and is bound to loopback only, whatever `host` is."""

    enrolment: int
    exchange: int
    fleet: int
    control: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementConfig:
    """How `up` enforces contracts.

    Attributes:
        automatic: whether it carries removals out by itself; if not, `remove` does.
        confirm_s: how long the clock must keep to its course before a term or notice period counts as over, seconds.
        look_s: seconds between two looks.
        exit_after_days: days after its last receipt that a party without a contract leaves.
    """

    automatic: bool = True
    confirm_s: float = CONFIRM_S
    look_s: float = 2.0
    exit_after_days: float = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpConfig:
    """The server that takes e-mails, and as whom it is spoken to; `password_file` is below the home."""

    host: str
    port: int
    sender: str
    tls: str = "starttls"  # "starttls", "tls", or "none" on this machine alone
    user: str = ""
    password_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticesConfig:
    """Who is told of removals: the operator of everybody's, a party of its own. `webhook_secret` is below the home."""

    webhook_secret: str = ""
    smtp: SmtpConfig | None = None
    operator: tuple[Address, ...] = ()
    parties: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)

    def addresses(self, party: str) -> tuple[Address, ...]:
        """Both sides' addresses in what concerns a party, none twice."""
        return tuple(dict.fromkeys((*self.operator, *self.parties.get(party, ()))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A coordinator: who it is, and where its servers listen."""

    id: str
    legal_name: str
    host: str
    ports: Ports
    readiness: Preparing = Preparing.OFF
    statement_key: str = ""  # URI of a key in hardware or a key service; "" for the file keys/statement.pem
    enforcement: EnforcementConfig = EnforcementConfig()
    notices: NoticesConfig = NoticesConfig()

    @property
    def enrolment_address(self) -> str:
        """Where `join` goes."""
        return f"{self.host}:{self.ports.enrolment}"

    @property
    def exchange_address(self) -> str:
        """Where parties bring contracts, shards and requests."""
        return f"{self.host}:{self.ports.exchange}"

    @property
    def fleet_address(self) -> str:
        """Where Flower nodes connect."""
        return f"{self.host}:{self.ports.fleet}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of the files in a coordinator's home directory."""

    home: Path

    @property
    def config(self) -> Path:
        """The operator's choices."""
        return self.home / "config.yaml"

    @property
    def database(self) -> Path:
        """SQLite: everything but keys and files."""
        return self.home / "coordinator.db"

    @property
    def keys(self) -> Path:
        """Private keys, mode 0700; kept out of every backup that holds the database."""
        return self.home / "keys"

    @property
    def statement_public(self) -> Path:
        """Public half (PEM) of a statement key that is not a file here."""
        return self.keys / "statement.pub"

    @property
    def data_keys(self) -> Path:
        """One keyset per party; removal destroys it."""
        return self.keys / "data"

    @property
    def sketch_key(self) -> Path:
        """The secret under which weights are sketched (weight_sketch.py)."""
        return self.keys / "sketch.key"

    @property
    def store(self) -> Path:
        """Encrypted files of the parties."""
        return self.home / "store"

    @property
    def work(self) -> Path:
        """Routers and assembled composites: derived, rebuilt at will."""
        return self.home / "composites"

    @property
    def engine(self) -> Path:
        """Flower's database, secret and logs."""
        return self.home / "flower"

    @property
    def app(self) -> Path:
        """The Flower app bundle's sources, as they were when `init` copied them."""
        return self.home / "flower-app"

    @property
    def bundle(self) -> Path:
        """The bundle built from them; contracts name its SHA-256."""
        return self.home / "flower-app.fab"

    @property
    def logs(self) -> Path:
        """Log files of the processes that `up` starts."""
        return self.home / "logs"

    @property
    def trust_root(self) -> Path:
        """The public keys that a stranger needs to verify what this coordinator signs."""
        return self.home / "trust-root.json"

    @property
    def log_mark(self) -> Path:
        """How far the log has come, beside the keys: a database put back from before is told by it."""
        return self.keys / "log.mark"

    @property
    def clock_mark(self) -> Path:
        """The latest time that was told, beside the keys: an earlier one brings no ended term to life."""
        return self.keys / "clock.mark"

    @property
    def roster_lock(self) -> Path:
        """Held while a roster is issued."""
        return self.home / "roster.lock"

    @property
    def turns(self) -> Path:
        """Lock files by which hand-outs, withdrawals, removals and erasures take turns."""
        return self.home / "turns"

    @property
    def worker(self) -> Path:
        """The note of the process in which `up` carries a removal out."""
        return self.home / "up.worker"

    @property
    def lock(self) -> Path:
        """Held by `up` for as long as it runs."""
        return self.home / "up.lock"

    @property
    def readiness_lock(self) -> Path:
        """Held while removals are prepared."""
        return self.home / "readiness.lock"

    @property
    def children(self) -> Path:
        """The note of Flower's processes that `up` runs."""
        return self.home / "up.children"
