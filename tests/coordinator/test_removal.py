"""Removal: withdrawn, erased, rebuilt, proved equal, receipted; resumed after a crash."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from coordinator.federation import GROUP, World, quiet, shard_files

from severable_coordinator.adapters.handover import import_shards
from severable_coordinator.adapters.handover_out import export_shards
from severable_coordinator.adapters.sql.composites import SqlCompositeStore
from severable_coordinator.adapters.sql.log import SqlLog
from severable_coordinator.adapters.sql.removals import SqlRemovalStore
from severable_coordinator.adapters.sql.shards import SqlShardStore
from severable_coordinator.adapters.vault import DirectoryVault
from severable_coordinator.errors import NotFoundError, RefusedError, StorageError
from severable_coordinator.ports import ShardState
from severable_trust.bundle import VerifiedReceipt, verify_receipt
from severable_trust.digest import Digest
from severable_trust.errors import SignatureError
from severable_trust.keys import PemSigner
from severable_trust.note import cosign
from severable_trust.rotation import KeyRotation
from severable_trust.statement import Kind, sign_statement

PARTIES = ("archive", "clinic", "agency")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path / "home", *PARTIES)


def shipped(world: World) -> dict[str, Digest]:
    return {name: world.ship(name) for name in PARTIES}


def request_removal(world: World, name: str) -> Digest:
    contract = world.coordinator.contracts.contracts(name)[0].id
    return world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract)).request


def run(world: World, request: Digest) -> bytes:
    return world.coordinator.removal.run(world.coordinator.removals.removal(request), quiet).bundle


def test_the_composite_after_a_removal_is_that_of_a_federation_the_party_never_joined(
    world: World, tmp_path: Path
) -> None:
    shards = shipped(world)
    before, _ = world.coordinator.building.assemble(GROUP, quiet)
    run(world, request_removal(world, "agency"))
    after = world.coordinator.building.live(GROUP)

    never = World(tmp_path / "never", owners={})
    for name in ("clinic", "archive"):  # another order, too
        never.owners[name] = world.owners[name]
    other = copy_of(world, never, ["clinic", "archive"])

    assert after.id == other
    assert after.id != before.id
    assert set(after.members) == {shards["archive"], shards["clinic"]}


def copy_of(world: World, never: World, names: list[str]) -> Digest:
    """Hand shards over to a second coordinator and assemble there."""
    out = never.home.parent / "handover"
    export_shards(world.coordinator, out)
    imported = import_shards(never.coordinator, out, world.coordinator.layout.trust_root)
    assert {shard.party for shard in imported} == set(names)
    record, _ = never.coordinator.building.assemble(GROUP, quiet)
    return record.id


def test_the_receipt_verifies_with_the_trust_root_alone(world: World) -> None:
    shards = shipped(world)
    world.coordinator.building.assemble(GROUP, quiet)
    bundle = run(world, request_removal(world, "agency"))
    verified = verify_receipt(bundle, world.coordinator.trust_root)
    assert verified.receipt.value.subjects == (shards["agency"],)
    assert verified.receipt.value.outcome == "fulfilled"
    assert [change.status for change in verified.receipt.value.composites] == ["rebuilt"]
    assert {action.artifact for action in verified.receipt.value.actions} == {
        "shard",
        "bank",
        "key",
        "router",
        "composite",
    }


def test_nothing_of_a_removed_shard_is_left_in_the_home(world: World) -> None:
    shard = shipped(world)["agency"]
    world.coordinator.building.router(world.coordinator.building.members(GROUP), quiet)  # built, never assembled
    claim = world.coordinator.shards.shard(shard).claim
    run(world, request_removal(world, "agency"))
    assert world.coordinator.vault.names("agency") == []
    assert world.coordinator.building.compartments([shard]) == []
    assert not (world.coordinator.layout.data_keys / "agency.json").exists()
    database = world.coordinator.layout.database.read_bytes()
    assert claim[-120:-20] not in database  # no page keeps the erased statement's signature
    kept = world.coordinator.shards.shards()[0].claim
    assert kept[-120:-20] in database  # as the others' are there to be found
    assert world.coordinator.shards.shard(shard).state is ShardState.ERASED
    with pytest.raises(NotFoundError):
        world.coordinator.log.body(shard)


def test_an_assembly_that_was_cut_off_leaves_no_weights_behind_a_removal(world: World) -> None:
    shard = shipped(world)["agency"]
    _, directory = world.coordinator.building.assemble(GROUP, quiet)
    shutil.copytree(directory, directory.with_name("assembling"))  # as a crash would leave it
    run(world, request_removal(world, "agency"))
    assert [path for path in world.home.rglob("*") if shard.hex in path.name] == []
    assert shard not in world.coordinator.building.live(GROUP).members


def test_a_removed_shard_does_not_come_back(world: World) -> None:
    files = shard_files("agency")
    claim = world.claim("agency", files)
    assert world.upload("agency", claim, files).admitted
    run(world, request_removal(world, "agency"))
    with pytest.raises(RefusedError, match="does not come back"):
        world.coordinator.admission.open("agency", claim.to_bytes())


@pytest.mark.parametrize("crash_after", ["plan", "withdraw", "erase", "rebuild", "receipt"])
def test_a_removal_that_crashed_after_a_step_goes_on_and_issues_one_receipt(world: World, crash_after: str) -> None:
    shipped(world)
    world.coordinator.building.assemble(GROUP, quiet)
    request = request_removal(world, "agency")

    def crash(what: str, done: int, total: int) -> None:
        order = [
            "removal: plan",
            "removal: withdraw",
            "removal: erase",
            "removal: rebuild",
            "removal: receipt",
            "removal: done",
        ]
        if what == order[order.index(f"removal: {crash_after}") + 1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.coordinator.removal.run(world.coordinator.removals.removal(request), crash)
    again = world.reopened()
    done = again.removal.run(again.removals.removal(request), quiet)
    receipts = [entry for _, entry, _ in again.log.entries() if entry.kind == "receipt"]
    assert done.state == "fulfilled"
    assert len(receipts) == 1
    verify_receipt(done.bundle, again.trust_root)


@pytest.mark.parametrize(
    ("kind", "method", "calls"),
    [
        (SqlShardStore, "set_state", 1),
        (SqlCompositeStore, "set_state", 1),
        (DirectoryVault, "unlink", 1),
        (DirectoryVault, "unlink", 3),
        (DirectoryVault, "destroy_key", 1),
        (SqlLog, "erase_body", 1),
        (SqlLog, "append", 2),  # the receipt is logged, the removal does not know it yet
        (SqlRemovalStore, "set_state", 2),
    ],
)
def test_a_removal_that_crashed_inside_a_step_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: type, method: str, calls: int
) -> None:
    shipped(world)
    world.coordinator.building.assemble(GROUP, quiet)
    request = request_removal(world, "agency")
    real, done = getattr(kind, method), []

    def then_crash(*arguments: object) -> object:
        result = real(*arguments)
        done.append(method)
        if len(done) == calls:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as power_cut:
        power_cut.setattr(kind, method, then_crash)
        with pytest.raises(KeyboardInterrupt):
            run(world, request)
    again = world.reopened()
    finished = again.removal.run(again.removals.removal(request), quiet)
    receipt = verify_receipt(finished.bundle, again.trust_root).receipt.value
    assert {action.artifact for action in receipt.actions} == {"shard", "bank", "key", "router", "composite"}
    assert [change.status for change in receipt.composites] == ["rebuilt"]
    assert len(again.log.statements(Kind.RECEIPT)) == 1


def test_withdrawn_shards_are_not_composed_while_a_removal_is_unfinished(world: World) -> None:
    shards = shipped(world)
    world.coordinator.building.assemble(GROUP, quiet)
    request = request_removal(world, "agency")

    def crash(what: str, _done: int, _total: int) -> None:
        if what == "removal: erase":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.coordinator.removal.run(world.coordinator.removals.removal(request), crash)
    assert shards["agency"] not in {shard.id for shard in world.coordinator.building.members(GROUP).shards}
    with pytest.raises(NotFoundError, match="no live composite"):
        world.coordinator.building.live(GROUP)


def test_a_group_that_nobody_is_left_for_loses_its_composite(world: World) -> None:
    world.ship("agency")
    world.coordinator.building.assemble(GROUP, quiet)
    bundle = run(world, request_removal(world, "agency"))
    changes = verify_receipt(bundle, world.coordinator.trust_root).receipt.value.composites
    assert [(change.status, change.after) for change in changes] == [("retired", None)]


def test_a_receipt_gains_the_cosignatures_that_parties_leave_after_it_was_issued(world: World) -> None:
    shipped(world)
    request = request_removal(world, "agency")
    run(world, request)
    root = world.coordinator.trust_root

    def fetched() -> VerifiedReceipt:
        return verify_receipt(world.coordinator.requests.receipt(world.coordinator.removals.removal(request)), root)

    assert fetched().cosigners == ()
    note = world.coordinator.log.checkpoint()[1]
    for name in ("archive", "clinic"):
        world.standing.cosign(name, cosign(note, world.owners[name].witness, world.clock()))
    world.coordinator.logbook.issue_roster()  # the log goes on; the better vouched checkpoint is kept to
    assert [name for name, _ in fetched().cosigners] == ["archive", "clinic"]


def test_a_receipt_still_verifies_after_the_party_rotated_its_key(world: World) -> None:
    shipped(world)
    request = request_removal(world, "agency")
    run(world, request)
    owner, upcoming = world.owners["agency"], PemSigner.generate()
    rotation = KeyRotation(
        party="agency", previous=owner.signer.public_key, next=upcoming.public_key, issued=world.clock()
    )
    world.standing.rotate("agency", sign_statement(rotation, owner.signer, upcoming))
    bundle = world.coordinator.requests.receipt(world.coordinator.removals.removal(request))
    verified = verify_receipt(bundle, world.coordinator.trust_root)
    assert verified.roster.value.party("agency").former_keys == (owner.signer.public_key,)


def test_the_same_request_twice_gets_the_same_acknowledgement(world: World) -> None:
    contract = world.coordinator.contracts.contracts("agency")[0].id
    envelope = world.ask_for_erasure("agency", contract)
    first = world.coordinator.requests.receive("agency", envelope)
    world.clock.advance(days=2)
    assert world.coordinator.requests.receive("agency", envelope).acknowledgement == first.acknowledgement


def test_a_party_cannot_ask_for_the_removal_of_anothers_shard(world: World) -> None:
    contract = world.coordinator.contracts.contracts("agency")[0].id
    envelope = world.ask_for_erasure("clinic", contract)
    with pytest.raises(RefusedError, match="not yours"):
        world.coordinator.requests.receive("clinic", envelope)
    with pytest.raises(SignatureError, match="unknown key"):  # clinic's request over agency's connection
        world.coordinator.requests.receive("agency", envelope)


def test_an_altered_file_in_the_store_is_found_when_it_is_read(world: World) -> None:
    shard = world.ship("agency")
    path = world.coordinator.layout.store / "files/agency/shards" / shard.hex / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageError, match="altered"):
        world.coordinator.vault.read("agency", f"shards/{shard.hex}/model.safetensors")


def test_an_older_database_put_back_is_refused(world: World) -> None:
    """The log remembers what it signed: fewer entries than a signed checkpoint means a restored backup."""
    world.ship("agency")
    world.coordinator.database.close()
    with sqlite3.connect(world.coordinator.layout.database) as connection:
        connection.execute("DROP TRIGGER log_entry_no_delete")
        connection.execute("DELETE FROM log_entry WHERE place = (SELECT max(place) FROM log_entry)")
    connection.close()
    with pytest.raises(StorageError, match="older database"):
        world.reopened().log.entries()
