"""Files of a vault that grow over several processes: whole segments survive any end, and nothing comes twice."""

import io
import random
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from tools import run_python

from severable_coordinator.adapters.growing_file import GrowingFile
from severable_coordinator.adapters.vault import DirectoryVault
from severable_coordinator.errors import NotFoundError, StorageError

MIB = 1 << 20
NAME, KEPT = "incoming/a/w", "shards/a/w"
DATA = random.Random(3).randbytes(9 * MIB + 1000)  # noqa: S311  # no secret

KILLED = """
import os, sys
from pathlib import Path
from coordinator.test_growing import DATA, KEPT, MIB, NAME
from severable_coordinator.adapters.vault import DirectoryVault
root = Path(sys.argv[1])
growing = DirectoryVault(root / "store", root / "keys").grow("archive", NAME, KEPT)
start = growing.size
for offset in range(start, start + int(sys.argv[2]), 1 << 16):
    growing.write(DATA[offset : offset + (1 << 16)])
os._exit(9)
"""


@pytest.fixture
def vault(tmp_path: Path) -> DirectoryVault:
    return DirectoryVault(tmp_path / "store", tmp_path / "keys")


def test_what_has_grown_whole_is_kept_under_its_name_and_reads_as_it_came(vault: DirectoryVault) -> None:
    growing = vault.grow("archive", NAME, KEPT)
    for offset in range(0, len(DATA), 70_000):
        growing.write(DATA[offset : offset + 70_000])
    growing.finish()
    with vault.grown("archive", NAME, KEPT) as stream:
        assert stream.read() == DATA
    vault.keep("archive", NAME, KEPT)
    vault.keep("archive", NAME, KEPT)
    assert vault.names("archive") == [KEPT]
    assert vault.read("archive", KEPT) == DATA
    with vault.grown("archive", NAME, KEPT) as stream:
        assert stream.read(9) == DATA[:9]


def test_a_killed_process_loses_three_mib_at_most_and_the_next_goes_on(vault: DirectoryVault, tmp_path: Path) -> None:
    assert run_python(KILLED, str(tmp_path), str(4 * MIB)).returncode == 9
    assert run_python(KILLED, str(tmp_path), str(4 * MIB)).returncode == 9
    growing = vault.grow("archive", NAME, KEPT)
    assert growing.size >= 2 * (4 - 3) * MIB
    for offset in range(growing.size, len(DATA), MIB):
        growing.write(DATA[offset : offset + MIB])
    growing.finish()
    vault.keep("archive", NAME, KEPT)
    assert vault.names("archive") == [KEPT]
    assert vault.read("archive", KEPT) == DATA


def test_a_taking_over_that_was_cut_off_is_begun_again_from_what_was_left(vault: DirectoryVault) -> None:
    growing = vault.grow("archive", NAME, KEPT)
    growing.write(DATA)
    growing.close()
    folder = next((path for path in vault.names("archive")), "")
    assert folder == f"{NAME}.growing"
    path = next(vault._files.rglob("w.growing"))
    path.rename(path.with_name("w.left"))
    path.write_bytes(b"half of a copy")
    assert vault.grow("archive", NAME, KEPT).size == len(DATA)
    assert vault.names("archive") == [f"{NAME}.growing"]


def test_a_process_that_lets_go_loses_nothing(vault: DirectoryVault) -> None:
    growing = vault.grow("archive", NAME, KEPT)
    growing.write(DATA[:1000])
    growing.close()
    again = vault.grow("archive", NAME, KEPT)
    assert again.size == 1000
    again.write(DATA[1000:])
    again.finish()
    assert vault.grow("archive", NAME, KEPT).size == len(DATA)


def test_nothing_is_on_the_disk_before_the_first_byte_and_a_part_is_not_read_as_the_whole(
    vault: DirectoryVault,
) -> None:
    growing = vault.grow("archive", NAME, KEPT)
    assert (growing.size, growing.there, vault.names("archive")) == (0, True, [])
    growing.write(DATA[:10])
    with pytest.raises(NotFoundError):
        vault.grown("archive", NAME, KEPT)


