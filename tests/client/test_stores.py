"""What only the stores on disk promise: other processes, damage, a full disk."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from severable_client.adapters.database import open_database
from severable_client.adapters.files import FolderRecipeStore, write_whole
from severable_client.adapters.journal import SqlJournal
from severable_client.adapters.sql import SqlContractStore
from severable_client.errors import StorageError
from severable_client.ports import ContractRecord
from severable_trust.contract import ContractState

ID = "sha256:" + "a" * 64


def test_two_openings_of_one_database_see_each_other(tmp_path: Path) -> None:
    first = SqlContractStore(open_database(tmp_path / "state.db"), tmp_path)
    second = SqlContractStore(open_database(tmp_path / "state.db"), tmp_path)
    record = ContractRecord(id=ID, envelope=b"x", state=ContractState.ACTIVE)
    first.put(record)
    assert second.get(ID) == record


def test_a_changed_recipe_file_is_not_the_recipe(tmp_path: Path) -> None:
    store = FolderRecipeStore(tmp_path)
    digest = store.put(b"{}")
    next(tmp_path.glob("*.json")).write_bytes(b"{ }")
    assert store.get(digest) is None


def test_a_state_without_its_envelope_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    store = SqlContractStore(open_database(tmp_path / "state.db"), tmp_path)
    store.put(ContractRecord(id=ID, envelope=b"x", state=ContractState.ACTIVE))
    (tmp_path / f"{'a' * 64}.dsse.json").unlink()
    with pytest.raises(StorageError, match=r"dsse\.json"):
        store.get(ID)


def test_a_file_that_is_no_database_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is no database, not by any means, of SQLite" * 40)
    with pytest.raises(StorageError, match=r"state\.db"):
        SqlJournal(open_database(tmp_path / "state.db"), tmp_path / "journal.jsonl").all()


def test_a_full_disk_is_told_in_one_line_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.json"
    write_whole(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("severable_client.adapters.files.os.fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_many_write_at_once_is_whole_and_every_one_of_them_succeeds(tmp_path: Path) -> None:
    path, versions = tmp_path / "kept.json", [bytes([number]) * 4096 for number in range(8)]

    def write(version: bytes) -> None:
        for _ in range(40):
            write_whole(path, version)
            assert path.read_bytes() in versions

    with ThreadPoolExecutor(
        len(versions)
    ) as writers:  # locks are of open files: threads exclude each other as processes do
        list(writers.map(write, versions))
    assert list(tmp_path.iterdir()) == [path]
