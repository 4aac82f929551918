"""The parts of config.yaml that an operator may add: `enforcement` and `notices`. Every refusal names the field."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from severable_coordinator.config import EnforcementConfig, NoticesConfig, SmtpConfig
from severable_coordinator.errors import ConfigError
from severable_coordinator.notices import Address

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TLS = ("starttls", "tls", "none")
_CHANNELS = ("webhook", "email")


def read_enforcement(path: Path, value: object) -> EnforcementConfig:
    """The `enforcement` section, or its defaults. ConfigError."""
    fields = _section(path, "enforcement", value, {"automatic", "confirm_s", "look_s", "exit_after_days"})
    if not isinstance(fields.get("automatic", True), bool):
        raise ConfigError(f"{path}: enforcement.automatic must be true or false")
    for name in ("confirm_s", "look_s", "exit_after_days"):
        number = fields.get(name, 1)
        if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
            raise ConfigError(f"{path}: enforcement.{name} is {number!r}; give a number, 0 or more")
    return EnforcementConfig(**fields)


def read_notices(path: Path, value: object) -> NoticesConfig:
    """The `notices` section, or nobody to tell. ConfigError."""
    fields = _section(path, "notices", value, {"webhook_secret", "smtp", "operator", "parties"})
    parties = _section(path, "notices.parties", fields.get("parties"), None)
    operator = _addresses(path, "notices.operator", fields.get("operator"))
    known = {party: _addresses(path, f"notices.parties.{party}", entry) for party, entry in parties.items()}
    channels = {address.channel for group in (operator, *known.values()) for address in group}
    secret = fields.get("webhook_secret", "")
    if "webhook" in channels:
        _file(path, "notices.webhook_secret", secret)
    smtp = _smtp(path, fields["smtp"]) if "smtp" in fields else None
    if "email" in channels and smtp is None:
        raise ConfigError(f"{path}: notices has e-mail addresses and no smtp; say which server sends them")
    return NoticesConfig(webhook_secret=secret, smtp=smtp, operator=operator, parties=known)


def _smtp(path: Path, value: object) -> SmtpConfig:
    fields = _section(path, "notices.smtp", value, {"host", "port", "sender", "tls", "user", "password_file"})
    for name in ("host", "sender"):
        _text(path, f"notices.smtp.{name}", fields.get(name))
    port = fields.get("port", 0)
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise ConfigError(f"{path}: notices.smtp.port is {port!r}; give a number from 1 to 65535")
    tls = fields.get("tls", "starttls")
    if tls not in _TLS or (tls == "none" and fields["host"] not in _LOOPBACK):
        raise ConfigError(f"{path}: notices.smtp.tls is {tls!r}; use starttls or tls, and none on this machine alone")
    if fields.get("user"):
        _text(path, "notices.smtp.user", fields["user"])
        _file(path, "notices.smtp.password_file", fields.get("password_file"))
    return SmtpConfig(**fields)


def _addresses(path: Path, where: str, value: object) -> tuple[Address, ...]:
    fields = _section(path, where, value, set(_CHANNELS))
    found = tuple(Address(channel=channel, target=fields[channel]) for channel in _CHANNELS if channel in fields)
    for address in found:
        _text(path, f"{where}.{address.channel}", address.target)
        if address.channel == "email" and address.target.count("@") != 1:
            raise ConfigError(f"{path}: {where}.email {address.target!r} is no address")
        if address.channel == "webhook":
            url = urlsplit(address.target)
            if not url.hostname or not (url.scheme == "https" or (url.scheme == "http" and url.hostname in _LOOPBACK)):
                raise ConfigError(f"{path}: {where}.webhook {address.target!r} is no https address")
    return found


def _section(path: Path, where: str, value: object, known: set[str] | None) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{path}: {where} must be a section of named fields")
    if known is not None and (unknown := sorted(set(value) - known)):
        raise ConfigError(f"{path}: {where}.{unknown[0]} is unknown; {where} has {', '.join(sorted(known))}")
    return value


def _text(path: Path, where: str, value: object) -> None:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ConfigError(f"{path}: {where} must be one line of text")


def _file(path: Path, where: str, value: object) -> None:
    if not isinstance(value, str) or not value or not (path.parent / value).is_file():
        raise ConfigError(f"{path}: {where} {value!r} is no file; write the secret into one below {path.parent}")
