"""A restored coordinator: the same composites, and no way back for what was removed."""

import json
from pathlib import Path

import pytest
from coordinator.backups import PARTIES, WORDS, exported, of_three, remove, request_removal, restored, taken, weights_of
from coordinator.byte_scan import found_in, of_key, of_weights
from coordinator.command_line import Cli
from coordinator.federation import GROUP, World, quiet, shard_files

from severable_coordinator.adapters.keys_file import PASSPHRASE
from severable_coordinator.errors import StorageError
from severable_coordinator.orders import Cause
from severable_coordinator.ports import ShardState
from severable_trust.bundle import verify_receipt
from severable_trust.contract import ContractState
from severable_trust.denial import DenialReason
from severable_trust.digest import Digest
from severable_trust.order import OrderClause, OrderReason
from severable_trust.recall import Answer
from severable_trust.statement import Kind


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv(PASSPHRASE, WORDS)
    return of_three(tmp_path / "home")


def test_a_restored_coordinator_assembles_the_same_composite(world: World, tmp_path: Path) -> None:
    for name in PARTIES:
        world.ship(name)
    before, _ = world.coordinator.building.assemble(GROUP, quiet)
    manifest = taken(world, tmp_path / "backup")
    again, replayed = restored(world, tmp_path / "backup")
    assert manifest.log_size == len(again.log.entries())
    assert (replayed.entries, replayed.removed, replayed.keys, replayed.groups) == (0, [], [], [GROUP])
    after, _ = again.building.assemble(GROUP, quiet)
    assert after.id == before.id


def test_a_backup_holds_no_key_and_no_plain_weights(world: World, tmp_path: Path) -> None:
    world.ship("agency")
    world.coordinator.building.assemble(GROUP, quiet)
    layout = world.coordinator.layout
    secrets = of_weights("agency", shard_files("agency")["model.safetensors"])
    secrets += of_key("agency", (layout.data_keys / "agency.json").read_bytes())
    assert len(found_in(world.home, secrets)) == 2  # the key's file, and the composite
    taken(world, tmp_path / "backup")
    assert found_in(tmp_path / "backup", secrets) == []
    names = {path.name for path in (tmp_path / "backup").rglob("*")}
    assert names & {"keys", "ca.key", "sketch.key", "composites", "log.mark"} == set()


def test_a_removal_after_the_backup_is_done_again_from_the_log_before_anything_is_served(
    world: World, tmp_path: Path
) -> None:
    shards = {name: world.ship(name) for name in PARTIES}
    world.coordinator.building.assemble(GROUP, quiet)
    taken(world, tmp_path / "backup")
    done = remove(world, "agency")
    again, replayed = restored(world, tmp_path / "backup", log=exported(world))
    assert replayed.removed == [shards["agency"]]
    assert again.shards.shard(shards["agency"]).state is ShardState.ERASED
    assert again.vault.names("agency") == []
    assert again.building.compartments([shards["agency"]]) == []
    assert again.contracts.contracts("agency")[0].state is ContractState.TERMINATED
    assert again.removals.removal(done.request).state == "fulfilled"
    assert len(again.log.statements(Kind.RECEIPT)) == 1
    verify_receipt(again.requests.receipt(again.removals.removal(done.request)), again.trust_root)
    assert again.building.assemble(GROUP, quiet)[0].id == world.coordinator.building.live(GROUP).id


def test_a_keys_backup_from_before_a_removal_does_not_bring_the_key_back(
    world: World, cli: Cli, tmp_path: Path
) -> None:
    shards = {name: world.ship(name) for name in PARTIES}
    secrets = of_weights("agency", shard_files("agency")["model.safetensors"])
    secrets += of_key("agency", (world.coordinator.layout.data_keys / "agency.json").read_bytes())
    keys = tmp_path / "monday.keys"
    said = cli("backup", str(tmp_path / "backup"), "--keys", str(keys), "--home", str(world.home))
    assert "destroy it once a party's shards are removed" in said
    assert keys.stat().st_mode & 0o777 == 0o600
    assert found_in(tmp_path / "backup", secrets) == []
    remove(world, "agency")
    again, replayed = restored(world, tmp_path / "backup", keys=keys, log=exported(world))
    assert replayed.keys == ["agency"]
    assert again.vault.key_id("agency") == ""
    again.database.close()
    assert found_in(again.layout.home, secrets) == []
    assert weights_of(again, "clinic", shards["clinic"]) == shard_files("clinic")["model.safetensors"]


