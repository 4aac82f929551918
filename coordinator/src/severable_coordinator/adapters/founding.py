"""Founding a coordinator's home: keys, certificates, configuration, the Flower bundle, an empty log with a roster."""

import secrets
import shutil
from datetime import datetime
from pathlib import Path

from severable_coordinator.adapters.authority import issue_server, new_authority
from severable_coordinator.adapters.disk import write_private
from severable_coordinator.adapters.engine import build_bundle
from severable_coordinator.adapters.settings import render_config
from severable_coordinator.adapters.signing import read_signer
from severable_coordinator.config import Config, Layout
from severable_coordinator.errors import ConfigError, ConflictError
from severable_coordinator.weight_sketch import KEY_BYTES
from severable_trust.keys import PemSigner, PublicKey
from severable_trust.note import LogSigner
from severable_trust.trust_root import TrustRoot

_BUNDLE_FILES = ("pyproject.toml", "LICENSE")


def found_home(layout: Layout, config: Config, app: Path, now: datetime, public: PublicKey | None = None) -> None:
    """Make a new home directory; a failure leaves none behind.

    Args:
        layout: the directory.
        config: who the coordinator is.
        app: the Flower bundle's sources.
        now: the time (UTC).
        public: the statement key's public half where `config.statement_key` names a key that is no file.

    Raises:
        SignerError: that key cannot be used.
        ConflictError: the directory has something in it already.
        ConfigError: `app` is not the Flower bundle's directory.
    """
    if layout.home.exists() and any(layout.home.iterdir()):
        raise ConflictError(f"{layout.home}: not empty; choose another directory, or use the coordinator that is there")
    for name in _BUNDLE_FILES:
        if not (app / name).is_file():
            raise ConfigError(f"{app}: no {name} there; give the directory of the Flower app with --app")
    try:
        layout.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for directory in (layout.keys, layout.data_keys, layout.logs):
            directory.mkdir(mode=0o700)
        _make_keys(layout, config, now, public)
        shutil.copytree(app, layout.app, ignore=shutil.ignore_patterns("__pycache__"))
        build_bundle(layout.app, layout.bundle)
        layout.config.write_text(render_config(config), encoding="utf-8")
    except BaseException:
        shutil.rmtree(layout.home, ignore_errors=True)
        raise


def _make_keys(layout: Layout, config: Config, now: datetime, public: PublicKey | None) -> None:
    authority = new_authority(config.id, now)
    server = issue_server(authority, config.host, now)
    log = LogSigner.generate(config.id)
    for name, data in {
        "ca.pem": authority.certificate,
        "ca.key": authority.private_key,
        "server.pem": server.certificate,
        "server.key": server.private_key,
        **({"statement.pem": PemSigner.generate().private_pem()} if public is None else {}),
        "log.pem": log.private_pem(),
        "sketch.key": secrets.token_bytes(KEY_BYTES),
    }.items():
        write_private(layout.keys / name, data)
    if public is not None:
        layout.statement_public.write_text(public.pem)
    key = read_signer(layout, config).public_key  # a key behind a URI has signed once by now
    root = TrustRoot(coordinator_id=config.id, coordinator_key=key, log_vkey=str(log.vkey))
    layout.trust_root.write_bytes(root.to_bytes())
