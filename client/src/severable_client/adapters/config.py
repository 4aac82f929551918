"""config.yaml: read strictly, written once by ``join``, edited by people afterwards."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import yaml

from severable_client.consent import Rule
from severable_client.errors import ConfigError, HomeError

MAX_THREADS = 256
MAX_GRACE_S = 3600

_OPTIONAL = {"threads", "approve", "grace_s", "statement_key"}


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
        approve: what happens at the first use of a recipe: "ask" the owner, or a signed "contract" is enough.
        grace_s: seconds that a worker gets to come to a good place when the daemon is asked to end, 0 to 3600.
        statement_key: URI of a statement key that a token or key service holds; "" for the file keys/statement.pem.
    """

    party: str
    legal_name: str
    exchange: str
    fleet: str
    data: str
    threads: int = 1
    approve: Rule = Rule.ASK
    grace_s: int = 30
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
    for name in sorted(known - _OPTIONAL):
        value = given.get(name)
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{path}: field {name!r} must be text and is {value!r}")
        texts[name] = value
    threads = _whole(path, given, "threads", 1, range(1, MAX_THREADS + 1))
    grace_s = _whole(path, given, "grace_s", 30, range(MAX_GRACE_S + 1))
    rule = given.get("approve", Rule.ASK.value)
    if rule not in set(Rule):
        raise ConfigError(f"{path}: field 'approve' must be {' or '.join(Rule)} and is {rule!r}")
    uri = given.get("statement_key", "")
    if not isinstance(uri, str):
        raise ConfigError(f"{path}: field 'statement_key' must be text and is {uri!r}")
    return Config(**texts, threads=threads, approve=Rule(str(rule)), grace_s=grace_s, statement_key=uri)


def _whole(path: Path, given: dict[object, object], name: str, default: int, allowed: range) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value not in allowed:
        bounds = f"from {allowed.start} to {allowed.stop - 1}"
        raise ConfigError(f"{path}: field {name!r} must be a whole number {bounds} and is {value!r}")
    return value


def write_config(path: Path, config: Config) -> None:
    """Write the configuration as YAML that people can edit."""
    head = (
        "# Severable: a data owner's home. Change `data`, `threads`, `approve` or `grace_s` here;\n"
        "# the rest came from the coordinator.\n"
    )
    path.write_text(
        head + yaml.safe_dump(asdict(config) | {"approve": config.approve.value}, sort_keys=False, allow_unicode=True),
        encoding="utf-8",
    )
