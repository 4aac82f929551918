"""Config to and from YAML."""

from pathlib import Path

import yaml

from severable_coordinator.adapters.enforcement_settings import read_enforcement, read_notices
from severable_coordinator.config import Config, Ports, Preparing
from severable_coordinator.errors import ConfigError

_TEXT = ("id", "legal_name", "host")
_URI = "statement_key"
_READINESS = "readiness"
_MAY = (_URI, _READINESS, "enforcement", "notices")
_PORTS = ("enrolment", "exchange", "fleet", "control")


def read_config(path: Path) -> Config:
    """Read config.yaml. ConfigError names the field that is wrong."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path.parent}: not a coordinator's home; run `severable-coordinator init`") from error
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(value, dict) or not isinstance(value.get("ports"), dict):
        raise ConfigError(f"{path}: must have the fields {', '.join(_TEXT)} and ports")
    if set(value) - set(_MAY) != {*_TEXT, "ports"}:
        may = ", ".join(_MAY)
        raise ConfigError(f"{path}: must have exactly the fields {', '.join(_TEXT)} and ports, and may have {may}")
    ports = value["ports"]
    if set(ports) != set(_PORTS):
        raise ConfigError(f"{path}: ports must be exactly {', '.join(_PORTS)}")
    for name in _PORTS:
        check_port(path, name, ports[name])
    for name in (*_TEXT, *({_URI} & set(value))):
        if not isinstance(value[name], str) or not value[name]:
            raise ConfigError(f"{path}: {name} must be text")
    texts = {name: value[name] for name in _TEXT}
    return Config(
        **texts,
        ports=Ports(**ports),
        readiness=_readiness(path, value.get(_READINESS, Preparing.OFF)),
        statement_key=value.get(_URI, ""),
        enforcement=read_enforcement(path, value.get("enforcement")),
        notices=read_notices(path, value.get("notices")),
    )


def _readiness(path: Path, value: object) -> Preparing:
    word = "off" if value is False else value  # YAML 1.1 takes a bare off for false
    if word not in set(Preparing):
        raise ConfigError(f"{path}: {_READINESS} is {value!r}; it is {' or '.join(Preparing)}")
    return Preparing(str(word))


def check_port(where: Path | str, name: str, value: object) -> None:
    """Refuse what is not a TCP port. ConfigError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise ConfigError(f"{where}: port {name} is {value!r}; give a number from 1 to 65535")


def render_config(config: Config) -> str:
    """config.yaml's text."""
    ports = {name: getattr(config.ports, name) for name in _PORTS}
    value: dict[str, object] = {"id": config.id, "legal_name": config.legal_name, "host": config.host, "ports": ports}
    if config.readiness is not Preparing.OFF:
        value[_READINESS] = str(config.readiness)
    if config.statement_key:
        value[_URI] = config.statement_key
    return yaml.safe_dump(value, sort_keys=False)
