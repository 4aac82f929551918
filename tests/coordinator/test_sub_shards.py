"""A contract that divides its party's records: a task and a shard for each part; an erasure replaces one part."""

import uuid
from pathlib import Path

import pytest
from coordinator.federation import GROUP, World, quiet, shard_files

from severable_coordinator.adapters.handover import import_shards
from severable_coordinator.adapters.handover_out import export_shards
from severable_coordinator.dispatch import JobReport, JobState, Task
from severable_coordinator.errors import ConflictError, RefusedError
from severable_coordinator.ports import RemovalRecord, ShardState
from severable_coordinator.sub_shards import index_of
from severable_trust.bundle import verify_receipt
from severable_trust.contract import ContractState
from severable_trust.digest import Digest
from severable_trust.removal import RECORDS, ErasureRequest
from severable_trust.shard import SubShard
from severable_trust.statement import sign_statement

COUNT = 3


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home")
    for name in ("archive", "clinic"):
        made.join(name)
    made.agree("archive", sub_shards=COUNT, weight=2.0)
    made.agree("clinic")
    return made


def tasks_of(world: World, *names: str) -> list[Task]:
    return world.coordinator.training.open_batch(world.recipe.digest, frozenset(names))[1]


def ship_part(world: World, task: Task, images: int = 64, training: int = 0) -> Digest:
    assert task.sub_shard is not None
    return world.ship(
        task.party,
        4 * training + task.sub_shard,
        nonce=task.nonce,
        contract=Digest.parse(task.contract),
        images=images,
        sub_shard=SubShard(index=task.sub_shard, count=COUNT),
    )


def all_parts(world: World) -> list[Digest]:
    return [ship_part(world, task, images=8 * (1 + number)) for number, task in enumerate(tasks_of(world, "archive"))]


def erasure(world: World, *shards: Digest, name: str = "archive") -> RemovalRecord:
    request = ErasureRequest(
        request_id=str(uuid.uuid4()),
        party=name,
        contract=world.coordinator.contracts.contracts(name)[0].id,
        clause=RECORDS,
        reason_code="records-erased",
        reason="",
        subjects=shards,
        submitted=world.clock(),
    )
    return world.coordinator.requests.receive(name, sign_statement(request, world.owners[name].signer))


def test_a_batch_has_a_task_for_each_sub_shard_and_one_for_a_contract_without(world: World) -> None:
    tasks = tasks_of(world)
    assert [(task.party, task.sub_shard) for task in tasks] == [
        ("archive", 0), ("archive", 1), ("archive", 2), ("clinic", None),
    ]  # fmt: skip
    assert len({task.nonce for task in tasks}) == COUNT + 1
    kept = world.reopened().tasks.batch(tasks[0].batch)
    assert [status.task for status in kept] == tasks
    assert tasks_of(world) == tasks  # asked again, the same batch


def test_a_later_batch_asks_only_for_the_sub_shards_that_are_not_there(world: World) -> None:
    first, second, third = tasks_of(world, "archive")
    ship_part(world, second)
    for task in (first, third):
        world.coordinator.tasks.report(task.id, JobReport(state=JobState.FAILED))
    assert [task.sub_shard for task in tasks_of(world, "archive")] == [0, 2]


@pytest.mark.parametrize("part", [SubShard(index=1, count=COUNT), SubShard(index=0, count=4), None])
def test_a_claim_of_another_sub_shard_than_its_task_is_refused(world: World, part: SubShard | None) -> None:
    task = tasks_of(world, "archive")[0]
    files = shard_files("archive")
    contract = Digest.parse(task.contract)
    claim = world.claim("archive", files, nonce=task.nonce, contract=contract, sub_shard=part)
    verdict = world.upload("archive", claim, files)
    assert not verdict.admitted
    assert "sub-shard" in verdict.reason
    assert world.coordinator.shards.shards() == []


def test_sub_shards_share_their_contracts_lambda_by_their_images(world: World) -> None:
    parts = all_parts(world)
    other = world.ship("clinic")
    members = world.coordinator.building.members(GROUP)
    weights = dict(zip((shard.id for shard in members.shards), members.weights, strict=True))
    assert weights[other] == 1.0
    assert [weights[part] for part in parts] == [pytest.approx(2.0 * share) for share in (8 / 48, 16 / 48, 24 / 48)]


def test_an_amendment_does_not_divide_the_records_anew(world: World) -> None:
    record = world.coordinator.contracts.contracts("archive")[0]
    with pytest.raises(ConflictError, match="sub_shards is 3"):
        world.agree("archive", sub_shards=4, amends=record.id)


