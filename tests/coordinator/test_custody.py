"""Keys' backups and sketches as they are kept; the forms of backup.json and of a keys' file."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from coordinator.federation import START
from hypothesis import given
from hypothesis import strategies as st

from severable_coordinator.adapters.keys_file import read_keys, seal, unseal, write_keys
from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.keys_backups import SqlKeysBackupStore
from severable_coordinator.adapters.sql.sketches import SqlSketchStore
from severable_coordinator.backup_manifest import BackupManifest, parse_manifest
from severable_coordinator.custody import KeysBackup, holding
from severable_coordinator.errors import ConfigError, NotFoundError
from severable_coordinator.weight_sketch import WeightSketch
from severable_trust.digest import Digest, FileDigest


@pytest.fixture(params=["memory", "file"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    made = Database(None if request.param == "memory" else tmp_path / "test.db")
    yield made
    made.close()


def copy_of(word: str, days: int, *keys: str) -> KeysBackup:
    return KeysBackup(id=Digest.of(word.encode()), taken=START + timedelta(days=days), data_keys=frozenset(keys))


def test_keys_backups_are_kept_by_time_and_noting_one_twice_changes_nothing(database: Database) -> None:
    store = SqlKeysBackupStore(database)
    later, earlier = copy_of("later", 2, "a", "b"), copy_of("earlier", 1)
    for copy in (later, earlier, later):
        store.add(copy)
    assert store.backups() == [earlier, later]


def test_a_keys_backup_that_is_destroyed_holds_nothing_any_more(database: Database) -> None:
    store = SqlKeysBackupStore(database)
    one, other = copy_of("one", 1, "a", "b"), copy_of("other", 2, "a")
    store.add(one)
    store.add(other)
    assert holding(store.backups(), "a") == [one, other]
    assert holding(store.backups(), "b") == [one]
    assert holding(store.backups(), "") == []
    store.note_destroyed(one.id, START)
    store.add(one)  # it does not come back by being noted again
    assert holding(store.backups(), "a") == [other]
    with pytest.raises(NotFoundError, match="keys-backups"):
        store.note_destroyed(Digest.of(b"unknown"), START)


def test_the_newest_sketch_of_a_shard_is_kept(database: Database) -> None:
    store, shard = SqlSketchStore(database), Digest.of(b"shard")
    store.keep(shard, WeightSketch("k", bytes(128)))
    store.keep(shard, WeightSketch("k", bytes([1]) * 128))
    store.keep(Digest.of(b"other"), WeightSketch("k", bytes(128)))
    assert store.sketches()[shard] == WeightSketch("k", bytes([1]) * 128)
    assert len(store.sketches()) == 2


@given(st.lists(st.binary(max_size=8), max_size=4), st.integers(0, 10**6))
def test_a_manifest_is_read_as_it_was_written(contents: list[bytes], size: int) -> None:
    files = tuple(FileDigest.of(f"store/{number}", data) for number, data in enumerate(contents))
    manifest = BackupManifest(coordinator="federation", taken=START, log_size=size, files=files)
    assert parse_manifest(manifest.to_bytes(), "backup.json") == manifest


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b"\xff",
        b'{"coordinator":"a","files":[],"format":"severable-backup/v2","log_size":1,"taken":"2026-01-01T00:00:00Z"}',
        b'{"coordinator":"a","files":[1],"format":"severable-backup/v1","log_size":1,"taken":"2026-01-01T00:00:00Z"}',
        b'{"coordinator":"a","files":{},"format":"severable-backup/v1","log_size":1,"taken":"2026-01-01T00:00:00Z"}',
        b'{"coordinator":"a","files":[],"format":"severable-backup/v1","log_size":"x","taken":"2026-01-01T00:00:00Z"}',
        b'{"coordinator":"a","files":[{"digest":"sha256:' + b"0" * 64 + b'","name":"../x","size":1}],'
        b'"format":"severable-backup/v1","log_size":1,"taken":"2026-01-01T00:00:00Z"}',
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"backup\.json") as caught:
        parse_manifest(data, "backup.json")
    assert "\n" not in str(caught.value)


def test_keys_come_out_as_they_went_in_and_only_so(tmp_path: Path) -> None:
    keys = {"ca.key": b"\0\xff", "data/archive.json": b"{}"}
    secret = "correct horse battery staple"
    data = seal(keys, secret)
    assert unseal(data, secret, tmp_path) == keys
    assert b"archive" not in data
    for place in (len(data) // 2, len(data) - 20):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(ConfigError):
            unseal(bytes(changed), secret, tmp_path)
    write_keys(tmp_path / "keys", keys)
    assert read_keys(tmp_path / "keys") == keys
    assert (tmp_path / "keys/data/archive.json").stat().st_mode & 0o777 == 0o600