def test_a_file_that_was_taken_away_is_no_longer_there(vault: DirectoryVault) -> None:
    growing = vault.grow("archive", NAME, KEPT)
    growing.write(DATA[:10])
    vault.unlink("archive", "")
    assert not growing.there
    growing.close()
    assert vault.grow("archive", NAME, KEPT).size == 0


def test_a_write_that_the_disk_refuses_is_one_line_and_what_is_held_is_looked_up_again(vault: DirectoryVault) -> None:
    growing = vault.grow("archive", NAME, KEPT)
    full = vault._files / "archive/incoming/a/w.growing"
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")
    with pytest.raises(StorageError, match="no space left"):
        growing.write(DATA)
    assert not growing.there
    full.unlink()
    assert vault.grow("archive", NAME, KEPT).size == 0


def test_bytes_of_one_name_are_not_read_under_another(vault: DirectoryVault) -> None:
    growing = vault.grow("archive", NAME, KEPT)
    growing.write(DATA)
    growing.finish()
    with vault.grown("archive", NAME, "shards/b/w") as stream, pytest.raises(StorageError, match="altered"):
        stream.read()


class Passes:
    """What the passes over a file were given, one after another."""

    def __init__(self) -> None:
        self.begun: list[bytearray] = []

    def begin(self) -> Callable[[bytes], object]:
        self.begun.append(bytearray())
        return self.begun[-1].extend


def test_a_pass_is_given_what_is_held_in_order_and_once_whoever_took_it(vault: DirectoryVault) -> None:
    first, second, third = Passes(), Passes(), Passes()
    growing = vault.grow("archive", NAME, KEPT, first.begin)
    growing.write(DATA[:1000])
    growing.close()
    again = vault.grow("archive", NAME, KEPT, second.begin)
    again.write(DATA[1000:])
    again.finish()
    vault.grow("archive", NAME, KEPT, third.begin)
    assert [first.begun, second.begun, third.begun] == [[DATA[:1000]], [DATA], [DATA]]


def test_a_whole_file_that_was_altered_is_a_part_and_its_pass_begins_anew(vault: DirectoryVault) -> None:
    growing, passes = vault.grow("archive", NAME, KEPT), Passes()
    growing.write(DATA)
    growing.finish()
    path = vault._files / "archive" / NAME
    sealed = bytearray(path.read_bytes())
    sealed[-5] ^= 1
    path.write_bytes(sealed)
    part = vault.grow("archive", NAME, KEPT, passes.begin)
    assert 0 < part.size < len(DATA)
    assert passes.begun[-1] == DATA[: part.size]
    assert len(passes.begun) == 2
    part.write(DATA[part.size :])
    part.finish()
    assert passes.begun[-1] == DATA
    vault.keep("archive", NAME, KEPT)
    assert vault.read("archive", KEPT) == DATA


class Taking(io.RawIOBase):
    """A stream that takes so many bytes at a time, and no more."""

    def __init__(self, raw: io.RawIOBase, most: int) -> None:
        self._raw, self._most = raw, most

    def write(self, data: Any) -> int:
        return self._raw.write(bytes(data)[: self._most]) or 0


def _reader(raw: BinaryIO) -> io.BufferedReader:
    return io.BufferedReader(io.FileIO(raw.fileno(), closefd=False))


def plain(path: Path, most: int) -> GrowingFile:
    return GrowingFile(path, lambda raw: Taking(raw, most), _reader, nullcontext, lambda: len)


def test_a_stream_that_takes_a_part_is_given_the_rest(tmp_path: Path) -> None:
    growing = plain(tmp_path / "file", most=3)
    growing.write(b"eleven bytes")
    growing.finish()
    assert (tmp_path / "file").read_bytes() == b"eleven bytes"


def test_a_stream_that_takes_nothing_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    growing = plain(tmp_path / "file", most=0)
    with pytest.raises(OSError, match="Input/output"):
        growing.write(b"x")
    assert not growing.there