def test_the_receipt_names_the_keys_backups_that_still_hold_the_destroyed_key(
    world: World, cli: Cli, tmp_path: Path
) -> None:
    home = ("--home", str(world.home))
    for name in PARTIES:
        world.ship(name)
    for day in ("monday", "tuesday"):
        cli("backup", str(tmp_path / day), "--keys", str(tmp_path / f"{day}.keys"), *home)
    rows = json.loads(cli("keys-backups", "--format", "json", *home))
    assert [row["data_keys"] for row in rows] == [3, 3]
    monday, tuesday = (str(Digest.of((tmp_path / f"{day}.keys").read_bytes())) for day in ("monday", "tuesday"))
    (tmp_path / "monday.keys").unlink()
    cli("keys-backups", "--destroyed", monday, *home)
    bundle = remove(world, "agency").bundle
    residual = verify_receipt(bundle, world.coordinator.trust_root).receipt.value.residual
    named = [item.what for item in residual if item.what.startswith("backup of the keys")]
    assert len(named) == 1
    assert tuesday in named[0]
    assert "only with a backup of the keys" in next(i.why for i in residual if i.what.startswith("backups of the"))


def test_what_survives_of_keys_and_files_after_a_removal_does_not_bring_weights_back(
    world: World, tmp_path: Path
) -> None:
    """An operator who insists: the old backup, the keys as they are now, and the mark taken away."""
    shard = world.ship("agency")
    taken(world, tmp_path / "backup")
    remove(world, "agency")
    with pytest.raises(StorageError, match="the keys remember a log of"):
        restored(world, tmp_path / "backup")
    assert not (tmp_path / "again").exists()
    world.coordinator.layout.log_mark.unlink()
    again, _ = restored(world, tmp_path / "backup")
    assert again.shards.shard(shard).state is ShardState.LIVE  # so the old database says
    with pytest.raises(StorageError, match="is gone"):
        weights_of(again, "agency", shard)


def test_a_log_shorter_than_what_a_party_has_seen_is_refused(world: World, tmp_path: Path) -> None:
    world.ship("agency")
    taken(world, tmp_path / "backup")
    remove(world, "agency")
    seen = tmp_path / "seen"
    seen.write_text(world.coordinator.log.checkpoint()[1])
    world.coordinator.layout.log_mark.unlink()
    with pytest.raises(StorageError, match="a party saw"):
        restored(world, tmp_path / "backup", checkpoints=(seen,))
    assert not (tmp_path / "again").exists()
    again, _ = restored(world, tmp_path / "backup", log=exported(world), checkpoints=(seen,))
    assert len(again.log.entries()) == len(world.coordinator.log.entries())


def test_a_shard_that_came_and_went_after_the_backup_is_a_tombstone(world: World, tmp_path: Path) -> None:
    taken(world, tmp_path / "backup")
    shard = world.ship("agency")
    remove(world, "agency")
    again, _ = restored(world, tmp_path / "backup", log=exported(world))
    assert again.shards.shard(shard).state is ShardState.ERASED


def test_a_removal_that_was_only_asked_for_is_open_again_with_its_acknowledgement(world: World, tmp_path: Path) -> None:
    shard = world.ship("agency")
    taken(world, tmp_path / "backup")
    record = request_removal(world, "agency")
    again, _ = restored(world, tmp_path / "backup", log=exported(world))
    assert again.removals.removal(record.request).acknowledgement == record.acknowledgement
    assert again.contracts.contracts("agency")[0].state is ContractState.TERMINATED
    done = again.removal.run(again.removals.removal(record.request), quiet)
    assert verify_receipt(done.bundle, again.trust_root).receipt.value.subjects == (shard,)


