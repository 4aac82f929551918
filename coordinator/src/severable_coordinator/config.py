"""What the operator chose at `init`, as one frozen value (HOME/config.yaml)."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


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
class Config:
    """A coordinator: who it is, and where its servers listen."""

    id: str
    legal_name: str
    host: str
    ports: Ports
    readiness: Preparing = Preparing.OFF
    statement_key: str = ""  # URI of a key in hardware or a key service; "" for the file keys/statement.pem

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
        """Lock files by which hand-outs, withdrawals and erasures take turns."""
        return self.home / "turns"

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
