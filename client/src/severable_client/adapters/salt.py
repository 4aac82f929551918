"""The secret under which a home's images are digested: made once, kept beside the keys, never sent."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from severable_client.adapters.files import storage
from severable_client.catalogue import SALT_BYTES
from severable_client.errors import HomeError
from severable_client.home import Layout

_PRIVATE = 0o600


def data_salt(layout: Layout) -> bytes:
    """Return the home's salt, 32 bytes; the first call makes it.

    Raises:
        HomeError: the file holds something else.
        StorageError: it cannot be read or written.
    """
    path = layout.data_salt
    with storage(f"{path} cannot be read or made"):
        if not path.exists():
            if layout.erased.exists():  # under another salt what was erased would be read again
                raise HomeError(f"{path} is missing, and {layout.erased} means nothing without it; restore it")
            _make(path)
        salt = path.read_bytes()
    if len(salt) != SALT_BYTES:
        raise HomeError(f"{path} does not hold {SALT_BYTES} bytes; restore it from a backup")
    return salt


def _make(path: Path) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE), "wb") as stream:
            stream.write(secrets.token_bytes(SALT_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(part, path)  # not a rename: of two processes that make it at once the first one stands
    finally:
        part.unlink(missing_ok=True)
