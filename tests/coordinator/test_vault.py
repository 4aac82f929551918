"""The Vault's contract: encrypted, bound to party and name, whole or not at all, unreadable once the key is gone."""

import errno
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from severable_coordinator.adapters.vault import DirectoryVault
from severable_coordinator.errors import NotFoundError, StorageError
from severable_trust.digest import Digest


@pytest.fixture
def vault(tmp_path: Path) -> DirectoryVault:
    return DirectoryVault(tmp_path / "store", tmp_path / "keys")


def test_what_was_written_is_read_back_and_is_not_on_the_disk_in_plain(vault: DirectoryVault, tmp_path: Path) -> None:
    secret = b"a very plain secret" * 100
    assert vault.write("archive", "shards/a/x", iter([secret[:700], secret[700:]])) == Digest.of(secret)
    assert vault.read("archive", "shards/a/x") == secret
    for path in (tmp_path / "store").rglob("*"):
        assert not path.is_file() or b"plain secret" not in path.read_bytes()


def test_a_stream_can_go_back_to_any_place(vault: DirectoryVault) -> None:
    data = bytes(range(256)) * 20000  # several segments
    vault.write("archive", "x", iter([data]))
    with vault.open("archive", "x") as stream:
        assert stream.read(10) == data[:10]
        stream.seek(3_000_000)
        assert stream.read(5) == data[3_000_000:3_000_005]
        stream.seek(0)
        assert stream.read() == data
        with pytest.raises(io.UnsupportedOperation):
            stream.seek(0, io.SEEK_END)


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=5000), st.integers(0, 5000))
def test_reading_in_pieces_gives_the_same_as_reading_at_once(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int
) -> None:
    root = tmp_path_factory.mktemp("vault")
    vault = DirectoryVault(root / "store", root / "keys")
    vault.write("p", "x", iter([data]))
    with vault.open("p", "x") as stream:
        first = stream.read(size)
        assert first + stream.read() == data


def test_a_file_moved_to_another_name_or_party_is_not_read(vault: DirectoryVault, tmp_path: Path) -> None:
    vault.write("archive", "a", iter([b"data"]))
    vault.write("clinic", "a", iter([b"other"]))
    files = tmp_path / "store/files"
    (files / "archive/b").write_bytes((files / "archive/a").read_bytes())
    (files / "clinic/c").write_bytes((files / "archive/a").read_bytes())
    for party, name in (("archive", "b"), ("clinic", "c")):
        with pytest.raises(StorageError, match="altered"):
            vault.read(party, name)


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_truncated_file_is_not_read(vault: DirectoryVault, tmp_path: Path, cut: int) -> None:
    vault.write("archive", "a", iter([b"data" * 50]))
    path = tmp_path / "store/files/archive/a"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(StorageError):
        vault.read("archive", "a")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\\b", ""])
def test_a_name_that_leaves_the_store_is_refused(vault: DirectoryVault, name: str) -> None:
    with pytest.raises(StorageError, match="not a name"):
        vault.write("archive", name, iter([b""]))


def test_a_key_whose_destruction_was_cut_off_is_gone_and_is_destroyed_once_more(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    """Power went between the overwriting and the unlinking."""
    vault.write("archive", "file", iter([b"x"]))
    (path,) = tmp_path.rglob("archive.json")
    path.write_bytes(bytes(path.stat().st_size))
    assert vault.key_id("archive") == ""
    with pytest.raises(StorageError, match="is gone"):
        vault.read("archive", "file")
    assert vault.destroy_key("archive") == ""
    assert not path.exists()


def test_a_write_that_fails_leaves_nothing(vault: DirectoryVault) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="no space left"):
        vault.write("archive", "a", broken())
    assert vault.names("archive") == []
    with pytest.raises(NotFoundError):
        vault.read("archive", "a")


def test_without_its_key_a_partys_copy_from_a_backup_is_unreadable(vault: DirectoryVault, tmp_path: Path) -> None:
    vault.write("archive", "a", iter([b"data"]))
    vault.write("clinic", "a", iter([b"kept"]))
    backup = (tmp_path / "store/files/archive/a").read_bytes()
    assert vault.destroy_key("archive")
    assert vault.unlink("archive", "") == ["a"]
    (tmp_path / "store/files/archive").mkdir(parents=True, exist_ok=True)
    (tmp_path / "store/files/archive/a").write_bytes(backup)
    with pytest.raises(StorageError, match="is gone"):
        vault.read("archive", "a")
    vault.write("archive", "b", iter([b"new"]))  # a new key, if the party comes back
    with pytest.raises(StorageError):
        vault.read("archive", "a")
    assert vault.read("clinic", "a") == b"kept"


def test_keys_are_private_files_apart_from_the_store(vault: DirectoryVault, tmp_path: Path) -> None:
    vault.write("archive", "a", iter([b"data"]))
    assert (tmp_path / "keys/archive.json").stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "store").rglob("*.json")) == []


def test_a_file_written_block_by_block_is_there_once_the_whole_of_it_is_and_not_before(vault: DirectoryVault) -> None:
    with vault.writing("archive", "a") as write:
        write(b"half")
        assert not vault.holds("archive", "a")
        write(b" and half")
    assert vault.holds("archive", "a")
    assert vault.read("archive", "a") == b"half and half"


def test_a_file_whose_writing_ends_in_an_error_is_not_there(vault: DirectoryVault) -> None:
    def broken() -> None:
        with vault.writing("archive", "a") as write:
            write(b"half")
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        broken()
    assert vault.names("archive") == []
    assert not vault.holds("archive", "a")
