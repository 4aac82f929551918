"""Backups as files: whole or not at all, damage is one line, keys open with their passphrase alone."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from coordinator.backups import WORDS, exported, of_three, remove, restored, taken
from coordinator.command_line import Cli
from coordinator.federation import GROUP, World, quiet

from severable_coordinator.adapters import backup as adapter
from severable_coordinator.adapters.keys_file import PASSPHRASE
from severable_coordinator.backup_manifest import MANIFEST, parse_manifest
from severable_coordinator.errors import ConfigError, ConflictError, StorageError
from severable_coordinator.ports import ShardState


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv(PASSPHRASE, WORDS)
    return of_three(tmp_path / "home")


def altered(out: Path) -> None:
    (out / "config.yaml").write_text("id: somebody\n")


def without_its_database(out: Path) -> None:
    (out / "coordinator.db").unlink()


def without_its_manifest(out: Path) -> None:
    (out / MANIFEST).unlink()


def with_a_changed_manifest(out: Path) -> None:
    (out / MANIFEST).write_bytes((out / MANIFEST).read_bytes() + b" ")


def with_a_link(out: Path) -> None:
    (out / "config.yaml").rename(out.parent / "elsewhere.yaml")
    (out / "config.yaml").symlink_to(out.parent / "elsewhere.yaml")


@pytest.mark.parametrize(
    "damage", [altered, without_its_database, without_its_manifest, with_a_changed_manifest, with_a_link]
)
def test_a_damaged_backup_is_one_line_that_names_the_file_and_leaves_nothing(
    world: World, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    taken(world, tmp_path / "backup")
    damage(tmp_path / "backup")
    with pytest.raises(ConfigError, match=r"config\.yaml|coordinator\.db|backup\.json") as caught:
        restored(world, tmp_path / "backup")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("again*"))


def test_what_is_there_already_is_not_written_over(world: World, cli: Cli, tmp_path: Path) -> None:
    home = ("--home", str(world.home))
    out = str(tmp_path / "backup")
    cli("backup", out, *home)
    assert "exists already" in cli.refused("backup", out, *home)
    assert "lies in the home itself" in cli.refused("backup", str(world.home / "backup"), *home)
    keys = str(world.coordinator.layout.keys)
    assert "not empty" in cli.refused("restore", out, "--keys", keys, *home)
    taken_keys = tmp_path / "taken.keys"
    taken_keys.write_text("mine")
    assert "exists already" in cli.refused("backup", str(tmp_path / "second"), "--keys", str(taken_keys), *home)
    assert taken_keys.read_text() == "mine"
    assert not (tmp_path / "second").exists()


def test_keys_open_with_their_passphrase_alone(
    world: World, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, out = tmp_path / "all.keys", tmp_path / "backup"
    cli("backup", str(out), "--keys", str(keys), "--home", str(world.home))
    restoring = ("restore", str(out), "--keys", str(keys), "--home", str(tmp_path / "again"))
    monkeypatch.setenv(PASSPHRASE, "another sixteen characters")
    assert "the passphrase is another one" in cli.refused(*restoring)
    monkeypatch.setenv(PASSPHRASE, "short")
    assert "at least 16 characters" in cli.refused(*restoring)
    keys.write_bytes(b"{}")
    monkeypatch.setenv(PASSPHRASE, WORDS)
    assert "not a backup of keys" in cli.refused(*restoring)
    assert not list(tmp_path.glob("again*"))


def test_the_commands_say_what_was_done_and_what_to_do_next(world: World, cli: Cli, tmp_path: Path) -> None:
    shard = world.ship("agency")
    world.ship("clinic")
    world.coordinator.building.assemble(GROUP, quiet)
    keys, out = tmp_path / "all.keys", tmp_path / "backup"
    cli("backup", str(out), "--keys", str(keys), "--home", str(world.home))
    remove(world, "agency")
    said = cli(
        "restore", str(out), "--keys", str(keys), "--log", str(exported(world)), "--home", str(tmp_path / "again")
    )
    assert f"removed again: shard {shard}" in said
    assert "data keys destroyed again: agency" in said
    assert f"assemble again: severable-coordinator assemble --group {GROUP}" in said
    row = json.loads(cli("status", "--format", "json", "--home", str(tmp_path / "again")))
    assert (row["shards_live"], row["shards_removed"], row["removals_fulfilled"]) == (1, 1, 1)


def test_a_backup_that_was_cut_off_is_begun_anew(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ship("agency")
    out = tmp_path / "backup"
    with monkeypatch.context() as power_cut:
        power_cut.setattr(adapter, "_write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StorageError, match=r"No space left on device.*nothing of it is kept") as caught:
            taken(world, out)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    (tmp_path / "backup.partial").mkdir()
    (tmp_path / "backup.partial" / "left").write_text("by a kill -9")
    manifest = taken(world, out)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {file.name for file in manifest.files} | {MANIFEST}
    assert parse_manifest((out / MANIFEST).read_bytes(), "m") == manifest


def test_a_backup_of_a_coordinator_that_writes_holds_what_was_committed(world: World, tmp_path: Path) -> None:
    """What stands in the write-ahead log alone is in the backup; what is not committed yet is not."""
    shard = world.ship("agency")
    connection = sqlite3.connect(world.coordinator.layout.database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE shard SET state = 'erased'")
    try:
        taken(world, tmp_path / "backup")
    finally:
        connection.execute("ROLLBACK")
        connection.close()
    again, _ = restored(world, tmp_path / "backup")
    assert again.shards.shard(shard).state is ShardState.LIVE


def test_a_home_that_is_an_empty_directory_is_taken_and_private(world: World, tmp_path: Path) -> None:
    taken(world, tmp_path / "backup")
    (tmp_path / "again").mkdir()
    again, _ = restored(world, tmp_path / "backup")
    assert again.layout.keys.stat().st_mode & 0o077 == 0
    assert (again.layout.keys / "ca.key").stat().st_mode & 0o077 == 0
    with pytest.raises(ConflictError, match="not empty"):
        restored(world, tmp_path / "backup")
