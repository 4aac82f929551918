"""Attacks with whole shards: forged, replayed, re-signed, changed by a bit, and coming back after a removal."""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from coordinator.federation import GROUP, Owner, World, quiet, shard_files
from coordinator.served import TIMEOUT_S, Served, chunks, refused

from severable_coordinator.errors import NotFoundError, RefusedError, StorageError
from severable_protos.v1 import exchange_pb2 as pb
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import LogError
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified, sign_statement
from severable_trust.witness import advance_view

Files = dict[str, bytes]


def send(served: Served, name: str, claim: Envelope, files: Files) -> pb.FinishUploadReply:
    stub = served.stub(name)
    opened = stub.OpenUpload(pb.OpenUploadRequest(claim=claim.to_bytes()), timeout=TIMEOUT_S)
    stub.SendChunks(chunks(opened.upload, files), timeout=TIMEOUT_S)
    return stub.FinishUpload(pb.FinishUploadRequest(upload=opened.upload), timeout=TIMEOUT_S)


def one_bit_changed(files: Files) -> Files:
    weights = bytearray(files["model.safetensors"])
    weights[-4] ^= 1
    return {**files, "model.safetensors": bytes(weights)}


def test_a_claim_that_a_strangers_key_signed_is_refused(served: Served) -> None:
    served.world.agree("archive")
    claim = served.world.claim("archive", shard_files("archive"), signer=Owner.make("archive").signer)
    error = refused(served.stub("archive").OpenUpload, pb.OpenUploadRequest(claim=claim.to_bytes()))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "signature by unknown key" in str(error.details())


def test_a_claim_under_another_partys_valid_key_is_refused(served: Served) -> None:
    served.world.agree("archive")
    claim = served.world.claim("archive", shard_files("archive"), signer=served.world.owners["clinic"].signer)
    for name in ("archive", "clinic"):  # neither as the one whom it names nor as the one who signed it
        error = refused(served.stub(name).OpenUpload, pb.OpenUploadRequest(claim=claim.to_bytes()))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_weights_with_one_bit_changed_on_the_way_are_refused_and_nothing_is_kept(served: Served) -> None:
    served.world.agree("archive")
    files = shard_files("archive")
    reply = send(served, "archive", served.world.claim("archive", files), one_bit_changed(files))
    assert not reply.admitted
    assert "6 sizes and digests" in reply.reason
    assert served.world.coordinator.vault.names("archive") == []


def test_a_nonce_is_good_for_one_shard(served: Served) -> None:
    world, files = served.world, shard_files("archive")
    world.agree("archive")
    first = world.claim("archive", files)
    assert send(served, "archive", first, files).admitted
    sent_first = read_unverified(first, ShardClaim)
    other = replace(sent_first, images=65, data=replace(sent_first.data, images=65))
    again = sign_statement(other, world.owners["archive"].signer)
    error = refused(served.stub("archive").OpenUpload, pb.OpenUploadRequest(claim=again.to_bytes()))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "a nonce is good for one shard" in str(error.details())
    assert len(world.coordinator.shards.shards()) == 1


def test_a_shard_that_is_sent_again_is_the_same_shard_and_no_second_one(served: Served) -> None:
    world, files = served.world, shard_files("archive")
    world.agree("archive")
    claim = world.claim("archive", files)
    assert send(served, "archive", claim, files).admitted
    resigned = sign_statement(read_unverified(claim, ShardClaim), world.owners["archive"].signer)
    assert resigned.to_bytes() != claim.to_bytes()  # ECDSA never signs twice alike
    for envelope in (claim, resigned):
        reply = served.stub("archive").OpenUpload(pb.OpenUploadRequest(claim=envelope.to_bytes()), timeout=TIMEOUT_S)
        assert reply.finished
    assert len(world.coordinator.shards.shards()) == 1


@pytest.fixture
def removed(served: Served) -> tuple[World, Envelope, Digest]:
    """Archive's shard was admitted, composed with clinic's, and removed."""
    world = served.world
    for name in ("archive", "clinic"):
        world.agree(name)
    claim = world.claim("archive", shard_files("archive"))
    shard = world.upload("archive", claim, shard_files("archive")).shard
    world.ship("clinic")
    contract = read_unverified(claim, ShardClaim).contract
    record = world.coordinator.requests.receive("archive", world.ask_for_erasure("archive", contract))
    world.coordinator.removal.run(record, quiet)
    return world, claim, shard


