"""`backup`, `restore` and `keys-backups`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.backup import back_up
from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.adapters.keys_file import passphrase, read_keys, seal
from severable_coordinator.adapters.new_file import write_new_file
from severable_coordinator.backup_manifest import MANIFEST
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.custody import KeysBackup
from severable_coordinator.errors import ConfigError
from severable_coordinator.stores import utc_now
from severable_trust.digest import Digest
from severable_trust.errors import TrustError

BACKUP_EXAMPLE = "Example: severable-coordinator backup /backups/monday --keys /safe/monday.keys"
RESTORE_EXAMPLE = "Example: severable-coordinator restore /backups/monday --keys /safe/monday.keys --log log.json"


def backup(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A new directory for the backup.")],
    keys: Annotated[
        Path | None,
        typer.Option(help="Also write every key, encrypted, to this new file: keep it apart from DIR."),
    ] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Back up a coordinator, running or stopped: database, encrypted files, configuration. Without a key.

    A backup cannot bring a removed shard back: its key is gone. A file of --keys could: it holds the data keys of its
    day, each removal's receipt names it, and it is to be destroyed after one (`keys-backups --destroyed`).
    """
    coordinator = open_home(home)
    for path in (out, *([keys] if keys else [])):
        _require_outside(path, coordinator.layout.home)
    if keys is not None:
        noted = _back_up_keys(coordinator, keys)
        print(f"{keys}: every key, {noted.id}; destroy it once a party's shards are removed")
    manifest = back_up(coordinator.layout, coordinator.config.id, out, coordinator.clock())
    size = sum(file.size for file in manifest.files)
    digest = Digest.of((out / MANIFEST).read_bytes())
    print(f"{out}: {len(manifest.files)} files, {size} bytes, log of {manifest.log_size} entries; manifest {digest}")


def restore(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A backup's directory.")],
    keys: Annotated[Path, typer.Option(help="A file of `backup --keys`, or a directory of keys that was kept apart.")],
    log: Annotated[Path | None, typer.Option(help="A `log export` newer than the backup.")] = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint that a party holds; may be given several times.")
    ] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Make a new home from a backup; the removals that the log knows of are done again before anything is served."""
    from severable_coordinator.adapters import restore as adapter  # noqa: PLC0415  # imports torch

    evidence = adapter.Evidence(log=log, checkpoints=tuple(checkpoint or ()))
    manifest, done = adapter.restore(source, keys, home.resolve(), evidence, utc_now)
    print(f"{home}: coordinator {manifest.coordinator} as of {manifest.taken:%Y-%m-%d %H:%M} UTC")
    print(f"log: {manifest.log_size + done.entries} entries, {done.entries} of them newer than the backup")
    for shard in done.removed:
        print(f"removed again: shard {shard}")
    if done.keys:
        print(f"data keys destroyed again: {', '.join(done.keys)}; destroy {keys}, which still holds them")
    for shard in done.missing:
        print(f"not in the backup: weights of shard {shard}; ask its party to train again", file=sys.stderr)
    for group in done.groups:
        print(f"assemble again: severable-coordinator assemble --group {group}")
    if log is None:
        print("no newer log was given: what was removed after the backup is not known", file=sys.stderr)


def keys_backups(
    destroyed: Annotated[str, typer.Option(help="Note that the file with this digest is destroyed.")] = "",
    how: As = Format.TEXT,
    home: Home = DEFAULT_HOME,
) -> None:
    """List the files that hold copies of the keys, or note that one is destroyed.

    Example: severable-coordinator keys-backups --destroyed sha256:5c1d...
    """
    coordinator = open_home(home)
    if destroyed:
        try:
            digest = Digest.parse(destroyed)
        except TrustError as error:
            raise ConfigError(f"--destroyed: {error}") from error
        coordinator.keys_backups.note_destroyed(digest, coordinator.clock())
    rows: list[dict[str, object]] = [
        {
            "keys_backup": str(noted.id),
            "taken": f"{noted.taken:%Y-%m-%d %H:%M}",
            "data_keys": len(noted.data_keys),
            "destroyed": f"{noted.destroyed:%Y-%m-%d %H:%M}" if noted.destroyed else "",
        }
        for noted in coordinator.keys_backups.backups()
    ]
    listing(rows, how, "no backup of the keys was made")


def _back_up_keys(coordinator: Coordinator, path: Path) -> KeysBackup:
    data = seal(read_keys(coordinator.layout.keys), passphrase())
    vault = coordinator.vault
    noted = KeysBackup(
        id=Digest.of(data),
        taken=coordinator.clock(),
        data_keys=frozenset(vault.key_id(name) for name in vault.key_names()),
    )
    coordinator.keys_backups.add(noted)  # before the file is there: a crash names one too many, never one too few
    write_new_file(path, data)
    return noted


def _require_outside(path: Path, home: Path) -> None:
    if path.resolve().is_relative_to(home):
        raise ConfigError(f"{path}: lies in the home itself; a backup belongs elsewhere")