def test_exactly_the_named_sub_shard_goes_and_is_ordered_anew_and_the_contract_stays(world: World) -> None:
    parts = all_parts(world)
    world.ship("clinic")
    before, _ = world.coordinator.building.assemble(GROUP, quiet)
    kept = {part: world.coordinator.vault.read("archive", f"shards/{part.hex}/model.safetensors") for part in parts[1:]}
    record = erasure(world, parts[0])
    assert world.coordinator.requests.due(record) == world.clock()
    done = world.coordinator.removal.run(record, quiet)

    states = {shard.id: shard.state for shard in world.coordinator.shards.shards(None, "archive")}
    assert states == {parts[0]: ShardState.ERASED, parts[1]: ShardState.LIVE, parts[2]: ShardState.LIVE}
    for part, data in kept.items():
        assert world.coordinator.vault.read("archive", f"shards/{part.hex}/model.safetensors") == data
    assert world.coordinator.contracts.contracts("archive")[0].state is ContractState.ACTIVE
    assert parts[0] not in world.coordinator.building.live(GROUP).members
    assert world.coordinator.building.live(GROUP).id != before.id
    ordered = world.coordinator.removal.facts(done, "order")
    (task,) = [status.task for status in world.coordinator.tasks.all() if status.task.id in ordered["tasks"]]
    assert (task.party, task.sub_shard) == ("archive", 0)
    assert tasks_of(world) == [task]
    replacement = ship_part(world, task, training=1)
    live = world.coordinator.shards.shards(party="archive")
    assert sorted(map(index_of, live), key=str) == [0, 1, 2]
    assert replacement != parts[0]
    with pytest.raises(ConflictError, match="nobody to train"):
        tasks_of(world)


def test_the_receipt_of_one_sub_shard_says_that_the_partys_key_stays(world: World) -> None:
    parts = all_parts(world)
    bundle = world.coordinator.removal.run(erasure(world, parts[2]), quiet).bundle
    receipt = verify_receipt(bundle, world.coordinator.trust_root).receipt.value
    assert receipt.subjects == (parts[2],)
    (shard,) = [action for action in receipt.actions if action.artifact == "shard"]
    assert "data key stays" in shard.method
    assert "key" not in {action.artifact for action in receipt.actions}
    assert any("opens what they hold" in residual.why for residual in receipt.residual)


def test_a_party_with_one_shard_has_that_one_replaced(world: World) -> None:
    shard = world.ship("clinic")
    done = world.coordinator.removal.run(erasure(world, shard, name="clinic"), quiet)
    receipt = verify_receipt(done.bundle, world.coordinator.trust_root).receipt.value
    assert "key" in {action.artifact for action in receipt.actions}
    (task,) = tasks_of(world, "clinic")
    assert task.sub_shard is None
    assert world.coordinator.removal.facts(done, "order")["tasks"] == [task.id]


def test_uploads_of_other_sub_shards_outlive_the_erasure_of_one(world: World) -> None:
    first, second, _ = tasks_of(world, "archive")
    part = ship_part(world, first)
    files = shard_files("archive", 1)
    claim = world.claim(
        "archive", files, nonce=second.nonce, contract=Digest.parse(second.contract),
        sub_shard=SubShard(index=1, count=COUNT),
    )  # fmt: skip
    upload = world.coordinator.admission.open("archive", claim.to_bytes())
    world.coordinator.admission.take(upload, "config.json", 0, files["config.json"])
    world.coordinator.removal.run(erasure(world, part), quiet)
    assert world.upload_rest("archive", claim, files).admitted


@pytest.mark.parametrize("crash_after", ["rebuild", "order"])
def test_a_removal_that_crashed_orders_each_sub_shard_once(world: World, crash_after: str) -> None:
    parts = all_parts(world)
    record = erasure(world, parts[1])

    def crash(what: str, _done: int, _total: int) -> None:
        following = {"rebuild": "removal: order", "order": "removal: receipt"}[crash_after]
        if what == following:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.coordinator.removal.run(record, crash)
    again = world.reopened()
    again.removal.run(again.removals.removal(record.request), quiet)
    assert [task.sub_shard for task in again.tasks.unfinished()] == [1]


def test_a_request_about_a_shard_of_another_contract_or_a_removed_one_is_refused(world: World) -> None:
    parts, other = all_parts(world), world.ship("clinic")
    with pytest.raises(RefusedError, match="not yours"):
        erasure(world, other)
    world.coordinator.removal.run(erasure(world, parts[0]), quiet)
    with pytest.raises(RefusedError, match="erased already"):
        erasure(world, parts[0])


def test_a_request_under_a_contract_that_has_ended_is_refused(world: World) -> None:
    parts = all_parts(world)
    contract = world.coordinator.contracts.contracts("archive")[0].id
    world.coordinator.requests.receive("archive", world.ask_for_erasure("archive", contract))
    with pytest.raises(RefusedError, match="only one in force"):
        erasure(world, parts[0])


def test_a_termination_after_an_erasure_takes_the_rest(world: World) -> None:
    parts = all_parts(world)
    world.coordinator.removal.run(erasure(world, parts[0]), quiet)
    contract = world.coordinator.contracts.contracts("archive")[0].id
    record = world.coordinator.requests.receive("archive", world.ask_for_erasure("archive", contract))
    bundle = world.coordinator.removal.run(record, quiet).bundle
    assert set(verify_receipt(bundle, world.coordinator.trust_root).receipt.value.subjects) == set(parts[1:])
    assert world.coordinator.vault.names("archive") == []
    assert world.coordinator.tasks.unfinished() == []  # the replacement that was ordered is not trained any more


def test_sub_shards_are_handed_over_side_by_side(world: World, tmp_path: Path) -> None:
    parts = all_parts(world)
    assert export_shards(world.coordinator, tmp_path / "out") != []
    other = World(tmp_path / "other", owners={})
    imported = import_shards(other.coordinator, tmp_path / "out", world.coordinator.layout.trust_root)
    assert {shard.id for shard in imported} == set(parts)
