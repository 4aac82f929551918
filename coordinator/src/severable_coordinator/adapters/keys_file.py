"""The coordinator's keys in one encrypted file, kept apart from every backup of what they open.

    {"format": "severable-keys/v1", "salt": ..., "nonce": ..., "sealed": ...}      base64, canonical JSON

Sealed is a JSON object of file names below HOME/keys and their bytes, under AES-256-GCM with a key that scrypt
(RFC 7914; N = 2^15, r = 8, p = 1) makes of a passphrase.
"""

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from severable_coordinator.adapters.disk import write_private
from severable_coordinator.errors import ConfigError
from severable_trust import canonical
from severable_trust.digest import Digest, FileDigest
from severable_trust.errors import TrustError

PASSPHRASE = "SEVERABLE_KEYS_PASSPHRASE"  # noqa: S105  # the name of a variable
MIN_PASSPHRASE = 16  # characters
_FORMAT = "severable-keys/v1"
_SALT_BYTES, _NONCE_BYTES = 16, 12
_MAX_BYTES = 64 << 20
Keys = Mapping[str, bytes]


def passphrase() -> str:
    """The passphrase in the environment. ConfigError when there is none, or a short one."""
    said = os.environ.get(PASSPHRASE, "")
    if len(said) < MIN_PASSPHRASE:
        raise ConfigError(f"set {PASSPHRASE} to a passphrase of at least {MIN_PASSPHRASE} characters")
    return said


def read_keys(directory: Path) -> dict[str, bytes]:
    """Every key below a directory, by its name there. ConfigError."""
    if not directory.is_dir():
        raise ConfigError(f"{directory}: no such directory of keys")
    paths = sorted(path for path in directory.rglob("*") if path.is_file() and path.suffix != ".partial")
    try:
        return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be read ({error.strerror})") from error


def write_keys(directory: Path, keys: Keys) -> None:
    """Write keys below a new directory, readable by their owner alone."""
    directory.mkdir(mode=0o700)
    for name, data in keys.items():
        path = directory / FileDigest(name=name, size=0, digest=Digest.of(b"")).name  # the one rule on safe paths
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, data)


def seal(keys: Keys, secret: str) -> bytes:
    """The file's bytes."""
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    plain = canonical.encode({name: _text(data) for name, data in keys.items()})
    sealed = AESGCM(_derived(secret, salt)).encrypt(nonce, plain, _FORMAT.encode())
    parts = {"salt": _text(salt), "nonce": _text(nonce), "sealed": _text(sealed)}
    return canonical.encode({"format": _FORMAT, **parts})


def unseal(data: bytes, secret: str, where: Path) -> dict[str, bytes]:
    """The keys in a file's bytes. ConfigError: another passphrase, or a damaged file."""
    try:
        value = canonical.decode_any_form(data, "keys", _MAX_BYTES)
        if not isinstance(value, dict) or value.get("format") != _FORMAT:
            raise ConfigError(f"{where}: not a backup of keys ({_FORMAT})")
        salt, nonce, sealed = (
            base64.b64decode(str(value[name]), validate=True) for name in ("salt", "nonce", "sealed")
        )
        plain = AESGCM(_derived(secret, salt)).decrypt(nonce, sealed, _FORMAT.encode())
        keys = canonical.decode_any_form(plain, "keys", _MAX_BYTES)
    except (InvalidTag, TrustError, KeyError, ValueError) as error:
        raise ConfigError(f"{where}: cannot be opened; the passphrase is another one or the file is damaged") from error
    if not isinstance(keys, dict):
        raise ConfigError(f"{where}: holds no keys")
    return {name: base64.b64decode(str(text)) for name, text in keys.items()}


def _derived(secret: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=1 << 15, r=8, p=1).derive(secret.encode())


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
