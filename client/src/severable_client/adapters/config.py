"""config.yaml: read strictly, written once by ``join``, edited by people afterwards."""

from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path

import yaml

from severable_client.errors import ConfigError, HomeError

MAX_THREADS = 256


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
        release: whether a shard that passed the gate leaves at once, or waits for `severable-client release`.
        statement_key: URI of a statement key that a token or key service holds; "" for the file keys/statement.pem.
    """

    party: str
    legal_name: str
    exchange: str
    fleet: str
    data: str
    threads: int = 1
    release: Release = Release.AUTOMATIC
    statement_key: str = ""


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
    for name in sorted(known - {"threads", "release", "statement_key"}):
        value = given.get(name)
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{path}: field {name!r} must be text and is {value!r}")
        texts[name] = value
    threads = given.get("threads", 1)
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= MAX_THREADS:
        raise ConfigError(f"{path}: field 'threads' must be a whole number from 1 to {MAX_THREADS} and is {threads!r}")
    uri = given.get("statement_key", "")
    if not isinstance(uri, str):
        raise ConfigError(f"{path}: field 'statement_key' must be text and is {uri!r}")
    return Config(**texts, threads=threads, release=_release(path, given), statement_key=uri)


def _release(path: Path, given: dict[object, object]) -> Release:
    value = given.get("release", Release.AUTOMATIC)
    try:
        return Release(str(value))
    except ValueError as error:
        raise ConfigError(f"{path}: field 'release' must be {' or '.join(Release)} and is {value!r}") from error


def write_config(path: Path, config: Config) -> None:
    """Write the configuration as YAML that people can edit."""
    head = "# Severable: a data owner's home. `data`, `threads`, `release` are yours; the coordinator gave the rest.\n"
    plain = asdict(config) | {"release": config.release.value}
    path.write_text(head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")
