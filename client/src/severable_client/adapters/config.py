"""config.yaml: read strictly, written once by ``join``, edited by people afterwards."""

import re
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path

import yaml

from severable_client.errors import ConfigError, HomeError

MAX_THREADS = 256
MAX_PARTS = 4096
DAY = 1440  # minutes

_DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,2})?")


class Release(StrEnum):
    """Who decides that a shard which passed the gate leaves: the gate alone, or a person each time."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


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
        release: whether a shard that passed the gate leaves at once, or waits for `severable-client release`.
        statement_key: URI of a statement key that a token or key service holds; "" for the file keys/statement.pem.
        device: where a training computes: cpu, cuda or cuda:N; on a GPU one seed does not promise the same bytes.
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
    release: Release = Release.AUTOMATIC
    statement_key: str = ""
    device: str = "cpu"
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
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict):
        raise ConfigError(f"{path} does not hold fields: one `name: value` a line")
    return _checked(path, given)


def _checked(path: Path, given: dict[object, object]) -> Config:
    known = {field.name for field in fields(Config)}
    for name in given:
        if name not in known:
            raise ConfigError(f"{path}: unknown field {name!r}; known are {', '.join(sorted(known))}")
    texts: dict[str, str] = {}
    for name in ("data", "exchange", "fleet", "legal_name", "party"):
        value = given.get(name)
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{path}: field {name!r} must be text and is {value!r}")
        texts[name] = value
    device = _text(path, given, "device", "cpu")
    if not _DEVICE.fullmatch(device):
        raise ConfigError(f"{path}: field 'device' must be cpu, cuda or cuda:N and is {device!r}")
    return Config(
        **texts,
        threads=_whole(path, given, "threads", MAX_THREADS),
        fit=_switch(path, given, "fit", default=False),
        release=_release(path, given),
        statement_key=_text(path, given, "statement_key", ""),
        device=device,
        accumulate=_whole(path, given, "accumulate", MAX_PARTS),
        checkpoint_minutes=_minutes(path, given, "checkpoint_minutes", 0.01, 10.0),
        grid_minutes=_minutes(path, given, "grid_minutes", 0.0, 30.0),
        tensorboard=_switch(path, given, "tensorboard", default=True),
        mlflow=_text(path, given, "mlflow", ""),
    )


def _text(path: Path, given: dict[object, object], name: str, default: str) -> str:
    value = given.get(name, default)
    if not isinstance(value, str):
        raise ConfigError(f"{path}: field {name!r} must be text and is {value!r}")
    return value


def _whole(path: Path, given: dict[object, object], name: str, most: int) -> int:
    value = given.get(name, 1)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ConfigError(f"{path}: field {name!r} must be a whole number from 1 to {most} and is {value!r}")
    return value


def _minutes(path: Path, given: dict[object, object], name: str, least: float, default: float) -> float:
    value = given.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= DAY:
        raise ConfigError(f"{path}: field {name!r} must be minutes from {least:g} to {DAY} and is {value!r}")
    return float(value)


def _switch(path: Path, given: dict[object, object], name: str, *, default: bool) -> bool:
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{path}: field {name!r} must be true or false and is {value!r}")
    return value


def _release(path: Path, given: dict[object, object]) -> Release:
    value = given.get("release", Release.AUTOMATIC)
    try:
        return Release(str(value))
    except ValueError as error:
        raise ConfigError(f"{path}: field 'release' must be {' or '.join(Release)} and is {value!r}") from error


def write_config(path: Path, config: Config) -> None:
    """Write the configuration as YAML that people can edit."""
    head = "# Severable: a data owner's home. Change `data` and what follows it here (docs/owner-training.md).\n"
    plain = asdict(config) | {"release": config.release.value}
    path.write_text(head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")
