"""A backup of a coordinator, running or not, in a new directory: everything but keys and what is derived from shards.

    DIR/backup.json             the manifest: size and SHA-256 of every other file
    DIR/coordinator.db          SQLite's online backup: the database of one moment
    DIR/store/files/...         the parties' files, encrypted as they lie in the vault
    DIR/flower/superlink.sqlite the engine's database (which Flower nodes are known)
    DIR/config.yaml, trust-root.json, flower-app/, flower-app.fab

The database is copied first: whatever it calls a live shard has its files copied after it, unless a removal took them
meanwhile. Uploads under way are left out, and composites too: they are plain weights, and are assembled again to the
same digest.
"""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

from severable_coordinator.adapters.disk import settle
from severable_coordinator.backup_manifest import MANIFEST, BackupManifest
from severable_coordinator.config import Layout
from severable_coordinator.errors import ConflictError, StorageError
from severable_trust.digest import Digest, FileDigest

DATABASES = ("coordinator.db", "flower/superlink.sqlite")
_BLOCK = 1 << 20


def back_up(layout: Layout, coordinator: str, out: Path, taken: datetime) -> BackupManifest:
    """Write a backup that is there, whole, under its name, or not at all; what a cut-off one left is begun anew.

    Raises:
        ConflictError: `out` is there already.
        StorageError: the disk, or the database cannot be read.
    """
    if os.path.lexists(out):
        raise ConflictError(f"{out}: exists already; choose a new directory")
    part = out.with_name(out.name + ".partial")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True, mode=0o700)
        size = _copy_databases(layout, part)
        files = [_measured(part, name) for name in DATABASES if (part / name).is_file()]
        files += [file for name in _names(layout) if (file := copied(layout.home / name, part / name, name))]
        manifest = BackupManifest(coordinator=coordinator, taken=taken, log_size=size, files=tuple(files))
        _write(part / MANIFEST, manifest.to_bytes())
        part.rename(out)
        settle(out.parent)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{out}: the backup cannot be written ({error}); nothing of it is kept") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def copied(source: Path, target: Path, name: str) -> FileDigest | None:
    """Copy a file to the disk and measure what was copied; None when it has vanished. OSError."""
    sha256, size = hashlib.sha256(), 0
    try:
        stream = source.open("rb")
    except FileNotFoundError:
        return None
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with stream, target.open("wb") as to:
        while block := stream.read(_BLOCK):
            sha256.update(block)
            size += len(block)
            to.write(block)
        to.flush()
        os.fsync(to.fileno())
    return FileDigest(name=name, size=size, digest=Digest(sha256.hexdigest()))


def _copy_databases(layout: Layout, part: Path) -> int:
    """Copy the databases by SQLite's online backup; returns how many entries the log has in the copy."""
    for name in DATABASES:
        if not (layout.home / name).is_file():
            continue
        (part / name).parent.mkdir(exist_ok=True, mode=0o700)
        with (
            closing(sqlite3.connect(layout.home / name, timeout=30)) as source,
            closing(sqlite3.connect(part / name)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without a write-ahead log beside it
    with closing(sqlite3.connect(part / DATABASES[0])) as copy:
        return int(copy.execute("SELECT count(*) FROM log_entry").fetchone()[0])


def _names(layout: Layout) -> Iterator[str]:
    """The files that are copied as they are, by their names below the home."""
    found = [layout.config, layout.trust_root, layout.bundle]
    found += sorted(path for path in layout.app.rglob("*") if path.is_file())
    found += sorted(path for path in (layout.store / "files").rglob("*") if path.is_file())
    for path in found:
        name = path.relative_to(layout.home)
        under_way = name.parts[:2] == ("store", "files") and "incoming" in name.parts[3:4]
        if not under_way and path.suffix != ".partial":
            yield name.as_posix()


def _measured(part: Path, name: str) -> FileDigest:
    with (part / name).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileDigest(name=name, size=(part / name).stat().st_size, digest=Digest(digest))


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
