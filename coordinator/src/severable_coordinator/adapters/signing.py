"""The coordinator's statement key: a file, or a key that a token or a key service holds (severable_trust.key_uri)."""

import os
import stat
from pathlib import Path

from severable_coordinator.config import Config, Layout
from severable_coordinator.errors import ConfigError
from severable_trust.errors import TrustError
from severable_trust.key_uri import open_signer
from severable_trust.keys import PemSigner, PublicKey, Signer

PIN = "SEVERABLE_KEY_PIN"
_GROUP_AND_OTHERS = 0o077


def read_signer(layout: Layout, config: Config) -> Signer:
    """The signer that the configuration names. ConfigError, SignerError."""
    if not config.statement_key:
        return PemSigner(_read(layout.keys / "statement.pem"))
    return open_signer(config.statement_key, read_public(layout.statement_public), lambda: _pin(layout))


def read_public(path: Path) -> PublicKey:
    """A public statement key in a PEM file. ConfigError."""
    try:
        return PublicKey.from_pem(_read(path))
    except TrustError as error:
        raise ConfigError(f"{path}: {error}") from error


def _pin(layout: Layout) -> str:
    path = layout.keys / "statement.pin"
    if not path.is_file():
        if PIN not in os.environ:
            raise ConfigError(f"the statement key wants a PIN: write it to {path} (mode 0600) or set {PIN}")
        return os.environ[PIN]
    if stat.S_IMODE(path.stat().st_mode) & _GROUP_AND_OTHERS:
        raise ConfigError(f"{path}: others can read it; run `chmod 600 {path}`")
    return _read(path).decode("utf-8", "replace").strip()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); restore it or run `init` elsewhere") from error
