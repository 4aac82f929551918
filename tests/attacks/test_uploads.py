"""Attacks on the upload itself: too much, too slow, too many, elsewhere, compressed."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from coordinator.federation import shard_files
from coordinator.served import TIMEOUT_S, Served, chunks, refused, serving

from severable_coordinator.adapters.stream_watch import Pace
from severable_coordinator.allowance import SMALL_FILE_BYTES, SMALLEST_CHUNK
from severable_protos.v1 import exchange_pb2 as pb
from severable_protos.v1 import exchange_pb2_grpc as rpc
from severable_trust.digest import Digest, FileDigest
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified, sign_statement

WEIGHTS = "model.safetensors"


def opened(served: Served, name: str = "archive", **changes: object) -> str:
    served.world.agree(name)
    claim = served.world.claim(name, shard_files(name), **changes).to_bytes()
    return str(served.stub(name).OpenUpload(pb.OpenUploadRequest(claim=claim), timeout=TIMEOUT_S).upload)


def held(served: Served, upload: str) -> int:
    admission = served.world.coordinator.admission
    return sum(admission.received(admission.uploads.upload(upload)).values())


def test_bytes_beyond_the_signed_size_are_cut_off_at_the_first_chunk_too_many(served: Served) -> None:
    upload = opened(served)
    size = len(shard_files("archive")[WEIGHTS])
    sent, offered = [], range(0, 1 << 30, 4096)

    def endless() -> Iterator[pb.Chunk]:
        for offset in offered:
            sent.append(offset)
            yield pb.Chunk(upload=upload, name=WEIGHTS, offset=offset, data=bytes(4096))

    error = refused(served.stub("archive").SendChunks, endless())
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert f"more bytes than the {size} that were claimed" in str(error.details())
    assert held(served, upload) <= size
    assert len(sent) < len(offered) / 10  # the sender was stopped, not drained; a busy machine stops it later


def test_a_claim_of_more_than_a_coordinator_takes_is_refused_before_a_byte_is_sent(served: Served) -> None:
    served.world.agree("archive")
    huge = FileDigest(name=WEIGHTS, size=9 << 30, digest=Digest.of(b""))
    small = [FileDigest.of(name, b"{}") for name in ("config.json", "manifest.json")]
    usual = read_unverified(served.world.claim("archive", shard_files("archive")), ShardClaim)
    claim = sign_statement(replace(usual, files=(huge, *small)), served.world.owners["archive"].signer)
    error = refused(served.stub("archive").OpenUpload, pb.OpenUploadRequest(claim=claim.to_bytes()))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "larger than" in str(error.details())


def test_one_task_holds_the_disk_space_of_one_upload(served: Served) -> None:
    """A party cannot fill the disk with claims: the second one for a task takes the place of the first."""
    world, stub = served.world, served.stub("archive")
    world.agree("archive")
    files = shard_files("archive")
    nonce, contract = world.task("archive")
    uploads = []
    for images in (64, 65, 66):
        claim = world.claim("archive", files, nonce=nonce, contract=Digest.parse(contract), images=images)
        reply = stub.OpenUpload(pb.OpenUploadRequest(claim=claim.to_bytes()), timeout=TIMEOUT_S)
        stub.SendChunks(chunks(reply.upload, files), timeout=TIMEOUT_S)
        uploads.append(reply.upload)
    on_disk = {name.split("/")[1] for name in world.coordinator.vault.names("archive")}
    assert on_disk == {uploads[-1]}
    error = refused(stub.SendChunks, chunks(uploads[0], files))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("name", ["../../keys/statement.pem", "/etc/passwd", "model.safetensors/../x", "", "a\0b"])
def test_a_chunk_for_a_file_outside_the_claim_writes_nothing(served: Served, name: str) -> None:
    upload = opened(served)
    before = sorted(path for path in served.world.home.rglob("*") if "coordinator.db" not in path.name)
    error = refused(served.stub("archive").SendChunks, iter([pb.Chunk(upload=upload, name=name, offset=0, data=b"x")]))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "is not a file of this claim" in str(error.details())
    assert sorted(path for path in served.world.home.rglob("*") if "coordinator.db" not in path.name) == before


def test_a_chunk_out_of_order_over_the_limit_or_empty_is_refused(served: Served) -> None:
    upload = opened(served)
    cases = ((4, b"x", "0 bytes are held"), (0, b"", "has 1 to"), (0, bytes((1 << 20) + 1), "has 1 to"))
    for offset, data, why in cases:
        error = refused(
            served.stub("archive").SendChunks, iter([pb.Chunk(upload=upload, name=WEIGHTS, offset=offset, data=data)])
        )
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert why in str(error.details())
    assert held(served, upload) == 0


def test_a_sender_that_trickles_is_ended_and_its_thread_is_free_again(tmp_path: Path) -> None:
    pace = Pace(idle_s=0.4, least_bytes_per_s=10_000, streams_per_party=2)
    with serving(tmp_path / "home", "archive", pace=pace) as served:
        upload = opened(served)
        stop = threading.Event()

        def trickle() -> Iterator[pb.Chunk]:
            for offset in range(10_000):
                yield pb.Chunk(upload=upload, name=WEIGHTS, offset=offset, data=b"x")
                if stop.wait(0.05):
                    return

        begun = time.monotonic()
        error = refused(served.stub("archive").SendChunks, trickle())
        stop.set()
        assert error.code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.PERMISSION_DENIED}
        assert time.monotonic() - begun < 5
        stub = served.stub("archive")
        files = shard_files("archive")
        rest = [chunk for chunk in chunks(upload, files) if chunk.name != WEIGHTS]
        stub.SendChunks(iter(rest), timeout=TIMEOUT_S)  # the party may go on at a decent pace


def test_a_sender_that_says_nothing_at_all_is_ended(tmp_path: Path) -> None:
    with serving(tmp_path / "home", "archive", pace=Pace(idle_s=0.3)) as served:
        opened(served)
        stop = threading.Event()

        def silent() -> Iterator[pb.Chunk]:
            stop.wait(TIMEOUT_S)
            yield from ()

        error = refused(served.stub("archive").SendChunks, silent())
        stop.set()
        assert error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_party_cannot_hold_more_streams_than_its_share_and_others_get_through(served: Served) -> None:
    upload, data = opened(served), shard_files("archive")[WEIGHTS]
    stop = threading.Event()

    def one_byte_and_no_more(offset: int) -> Iterator[pb.Chunk]:
        yield pb.Chunk(upload=upload, name=WEIGHTS, offset=offset, data=data[offset : offset + 1])
        stop.wait(TIMEOUT_S)

    stub, calls = served.stub("archive"), []
    for offset in range(2):
        calls.append(stub.SendChunks.future(one_byte_and_no_more(offset), timeout=TIMEOUT_S))
        deadline = time.monotonic() + TIMEOUT_S
        while held(served, upload) <= offset:
            assert time.monotonic() < deadline, "the stream never arrived"
            time.sleep(0.01)
    error = refused(stub.SendChunks, chunks(upload, shard_files("archive")))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "archive has 2 uploads under way" in str(error.details())
    served.stub("clinic").ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S)
    stop.set()
    for call in calls:
        assert len(call.result(TIMEOUT_S).offsets) == 3


def test_a_compressed_message_that_unpacks_beyond_the_limit_is_refused(served: Served) -> None:
    owner = served.world.owners["archive"]
    credentials = grpc.ssl_channel_credentials(served.ca, owner.tls_pem(), served.world.certificates["archive"])
    with grpc.secure_channel(served.exchange_address, credentials, compression=grpc.Compression.Gzip) as channel:
        bomb = pb.OpenUploadRequest(claim=bytes(64 << 20))  # a few kB on the wire
        error = refused(rpc.ExchangeStub(channel).OpenUpload, bomb)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in str(error.details())


def test_metadata_over_the_limit_is_refused(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.stub("archive").ListContracts(
            pb.ListContractsRequest(), timeout=TIMEOUT_S, metadata=(("x-filler", "a" * 50_000),)
        )
    assert caught.value.code() in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
    served.stub("archive").ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S)


def test_the_sizes_that_count_are_those_of_the_claim_that_was_opened(served: Served) -> None:
    upload = opened(served)
    claim = read_unverified(served.world.coordinator.admission.uploads.upload(upload).claim, ShardClaim)
    assert {file.name: file.size for file in claim.files} == {n: len(d) for n, d in shard_files("archive").items()}
    reply = served.stub("archive").FinishUpload(pb.FinishUploadRequest(upload=upload), timeout=TIMEOUT_S)
    assert not reply.admitted
    assert "config.json: 0 of the" in reply.reason


@pytest.mark.parametrize(
    ("name", "size"),
    [(WEIGHTS, 1 << 30), ("manifest.json", SMALL_FILE_BYTES + 1), ("config.json", SMALL_FILE_BYTES + 1)],
)
def test_a_claim_to_more_than_a_shard_of_the_recipe_weighs_is_refused_before_a_byte_is_sent(
    served: Served, name: str, size: int
) -> None:
    """Neither the disk can be filled nor a data set carried out beside the weights."""
    served.world.agree("archive")
    usual = read_unverified(served.world.claim("archive", shard_files("archive")), ShardClaim)
    others = tuple(file for file in usual.files if file.name != name)
    greedy = replace(usual, files=(*others, FileDigest(name=name, size=size, digest=Digest.of(b""))))
    claim = sign_statement(greedy, served.world.owners["archive"].signer)
    error = refused(served.stub("archive").OpenUpload, pb.OpenUploadRequest(claim=claim.to_bytes()))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert f"{name} has {size} bytes by its claim" in str(error.details())


def test_chunks_of_one_byte_are_not_taken_a_million_times(served: Served) -> None:
    upload = opened(served)
    error = refused(served.stub("archive").SendChunks, chunks(upload, shard_files("archive"), 1))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert f"send {SMALLEST_CHUNK} or more at a time" in str(error.details())
    assert len(served.world.coordinator.vault.names("archive")) == 1


def test_a_full_disk_refuses_the_chunk_in_one_line_and_keeps_what_it_has(served: Served) -> None:
    """/dev/full answers every write as a disk without space does."""
    files, stub = shard_files("archive"), served.stub("archive")
    upload = opened(served)
    folder = served.world.coordinator.layout.store / "files/archive/incoming" / upload
    folder.mkdir(parents=True)
    growing = folder / "manifest.json.growing"
    growing.symlink_to("/dev/full")
    rest = {name: data for name, data in files.items() if name != "config.json"}
    stub.SendChunks(chunks(upload, {"config.json": files["config.json"]}), timeout=TIMEOUT_S)
    error = refused(stub.SendChunks, chunks(upload, {"manifest.json": files["manifest.json"]}))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "no space left on the disk" in str(error.details())
    growing.unlink()
    stub.SendChunks(chunks(upload, rest), timeout=TIMEOUT_S)  # with space again, it goes on
    assert stub.FinishUpload(pb.FinishUploadRequest(upload=upload), timeout=TIMEOUT_S).admitted
