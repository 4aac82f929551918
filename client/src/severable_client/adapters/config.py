"""config.yaml: read strictly, written once by ``join``, edited by people afterwards."""

import re
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path

import yaml

from severable_client.adapters.config_fields import Fields
from severable_client.consent import Rule
from severable_client.errors import ConfigError, HomeError

MAX_THREADS = 256
MAX_PARTS = 4096
MAX_GRACE_S = 3600
MAX_DEVICES = 64

_DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,2})?")
_SEVERAL = re.compile(r"cpu|cuda")


class Release(StrEnum):
    """Who decides that a shard which passed the gate leaves: the gate alone, or a person each time."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


class Precision(StrEnum):
    """The type that a training multiplies in; AUTO is bf16 where the device has it natively, else float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BF16 = "bf16"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What an owner's home is set to.

    Attributes:
        party: this party's id, as the coordinator's roster has it.
        legal_name: the name that contracts carry.
        exchange: host:port of the coordinator's exchange (mutual TLS).
        fleet: host:port of the coordinator's Flower fleet API (TLS).
        data: the folder of images that shards are trained on; it never leaves this machine.
        threads: CPU threads of a training, 1 to 256; one seed gives the same bytes only for the same number.
        fit: whether images of another size or colour mode are made to fit a recipe; else they are refused.
        approve: what happens at the first use of a recipe: "ask" the owner, or a signed "contract" is enough.
        release: whether a shard that passed the gate leaves at once, or waits for `severable-client release`.
        grace_s: seconds that a worker gets to come to a good place when the daemon is asked to end, 0 to 3600.
        statement_key: URI of a statement key that a token or key service holds; "" for the file keys/statement.pem.
        device: where a training computes: cpu, cuda or cuda:N; on a GPU one seed does not promise the same bytes.
        devices: processes that share a training, 1 to 64: on GPUs one for each from cuda:0 on, on the CPU so many times
            `threads`.
        precision: the type that a training multiplies in: auto, float32, bf16 or fp16.
        accumulate: parts that a training's batch goes through the network in, 1 to 4096; more parts take less memory.
        checkpoint_minutes: between two checkpoints of a training, 0.01 to 1440.
        grid_minutes: between two pictures of a training's samples, 0 to 1440; 0 draws none.
        tensorboard: whether a training writes event files that TensorBoard reads.
        mlflow: tracking URI of an MLflow that is told a training's figures; "" for none.
    """

    party: str
    legal_name: str
    exchange: str
    fleet: str
    data: str
    threads: int = 1
    fit: bool = False
    approve: Rule = Rule.ASK
    release: Release = Release.AUTOMATIC
    grace_s: int = 30
    statement_key: str = ""
    device: str = "cpu"
    devices: int = 1
    precision: Precision = Precision.AUTO
    accumulate: int = 1
    checkpoint_minutes: float = 10.0
    grid_minutes: float = 30.0
    tensorboard: bool = True
    mlflow: str = ""


def read_config(path: Path) -> Config:
    """Return the configuration in a file.

    Raises:
        HomeError: there is no such file, so this is no home.
        ConfigError: not YAML, or a field is missing, unknown or of the wrong kind; it is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise HomeError(
            f"{path.parent} is not a home yet: run `severable-client join INVITE --home {path.parent}`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return _checked(Fields.parse(path, text))


def _checked(given: Fields) -> Config:
    given.require_known(frozenset(field.name for field in fields(Config)))
    names = {name: given.name(name) for name in ("data", "exchange", "fleet", "legal_name", "party")}
    config = Config(
        **names,
        threads=given.whole("threads", 1, 1, MAX_THREADS),
        fit=given.switch("fit", default=False),
        approve=given.word("approve", Rule.ASK),
        release=given.word("release", Release.AUTOMATIC),
        grace_s=given.whole("grace_s", 30, 0, MAX_GRACE_S),
        statement_key=given.text("statement_key", ""),
        device=given.pattern("device", "cpu", _DEVICE, "cpu, cuda or cuda:N"),
        devices=given.whole("devices", 1, 1, MAX_DEVICES),
        precision=given.word("precision", Precision.AUTO),
        accumulate=given.whole("accumulate", 1, 1, MAX_PARTS),
        checkpoint_minutes=given.minutes("checkpoint_minutes", 10.0, 0.01),
        grid_minutes=given.minutes("grid_minutes", 30.0, 0.0),
        tensorboard=given.switch("tensorboard", default=True),
        mlflow=given.text("mlflow", ""),
    )
    if config.devices > 1:
        given.pattern("device", "cpu", _SEVERAL, "cpu or cuda, since 'devices' is more than 1,")
    return config


def write_config(path: Path, config: Config) -> None:
    """Write the configuration as YAML that people can edit."""
    head = (
        "# Severable: a data owner's home. Change `data` and what follows it here;\n"
        "# what stands before it came from the coordinator.\n"
    )
    words = {"approve": config.approve.value, "release": config.release.value, "precision": config.precision.value}
    plain = asdict(config) | words
    path.write_text(head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")
