"""Taking an upload in: a chunk costs the same however many came before it, and an upload ends once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from coordinator.federation import World, shard_files

from severable_coordinator.adapters.vault import DirectoryVault
from severable_coordinator.admission import Admission
from severable_coordinator.errors import RefusedError
from severable_coordinator.ports import UploadRecord
from severable_trust.digest import Digest
from severable_trust.statement import Kind

WEIGHTS = "model.safetensors"
PIECE = 64  # bytes: fewer than 64 chunks may be so small


class CountingVault(DirectoryVault):
    """The real one, which counts how often it lists files."""

    listed: Counter[str]

    def names(self, party: str, prefix: str = "") -> list[str]:
        self.listed[prefix] += 1
        return super().names(party, prefix)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home")
    made.join("archive")
    made.agree("archive")
    return made


@pytest.fixture
def counted(world: World) -> tuple[Admission, CountingVault]:
    layout = world.coordinator.layout
    vault = CountingVault(layout.store, layout.data_keys)
    vault.listed = Counter()
    return replace(world.coordinator.admission, vault=vault), vault


def begun(world: World, admission: Admission, pieces: int) -> tuple[UploadRecord, bytes]:
    """An upload of which some pieces of the weights have been taken."""
    files = shard_files("archive")
    upload = admission.open("archive", world.claim("archive", files).to_bytes())
    for number in range(pieces):
        start = number * PIECE
        admission.take(upload, WEIGHTS, start, files[WEIGHTS][start : start + PIECE])
    return upload, files[WEIGHTS]


def test_the_chunks_before_it_are_not_looked_at_again_for_each_chunk(
    world: World, counted: tuple[Admission, CountingVault]
) -> None:
    admission, vault = counted
    upload, _ = begun(world, admission, pieces=1)
    before = sum(vault.listed.values())
    for number in range(1, 40):
        admission.take(upload, WEIGHTS, number * PIECE, bytes(PIECE))
    assert sum(vault.listed.values()) == before
    assert admission.received(upload)[WEIGHTS] == 40 * PIECE


def test_another_process_goes_on_where_the_files_on_the_disk_end(world: World) -> None:
    upload, weights = begun(world, world.coordinator.admission, pieces=3)
    world.coordinator.admission.intakes.close()
    again = world.reopened().admission
    with pytest.raises(RefusedError, match=f"{3 * PIECE} bytes are held"):
        again.take(upload, WEIGHTS, 2 * PIECE, weights[2 * PIECE : 3 * PIECE])
    again.take(upload, WEIGHTS, 3 * PIECE, weights[3 * PIECE : 4 * PIECE])


def test_files_that_a_removal_took_away_are_noticed_at_the_next_chunk(world: World) -> None:
    admission = world.coordinator.admission
    upload, weights = begun(world, admission, pieces=3)
    world.reopened().vault.unlink("archive", "")
    with pytest.raises(RefusedError, match="but 0 bytes are held"):
        admission.take(upload, WEIGHTS, 3 * PIECE, weights[3 * PIECE : 4 * PIECE])
    assert world.coordinator.vault.names("archive") == []


def test_an_upload_that_is_finished_twice_at_once_is_admitted_once(world: World) -> None:
    admission = world.coordinator.admission
    files = shard_files("archive")
    upload = admission.open("archive", world.claim("archive", files).to_bytes())
    for name, data in files.items():
        admission.take(upload, name, 0, data)
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda _: admission.finish(upload), range(4)))
    assert [verdict.admitted for verdict in verdicts] == [True] * 4
    (shard,) = world.coordinator.shards.shards()
    assert world.coordinator.logbook.log.statements(Kind.SHARD) == [shard.id]
    kept = world.coordinator.vault
    assert {name: kept.read("archive", f"shards/{shard.id.hex}/{name}") for name in files} == files


def test_weights_that_are_refused_while_they_are_being_stored_leave_nothing(world: World) -> None:
    admission = world.coordinator.admission
    files = shard_files("archive")
    upload = admission.open("archive", world.claim("archive", files).to_bytes())
    for name, data in files.items():
        sent = data if name != WEIGHTS else data[:-1] + bytes([data[-1] ^ 1])
        admission.take(upload, name, 0, sent)
    verdict = admission.finish(upload)
    assert (verdict.admitted, verdict.shard) == (False, Digest(upload.id))
    assert world.coordinator.vault.names("archive") == []
    assert [path for path in world.coordinator.layout.store.rglob("*") if path.is_file()] == []


def test_a_file_that_another_process_took_away_is_let_go_of(world: World) -> None:
    admission = world.coordinator.admission
    upload, _ = begun(world, admission, 2)
    store = world.coordinator.layout.store
    (growing,) = store.rglob("*.growing")
    assert growing in open_files()
    DirectoryVault(store, world.coordinator.layout.data_keys).unlink("archive", "")
    assert any(str(path).startswith(str(growing)) for path in open_files())  # its blocks are there still
    admission.intakes.sweep()
    assert not any(str(path).startswith(str(growing)) for path in open_files())
    assert admission.received(upload)[WEIGHTS] == 0


def open_files() -> list[Path]:
    """What this process has open, as Linux names it: a file that was unlinked has a note behind its name."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(descriptor.readlink())
    return found