def test_a_removed_shard_sent_again_is_refused_as_its_tombstone_says(
    served: Served, removed: tuple[World, Envelope, Digest]
) -> None:
    world, claim, _ = removed
    resigned = sign_statement(read_unverified(claim, ShardClaim), world.owners["archive"].signer)
    for envelope in (claim, resigned):
        error = refused(served.stub("archive").OpenUpload, pb.OpenUploadRequest(claim=envelope.to_bytes()))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "was removed and does not come back" in str(error.details())


def test_removed_weights_under_a_new_claim_answer_no_open_task(
    served: Served, removed: tuple[World, Envelope, Digest]
) -> None:
    """With its contract the party lost its tasks: the same weights, or one bit off, have nothing to answer."""
    world, claim, _ = removed
    old = read_unverified(claim, ShardClaim)
    for images in (65, 66):
        changed = replace(old, images=images, data=replace(old.data, images=images))
        again = sign_statement(changed, world.owners["archive"].signer)
        error = refused(served.stub("archive").OpenUpload, pb.OpenUploadRequest(claim=again.to_bytes()))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "has ended" in str(error.details())


def back_up(world: World, folder: Path) -> None:
    """What an operator's backup holds: database and store; the keys are kept out of it."""
    world.coordinator.layout.store.mkdir(exist_ok=True)
    shutil.copytree(world.coordinator.layout.store, folder / "store")
    with sqlite3.connect(world.coordinator.layout.database) as source, sqlite3.connect(folder / "db") as target:
        source.backup(target)
    source.close()
    target.close()


def put_back(world: World, folder: Path) -> None:
    world.coordinator.database.close()
    for path in world.home.glob("coordinator.db*"):
        path.unlink()
    shutil.copyfile(folder / "db", world.coordinator.layout.database)
    shutil.rmtree(world.coordinator.layout.store)
    shutil.copytree(folder / "store", world.coordinator.layout.store)


@pytest.fixture
def restored(served: Served, tmp_path: Path) -> tuple[World, Digest, str]:
    """A backup from before a removal was put back after it; also the log's note from just before that."""
    world = served.world
    for name in ("archive", "clinic"):
        world.agree(name)
        world.ship(name)
    shard = next(shard.id for shard in world.coordinator.shards.shards() if shard.party == "archive")
    (tmp_path / "backup").mkdir()
    back_up(world, tmp_path / "backup")
    contract = world.coordinator.contracts.contracts("archive")[0].id
    record = world.coordinator.requests.receive("archive", world.ask_for_erasure("archive", contract))
    world.coordinator.removal.run(record, quiet)
    seen = world.coordinator.log.checkpoint()[1]
    put_back(world, tmp_path / "backup")
    return world, shard, seen


def test_a_backup_from_before_a_removal_is_refused_at_the_first_look(restored: tuple[World, Digest, str]) -> None:
    world, _, _ = restored
    with pytest.raises(StorageError, match=r"older database was put back"):
        _ = world.reopened().log


def test_a_backup_cannot_bring_the_weights_back_even_past_that_look(restored: tuple[World, Digest, str]) -> None:
    world, shard, _ = restored
    world.coordinator.layout.log_mark.unlink()  # an operator who insists
    reopened = world.reopened()
    assert reopened.shards.shard(shard).state == "live"  # so the old database says
    with pytest.raises(StorageError, match="data key of party 'archive' is gone"):
        reopened.vault.read("archive", f"shards/{shard.hex}/model.safetensors")
    with pytest.raises(StorageError, match="is gone"):
        reopened.building.assemble(GROUP, quiet)


def test_every_party_that_watched_sees_a_restored_backup_as_a_log_that_shrank(
    restored: tuple[World, Digest, str],
) -> None:
    world, _, seen = restored
    world.coordinator.layout.log_mark.unlink()
    note, proof = world.reopened().log.consistency(10**6)
    with pytest.raises(LogError, match="shrank"):
        advance_view(seen, note, proof, world.coordinator.trust_root.log_vkey)


def test_an_imported_shard_that_was_removed_here_does_not_come_in_by_that_door(
    removed: tuple[World, Envelope, Digest], tmp_path: Path
) -> None:
    world, _, shard = removed
    with pytest.raises(RefusedError, match="does not come back"):
        world.coordinator.shards.add(replace(world.coordinator.shards.shards()[0], id=shard))
    with pytest.raises(NotFoundError):
        world.coordinator.vault.read("archive", f"shards/{shard.hex}/model.safetensors")