def test_an_order_after_the_backup_is_open_again_and_ends_its_contract(world: World, tmp_path: Path) -> None:
    shard = world.ship("agency")
    taken(world, tmp_path / "backup")
    cause = Cause(clause=OrderClause.BREACH, code=OrderReason.TERMS_NOT_KEPT, evidence="seen")
    record = world.coordinator.orders.order(world.coordinator.contracts.contracts("agency")[0].id, cause)
    again, _ = restored(world, tmp_path / "backup", log=exported(world))
    assert again.contracts.contracts("agency")[0].state is ContractState.BREACHED
    done = again.removal.run(again.removals.removal(record.request), quiet)
    assert verify_receipt(done.bundle, again.trust_root).receipt.value.subjects == (shard,)


def test_an_order_that_was_carried_out_or_denied_after_the_backup_is_not_open_again(
    world: World, tmp_path: Path
) -> None:
    shards = {name: world.ship(name) for name in PARTIES}
    taken(world, tmp_path / "backup")
    cause = Cause(clause=OrderClause.TERMINATION, code=OrderReason.LEGAL_ORDER, reason="ordered")
    contracts = {name: world.coordinator.contracts.contracts(name)[0].id for name in PARTIES}
    done = world.coordinator.removal.run(world.coordinator.orders.order(contracts["agency"], cause), quiet)
    denied = world.coordinator.orders.deny(
        world.coordinator.orders.order(contracts["clinic"], cause), DenialReason.RETAINED_BY_LAW, "a court said so"
    )
    again, replayed = restored(world, tmp_path / "backup", log=exported(world))
    assert replayed.removed == [shards["agency"]]
    states = {record.party: (record.state, record.denial) for record in again.removals.removals()}
    assert states == {"agency": ("fulfilled", b""), "clinic": ("denied", denied.denial)}
    verify_receipt(again.requests.receipt(again.removals.removal(done.request)), again.trust_root)
    assert again.enforcement.due(world.clock()) == []


def test_recalls_after_the_backup_are_there_again_with_their_answers(world: World, tmp_path: Path) -> None:
    for name in PARTIES:
        world.ship(name)
    taken(world, tmp_path / "backup")
    composite, _ = world.coordinator.building.assemble(GROUP, quiet)
    for recipient in ("museum", "school"):
        world.coordinator.exporting.export(composite, tmp_path / recipient, recipient)
    remove(world, "agency")
    recalling = world.coordinator.recalling
    museum, school = recalling.store.recalls()
    recalling.enter_answer(museum, Answer.ERASED, "its archivist", world.clock(), "by telephone")
    again, _ = restored(world, tmp_path / "backup", log=exported(world))
    assert again.recalls.recalls() == [recalling.store.recalls()[0], school]


def test_a_party_that_was_revoked_after_the_backup_stays_so_and_one_that_joined_is_there(
    world: World, tmp_path: Path
) -> None:
    taken(world, tmp_path / "backup")
    world.standing.revoke("agency")
    world.join("gallery")
    world.agree("gallery")
    again, replayed = restored(world, tmp_path / "backup", log=exported(world))
    assert {party.id: party.status for party in again.parties.parties()} == {
        "archive": "active", "clinic": "active", "agency": "revoked", "gallery": "active",
    }  # fmt: skip
    assert again.contracts.contracts("gallery")[0].state is ContractState.ACTIVE
    assert replayed.entries > 0


def test_the_log_of_another_federation_is_refused(world: World, tmp_path: Path) -> None:
    taken(world, tmp_path / "backup")
    other = World(tmp_path / "elsewhere" / "home", clock=world.clock)
    with pytest.raises(Exception, match=r"roster|signed|unknown key") as caught:
        restored(world, tmp_path / "backup", log=exported(other))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "again").exists()
