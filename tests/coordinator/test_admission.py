"""A shard's way in: each thing that can be wrong is refused, and what is refused leaves nothing behind."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from coordinator.federation import World, shard_files

from severable_coordinator.adapters.sql.shards import SqlUploadStore
from severable_coordinator.errors import NotFoundError, RefusedError
from severable_coordinator.ports import ShardState
from severable_trust.digest import Digest
from severable_trust.errors import MalformedError, SignatureError, StatementError
from severable_trust.statement import Kind

Files = dict[str, bytes]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home")
    for name in ("archive", "clinic"):
        made.join(name)
        made.agree(name)
    return made


def first_weight_becomes(value: float) -> Callable[[Files], Files]:
    def change(files: Files) -> Files:
        data = bytearray(files["model.safetensors"])
        start = 8 + struct.unpack("<Q", data[:8])[0]
        data[start : start + 4] = struct.pack("<f", value)
        return {**files, "model.safetensors": bytes(data)}

    return change


def last_weight_becomes_nan(files: Files) -> Files:
    return {**files, "model.safetensors": files["model.safetensors"][:-4] + struct.pack("<f", float("nan"))}


def other_shape(files: Files) -> Files:
    """One dimension of a tensor is renamed away: [8] becomes [4,2] of the same size."""
    data = files["model.safetensors"]
    size = struct.unpack("<Q", data[:8])[0]
    header = data[8 : 8 + size].replace(b'"shape":[8]', b'"shape":[4,2]', 1)
    padded = header.rstrip() + b" " * (-len(header.rstrip()) % 8)
    return {**files, "model.safetensors": struct.pack("<Q", len(padded)) + padded + data[8 + size :]}


def other_config(files: Files) -> Files:
    return {**files, "config.json": files["config.json"].replace(b'"UNet2DModel"', b'"Evil2DModel"')}


def pickle_weights(files: Files) -> Files:
    return {**files, "model.safetensors": b"\x80\x04K\x01." * 200}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (first_weight_becomes(float("inf")), "finite"),
        (last_weight_becomes_nan, "finite"),
        (other_shape, "expected F32[8]"),
        (other_config, "config"),
        (pickle_weights, "safetensors"),
    ],
)
def test_a_shard_that_is_not_what_the_recipe_wants_is_refused(
    world: World, change: Callable[[Files], Files], reason: str
) -> None:
    files = change(shard_files("archive"))
    verdict = world.upload("archive", world.claim("archive", files), files)
    assert not verdict.admitted
    assert reason in verdict.reason
    assert "\n" not in verdict.reason
    assert world.coordinator.vault.names("archive") == []
    assert world.coordinator.shards.shards(None) == []


def test_a_good_shard_is_admitted_logged_and_encrypted_at_rest(world: World) -> None:
    shard = world.ship("archive")
    record = world.coordinator.shards.shard(shard)
    assert record.state is ShardState.LIVE
    assert shard in world.coordinator.log.statements(Kind.SHARD)
    weights = shard_files("archive")["model.safetensors"]
    assert world.coordinator.vault.read("archive", f"shards/{shard.hex}/model.safetensors") == weights
    for path in world.coordinator.layout.store.rglob("*"):
        assert not path.is_file() or weights[-64:] not in path.read_bytes()


def test_a_claim_signed_by_another_party_is_refused(world: World) -> None:
    files = shard_files("archive")
    claim = world.claim("archive", files, signer=world.owners["clinic"].signer)
    with pytest.raises(SignatureError, match="unknown key"):
        world.coordinator.admission.open("archive", claim.to_bytes())


def test_a_partys_own_claim_over_anothers_connection_is_refused(world: World) -> None:
    claim = world.claim("archive", shard_files("archive"))
    with pytest.raises(SignatureError, match="unknown key"):
        world.coordinator.admission.open("clinic", claim.to_bytes())


def test_a_claim_for_a_task_of_another_party_is_refused(world: World) -> None:
    nonce, contract = world.task("archive")
    claim = world.claim("clinic", shard_files("clinic"), nonce=nonce, contract=Digest.parse(contract))
    with pytest.raises(RefusedError, match="another party"):
        world.coordinator.admission.open("clinic", claim.to_bytes())


def test_a_claim_with_a_nonce_that_nobody_gave_out_is_refused(world: World) -> None:
    contract = world.coordinator.contracts.contracts("archive")[0].id
    claim = world.claim("archive", shard_files("archive"), nonce="ab" * 32, contract=contract)
    with pytest.raises(NotFoundError, match="nonce"):
        world.coordinator.admission.open("archive", claim.to_bytes())


def test_a_shard_is_refused_once_its_contract_has_run_out(world: World) -> None:
    files = shard_files("brief")
    world.join("brief")
    world.agree("brief", days=1)
    claim = world.claim("brief", files)
    world.clock.advance(days=1)
    verdict = world.upload("brief", claim, files)
    assert not verdict.admitted
    assert "step 4 contract" in verdict.reason


def test_files_other_than_the_three_are_refused_by_the_claim_itself(world: World) -> None:
    files = {**shard_files("archive"), "evil.py": b"import os"}
    with pytest.raises(StatementError, match=r"evil\.py|exactly"):
        world.claim("archive", files)


@pytest.mark.parametrize(
    ("name", "offset", "data", "reason"),
    [
        ("evil.py", 0, b"x", "not a file of this claim"),
        ("config.json", 5, b"x", "0 bytes are held"),
        ("manifest.json", 0, b"x" * 100, "more bytes than"),
        ("config.json", 0, b"", "1 to"),
    ],
)
def test_a_chunk_that_does_not_belong_is_refused(
    world: World, name: str, offset: int, data: bytes, reason: str
) -> None:
    admission = world.coordinator.admission
    upload = admission.open("archive", world.claim("archive", shard_files("archive")).to_bytes())
    with pytest.raises(RefusedError, match=reason):
        admission.take(upload, name, offset, data)


def test_an_upload_goes_on_where_it_stopped_after_a_restart(world: World) -> None:
    files = shard_files("archive")
    claim = world.claim("archive", files)
    admission = world.coordinator.admission
    upload = admission.open("archive", claim.to_bytes())
    admission.take(upload, "model.safetensors", 0, files["model.safetensors"][:1000])
    admission.intakes.close()  # as the coordinator does before it ends

    again = world.reopened().admission
    found = again.open("archive", claim.to_bytes())
    assert again.received(found)["model.safetensors"] == 1000
    again.take(found, "model.safetensors", 1000, files["model.safetensors"][1000:])
    for name in ("config.json", "manifest.json"):
        again.take(found, name, 0, files[name])
    assert again.finish(found).admitted


def test_bytes_that_differ_from_the_claim_are_refused(world: World) -> None:
    files = shard_files("archive")
    claim = world.claim("archive", files)
    verdict = world.upload("archive", claim, {**files, "manifest.json": b"[]"})
    assert not verdict.admitted
    assert "manifest.json" in verdict.reason


def test_a_claim_that_is_not_an_envelope_is_refused(world: World) -> None:
    with pytest.raises(MalformedError):
        world.coordinator.admission.open("archive", b'{"payload": 1}')


def test_an_upload_whose_end_was_cut_off_by_a_crash_ends_admitted_when_it_is_finished_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = shard_files("archive")
    claim = world.claim("archive", files)
    admission = world.coordinator.admission
    upload = admission.open("archive", claim.to_bytes())
    for name, data in files.items():
        admission.take(upload, name, 0, data)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as power_cut:  # the shard is kept, its upload not yet settled
        power_cut.setattr(SqlUploadStore, "settle", crash)
        with pytest.raises(KeyboardInterrupt):
            admission.finish(upload)
    assert admission.finish(upload).admitted
    assert len(world.coordinator.shards.shards()) == 1
