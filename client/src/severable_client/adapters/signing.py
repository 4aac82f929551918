"""This party's statement key: a file of the home, or a key that a token or a key service holds."""

import os
import stat

from severable_client.adapters.files import storage
from severable_client.adapters.keys import read_public, read_signer
from severable_client.errors import HomeError
from severable_client.home import Layout
from severable_trust.errors import TrustError
from severable_trust.key_uri import open_signer
from severable_trust.keys import Signer

PIN = "SEVERABLE_KEY_PIN"


def own_signer(layout: Layout, uri: str) -> Signer:
    """Return the signer of this party's statements.

    Args:
        layout: the home.
        uri: where the key is held (`severable_trust.key_uri`), or "" for the file in the home.

    Raises:
        HomeError: the key is missing, is not one, or cannot be used; or its PIN is not to be had.
    """
    if not uri:
        return read_signer(layout)
    try:
        return open_signer(uri, read_public(layout), lambda: _pin(layout))
    except TrustError as error:
        raise HomeError(f"the statement key: {error}") from error


def _pin(layout: Layout) -> str:
    path = layout.statement_pin
    if not path.is_file():
        if PIN not in os.environ:
            raise HomeError(f"the statement key wants a PIN: write it to {path} (mode 0600) or set {PIN}")
        return os.environ[PIN]
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise HomeError(f"{path}: others can read it; run `chmod 600 {path}`")
    with storage(f"{path} cannot be read"):
        return path.read_text(encoding="utf-8").strip()
