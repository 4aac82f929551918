"""Restoring a coordinator from a backup and its keys: verified, brought up to the newest log, then put in its place.

Everything happens in a directory beside the new home, which takes its name at the end: until then nothing can be
served, and whatever goes wrong leaves nothing.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from severable_coordinator.adapters.backup import copied
from severable_coordinator.adapters.keys_file import passphrase, read_keys, unseal, write_keys
from severable_coordinator.adapters.log_mark import LogMark
from severable_coordinator.adapters.settings import read_config
from severable_coordinator.backup_manifest import MANIFEST, BackupManifest, parse_manifest
from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.config import Layout
from severable_coordinator.errors import ConfigError, ConflictError, StorageError
from severable_coordinator.replay import Replayed
from severable_trust.entry import LoggedStatement
from severable_trust.errors import TrustError
from severable_trust.log_bundle import LogBundle, verify_log_bundle
from severable_trust.merkle import root_of
from severable_trust.note import open_checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known from elsewhere of how far the log had come.

    Attributes:
        log: a file of `log export`, newer than the backup; None where there is none.
        checkpoints: files with checkpoints that parties hold.
    """

    log: Path | None = None
    checkpoints: Sequence[Path] = ()


def restore(
    source: Path, keys: Path, home: Path, evidence: Evidence, clock: Callable[[], datetime]
) -> tuple[BackupManifest, Replayed]:
    """Make a home from a backup; a failure leaves none behind.

    Args:
        source: the backup's directory.
        keys: a file of `backup --keys` (the passphrase is in the environment), or a directory of keys kept apart.
        home: the new home: not there yet, or empty.
        evidence: of what came after the backup.
        clock: now.

    Raises:
        ConflictError: the home is not empty, or the log given is another one.
        ConfigError: the backup, the keys or the evidence are damaged or missing.
        StorageError: the log is known to have come further than it is restored.
        TrustError: the log given does not verify.
    """
    if os.path.lexists(home) and not (home.is_dir() and not any(home.iterdir())):
        raise ConflictError(f"{home}: not empty; restore into a new directory")
    manifest = parse_manifest(_read(source / MANIFEST), str(source / MANIFEST))
    opened = read_keys(keys) if keys.is_dir() else unseal(_read(keys), passphrase(), keys)
    part = home.with_name(home.name + ".partial")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _copy(source, part, manifest)
        layout = Layout(part)
        write_keys(layout.keys, opened)
        for directory in (layout.data_keys, layout.logs):
            directory.mkdir(exist_ok=True, mode=0o700)
        replayed = _replay(Coordinator(layout, read_config(layout.config), clock), evidence)
        with suppress(FileNotFoundError):
            home.rmdir()
        part.rename(home)
    except OSError as error:
        raise StorageError(f"{home}: cannot be restored ({error}); nothing of it is kept") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest, replayed


def _copy(source: Path, part: Path, manifest: BackupManifest) -> None:
    part.mkdir(parents=True, mode=0o700)
    for file in manifest.files:
        if (source / file.name).is_symlink() or copied(source / file.name, part / file.name, file.name) != file:
            raise ConfigError(f"{source / file.name}: missing or altered since the backup; use another backup")
        (part / file.name).chmod(0o600)


def _replay(coordinator: Coordinator, evidence: Evidence) -> Replayed:
    mark = LogMark(coordinator.layout.log_mark)
    remembered = mark.size()
    coordinator.layout.log_mark.unlink(missing_ok=True)  # until the log is as long as it says
    try:
        entries = _entries(coordinator, evidence.log)
        replayed = coordinator.replay.run(entries)
        size = coordinator.log.checkpoint()[0].size
        if size < remembered:
            raise StorageError(
                f"the keys remember a log of {remembered} entries, the backup has {size}: removals may be among "
                "those that are missing; give a newer `log export` with --log"
            )
        for path in evidence.checkpoints:
            _require_reached(coordinator, path)
        mark.raise_to(size)
    finally:
        coordinator.database.close()
    return replayed


def _entries(coordinator: Coordinator, log: Path | None) -> tuple[LoggedStatement, ...]:
    if log is None:
        return ()
    data = _read(log)
    verify_log_bundle(data, coordinator.trust_root)
    return LogBundle.parse(data).entries


def _require_reached(coordinator: Coordinator, path: Path) -> None:
    """Refuse a log that does not contain what a party has seen of it."""
    try:
        seen = open_checkpoint(_read(path).decode("utf-8", "replace"), coordinator.trust_root.log_vkey)
    except TrustError as error:
        raise ConfigError(f"{path}: no checkpoint of this log: {error}") from error
    leaves = [entry.leaf for _, entry, _ in coordinator.log.entries()]
    if seen.size > len(leaves):
        raise StorageError(
            f"{path}: a party saw {seen.size} entries, {len(leaves)} are restored: removals may be among those that "
            "are missing; give a newer `log export` with --log"
        )
    if root_of(leaves[: seen.size]) != seen.root:
        raise StorageError(f"{path}: a party saw another log of {seen.size} entries than the one in the backup")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
