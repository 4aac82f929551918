"""Recalls: every recorded copy is asked back, answers are taken from whom they must come, a receipt waits for none."""

import json
from pathlib import Path

import pytest
from coordinator.federation import GROUP, World, quiet
from coordinator.recalled import exported, recalled, remove

from severable_coordinator.adapters.handover_out import export_shards
from severable_coordinator.adapters.sql.recalls import SqlRecallStore
from severable_trust.bundle import verify_receipt
from severable_trust.contract import Action
from severable_trust.errors import ContractError, StatementError
from severable_trust.recall_bundle import verify_recall
from severable_trust.statement import Kind

PARTIES = ("archive", "clinic", "agency")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path / "home", *PARTIES)


def test_every_recorded_copy_of_a_removed_shard_is_recalled_and_the_receipt_names_no_recipient(
    world: World, tmp_path: Path
) -> None:
    shards = world.ship_all()
    before = exported(world, tmp_path, "museum", "gallery")
    receipt = remove(world, "agency")
    recalls = world.coordinator.recalls.recalls()
    assert [(one.said.recipient, one.said.recalled) for one in recalls] == [("museum", before), ("gallery", before)]
    assert receipt.recalls is not None
    assert [notice.recall for notice in receipt.recalls] == [record.id for record in recalls]
    after = world.coordinator.building.live(GROUP).id
    assert {one.said.replacement for one in recalls} == {after}
    assert {one.said.shards for one in recalls} == {(shards["agency"],)}
    assert any("2, named under" in one.what for one in receipt.residual)
    assert any("consistent with cryptographic erase" in action.method for action in receipt.actions)
    said = json.dumps(receipt.to_predicate())
    assert "museum" not in said
    assert "gallery" not in said


def test_a_recall_is_verified_by_its_recipient_with_the_trust_root_alone(world: World, tmp_path: Path) -> None:
    recalled(world, tmp_path, "museum")
    (record,) = world.coordinator.recalls.recalls()
    verified = verify_recall(world.coordinator.recalling.bundle(record), world.coordinator.trust_root)
    assert verified.recall.value.recipient == "museum"
    assert verified.recall.id == record.id


def test_what_was_exported_before_and_is_retired_now_is_recalled_too_and_what_never_held_it_is_not(
    world: World, tmp_path: Path
) -> None:
    world.ship("archive")
    without = exported(world, tmp_path, "museum")
    world.ship("agency")
    first = exported(world, tmp_path, "museum")
    world.ship("clinic")
    second = exported(world, tmp_path, "museum")
    remove(world, "agency")
    recalled = {one.said.recalled for one in world.coordinator.recalls.recalls()}
    assert recalled == {first, second}
    assert without not in recalled


def test_a_handover_of_shards_to_another_coordinator_is_recalled_there(world: World, tmp_path: Path) -> None:
    shards = world.ship_all()
    export_shards(world.coordinator, tmp_path / "handover", "witness")
    remove(world, "agency")
    (record,) = world.coordinator.recalls.recalls()
    assert (record.said.recipient, record.said.artifact, record.said.replacement) == ("witness", "shards", None)
    assert record.said.shards == (shards["agency"],)


def test_where_nothing_was_handed_out_a_receipt_says_nothing_of_recalls(world: World) -> None:
    world.ship_all()
    receipt = remove(world, "agency")
    assert receipt.recalls is None
    assert not any("acknowledged" in one.what for one in receipt.residual)


def test_an_export_that_a_contract_does_not_permit_is_neither_made_nor_recorded(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    world.join("archive")
    world.agree("archive", permissions=(Action.TRAIN, Action.COMPOSE, Action.INFER))
    world.ship("archive")
    record, _ = world.coordinator.building.assemble(GROUP, quiet)
    with pytest.raises(ContractError, match="distribute"):
        world.coordinator.exporting.export(record, tmp_path / "out")
    with pytest.raises(StatementError, match="recipient"):
        world.coordinator.exporting.export(record, tmp_path / "out", "<script>")
    assert not (tmp_path / "out").exists()
    assert world.coordinator.recalls.exports() == []


@pytest.mark.parametrize("method", ["add_recall", "recalls"])
def test_a_crash_in_the_midst_of_recalling_recalls_nothing_twice(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    world.ship_all()
    exported(world, tmp_path, "museum", "gallery")
    contract = world.coordinator.contracts.contracts("agency")[0].id
    request = world.coordinator.requests.receive("agency", world.ask_for_erasure("agency", contract)).request
    real = getattr(SqlRecallStore, method)

    def then_crash(*arguments: object) -> object:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as power_cut:
        power_cut.setattr(SqlRecallStore, method, then_crash)
        with pytest.raises(KeyboardInterrupt):
            world.coordinator.removal.run(world.coordinator.removals.removal(request), quiet)
    again = world.reopened()
    done = again.removal.run(again.removals.removal(request), quiet)
    assert len(again.recalls.recalls()) == 2
    assert sorted(again.log.statements(Kind.RECALL)) == sorted(one.id for one in again.recalls.recalls())
    assert len(verify_receipt(done.bundle, again.trust_root).receipt.value.recalls or ()) == 2
