"""Removed weights come back: re-signed, for another task, party or recipe, a bit or some noise off, by a handover."""

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from coordinator.federation import World, quiet, recipe, shard_files, terms

from severable_coordinator.adapters.handover import import_shards
from severable_coordinator.adapters.handover_out import export_shards
from severable_coordinator.adapters.recipes import record_of
from severable_coordinator.errors import RefusedError, StorageError
from severable_coordinator.ports import ShardState
from severable_coordinator.uploads import Verdict
from severable_trust.digest import Digest
from severable_trust.shard import ShardClaim
from severable_trust.statement import Kind, read_unverified, sign_statement

Files = dict[str, bytes]
WEIGHTS = "model.safetensors"


@pytest.fixture
def removed(tmp_path: Path) -> tuple[World, Digest]:
    """Archive's shard was removed; it has joined again with a new contract, and has a task to answer."""
    world = World.of(tmp_path / "home", "archive", "clinic")
    shard = world.ship("archive")
    contract = world.coordinator.contracts.contracts("archive")[0].id
    record = world.coordinator.requests.receive("archive", world.ask_for_erasure("archive", contract))
    world.coordinator.removal.run(record, quiet)
    world.agree("archive")
    return world, shard


def send(world: World, name: str, files: Files) -> Verdict:
    return world.upload(name, world.claim(name, files), files)


def numbers(files: Files) -> tuple[bytes, npt.NDArray[np.float32]]:
    data = files[WEIGHTS]
    start = 8 + struct.unpack("<Q", data[:8])[0]
    return data[:start], np.frombuffer(data[start:], "<f4").copy()


def the_same(files: Files) -> Files:
    return files


def one_bit_off(files: Files) -> Files:
    head, x = numbers(files)
    x.view(np.uint32)[5] ^= 1
    return {**files, WEIGHTS: head + x.tobytes()}


def one_huge_number(files: Files) -> Files:
    head, x = numbers(files)
    x[5] = 3e38
    return {**files, WEIGHTS: head + x.tobytes()}


def a_tenth_of_noise(files: Files) -> Files:
    head, x = numbers(files)
    noise = np.random.default_rng(1).standard_normal(len(x)).astype("<f4") * x.std() / 10
    return {**files, WEIGHTS: head + (x + noise).astype("<f4").tobytes()}


def doubled(files: Files) -> Files:
    head, x = numbers(files)
    return {**files, WEIGHTS: head + (2 * x).tobytes()}


@pytest.mark.parametrize("change", [the_same, one_bit_off, one_huge_number, a_tenth_of_noise, doubled])
def test_removed_weights_under_a_new_contract_are_refused_in_one_line_and_not_kept(
    removed: tuple[World, Digest], change: Callable[[Files], Files]
) -> None:
    world, shard = removed
    verdict = send(world, "archive", change(shard_files("archive")))
    assert not verdict.admitted
    assert verdict.reason.startswith(f"these are the weights of shard {shard}, which was removed (likeness ")
    assert verdict.reason.endswith("they do not come back, train new ones")
    assert "\n" not in verdict.reason
    assert world.coordinator.vault.names("archive") == []
    assert world.coordinator.shards.shards() == []
    assert [d for d in world.coordinator.log.statements(Kind.SHARD) if d != shard] == []


def test_removed_weights_do_not_come_back_through_another_party(removed: tuple[World, Digest]) -> None:
    world, _ = removed
    assert "which was removed" in send(world, "clinic", shard_files("archive")).reason


def test_removed_weights_do_not_come_back_under_another_recipe_of_the_same_network(
    removed: tuple[World, Digest],
) -> None:
    world, _ = removed
    renamed = record_of(replace(recipe(), name="another"))
    world.join("gallery")
    offered = world.coordinator.contracting.offer("gallery", renamed, terms())
    world.coordinator.contracting.accept("gallery", offered.countersigned(world.owners["gallery"].signer))
    _, (task,) = world.coordinator.training.open_batch(renamed.digest, frozenset({"gallery"}))
    files = shard_files("archive")
    claim = world.claim("gallery", files, nonce=task.nonce, contract=Digest.parse(task.contract), recipe=renamed.digest)
    assert "which was removed" in world.upload("gallery", claim, files).reason


def test_an_honest_new_training_on_the_same_images_is_admitted(removed: tuple[World, Digest]) -> None:
    world, shard = removed
    again = world.ship("archive", training=1)
    kept = world.coordinator.tombstones.sketches.sketches()
    assert world.coordinator.shards.shard(again).state is ShardState.LIVE
    assert abs(kept[shard].likeness(kept[again])) < 0.3


def test_a_refused_party_may_answer_the_task_that_it_is_given_next(removed: tuple[World, Digest]) -> None:
    world, _ = removed
    assert not send(world, "archive", shard_files("archive")).admitted
    world.ship("archive", training=1)


def test_removed_weights_do_not_come_back_by_a_handover_under_a_new_claim(tmp_path: Path) -> None:
    ours = World.of(tmp_path / "home", "archive")
    ours.ship("archive")
    out = tmp_path / "handover"
    export_shards(ours.coordinator, out)
    theirs = World(tmp_path / "theirs", name="theirs", clock=ours.clock).coordinator
    (shard,) = import_shards(theirs, out, ours.coordinator.layout.trust_root)
    theirs.shards.set_state(shard.id, ShardState.ERASED)
    path = out / "archive/claim.dsse.json"
    claim = replace(read_unverified(path.read_bytes(), ShardClaim), loss=0.25)
    path.write_bytes(sign_statement(claim, ours.owners["archive"].signer).to_bytes())
    with pytest.raises(RefusedError, match="which was removed"):
        import_shards(theirs, out, ours.coordinator.layout.trust_root)
    assert theirs.shards.shards() == []


def test_without_the_key_of_the_sketches_nothing_is_admitted_past_them(removed: tuple[World, Digest]) -> None:
    world, _ = removed
    world.coordinator.layout.sketch_key.write_bytes(bytes(32))
    other = world.reopened()
    files = shard_files("archive", 1)
    upload = other.admission.open("archive", world.claim("archive", files).to_bytes())
    for name, data in files.items():
        other.admission.take(upload, name, 0, data)
    with pytest.raises(StorageError, match=r"restore keys/sketch\.key"):
        other.admission.finish(upload)
    assert other.shards.shards() == []


def test_of_a_removed_shards_weights_128_bytes_are_kept(removed: tuple[World, Digest]) -> None:
    world, shard = removed
    sketch = world.coordinator.tombstones.sketches.sketches()[shard]
    _, x = numbers(shard_files("archive"))
    assert 8 * len(sketch.bits) < 32 * len(x) / 50
    with world.coordinator.database.read() as connection:
        columns = connection.exec_driver_sql("SELECT * FROM weight_sketch").all()
    assert columns == [(str(shard), sketch.key, sketch.bits)]
