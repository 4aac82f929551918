"""Withdrawn at once: what is under way in other threads and processes gives up, and hands nothing out."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from coordinator.federation import GROUP, World, quiet

from severable_coordinator.adapters.handover_out import export_shards
from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.dispatch import JobReport, JobState
from severable_coordinator.errors import ConflictError, NotFoundError, WithdrawnError
from severable_coordinator.ports import ShardState
from severable_trust.digest import Digest

PARTIES = ("archive", "clinic")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path / "home", *PARTIES)


def at_step(what: str, do: Callable[[], None]) -> Callable[[str, int, int], None]:
    """Progress that does something once, at the first word of a step."""
    done: list[str] = []

    def told(said: str, _done: int, _total: int) -> None:
        if said.startswith(what) and not done:
            done.append(said)
            do()
            time.sleep(0.25)  # as a slow step would take: the next look comes after it

    return told


@pytest.mark.parametrize("step", ["bank of clinic", "router"])
def test_a_router_build_under_way_gives_up_and_keeps_nothing_of_the_shard(world: World, step: str) -> None:
    shards, real = world.ship_all(), world.coordinator
    other = world.reopened()
    members = real.building.members(GROUP)
    with pytest.raises(WithdrawnError, match="withdrawn meanwhile"):
        real.building.router(members, at_step(step, lambda: void(other.withdrawal.withdraw([shards["clinic"]]))))
    assert real.building.compartments([shards["clinic"]]) == []


def void(_value: object) -> None:
    """Nothing: what a callback returns nobody asks for."""


def test_an_assembly_under_way_publishes_no_composite_and_leaves_no_weights(world: World) -> None:
    shards, real = world.ship_all(), world.coordinator
    other = world.reopened()
    with pytest.raises(WithdrawnError):
        real.building.assemble(GROUP, at_step("router", lambda: void(other.withdrawal.withdraw([shards["clinic"]]))))
    assert real.composites.composites(None) == []
    assert not list(real.layout.work.rglob("*.safetensors"))


def test_a_withdrawal_at_the_last_moment_of_an_assembly_is_seen_before_it_is_published(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards, real = world.ship_all(), world.coordinator
    other, write = world.reopened(), type(real.building)._write

    def then_withdrawn(*arguments: object) -> None:
        write(*arguments)  # type: ignore[arg-type]  # as they came
        other.withdrawal.withdraw([shards["archive"]])

    monkeypatch.setattr(type(real.building), "_write", then_withdrawn)
    with pytest.raises(WithdrawnError):
        real.building.assemble(GROUP, quiet)
    assert real.composites.composites(None) == []
    assert not list(real.layout.work.rglob("*.safetensors"))


def test_sampling_under_way_gives_up_and_writes_no_picture(world: World, tmp_path: Path) -> None:
    shards, real = world.ship_all(), world.coordinator
    real.building.assemble(GROUP, quiet)
    other = world.reopened()
    progress = at_step("drawing", lambda: void(other.withdrawal.withdraw([shards["clinic"]])))
    with pytest.raises(WithdrawnError):
        real.inference.sample(GROUP, tmp_path / "out", images=4, seed=0, progress=progress)
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".out*")) == []


def withdrawn_at_the_door(world: World, shard: Digest) -> Coordinator:
    """A coordinator in whose every hand-out the withdrawal comes first, as another process' would."""
    real, other = world.reopened(), world.reopened()

    class Turns(type(real.withdrawal.turns)):  # type: ignore[misc]  # the real one, but for the moment
        @contextmanager
        def handing_out(self) -> Iterator[None]:
            other.withdrawal.withdraw([shard])
            with super().handing_out():
                yield

    guard = replace(real.withdrawal, turns=Turns(real.layout.turns))
    real.__dict__["withdrawal"] = guard
    return real


def test_pictures_that_are_drawn_already_are_not_handed_out(world: World, tmp_path: Path) -> None:
    shards = world.ship_all()
    world.coordinator.building.assemble(GROUP, quiet)
    late = withdrawn_at_the_door(world, shards["clinic"])
    with pytest.raises(WithdrawnError):
        late.inference.sample(GROUP, tmp_path / "out", images=2, seed=0, progress=quiet)
    assert not (tmp_path / "out").exists()


def test_an_export_under_way_hands_out_nothing_and_records_nothing(world: World, tmp_path: Path) -> None:
    shards = world.ship_all()
    record, _ = world.coordinator.building.assemble(GROUP, quiet)
    late = withdrawn_at_the_door(world, shards["clinic"])
    with pytest.raises(WithdrawnError):
        late.exporting.export(record, tmp_path / "out", "museum")
    assert list(tmp_path.glob("*out*")) + list(tmp_path.glob(".*out*")) == []
    assert late.recalls.exports() == []


def test_a_handover_of_shards_under_way_hands_out_nothing(world: World, tmp_path: Path) -> None:
    shards = world.ship_all()
    late = withdrawn_at_the_door(world, shards["clinic"])
    with pytest.raises(WithdrawnError):
        export_shards(late, tmp_path / "out")
    assert list(tmp_path.glob("*out*")) + list(tmp_path.glob(".*out*")) == []


def test_from_the_first_moment_of_a_removal_a_composite_of_the_shard_is_of_no_use(world: World, tmp_path: Path) -> None:
    shards, real = world.ship_all(), world.coordinator
    record, _ = real.building.assemble(GROUP, quiet)
    assert real.withdrawal.withdraw([shards["clinic"]]) < 1.0
    for use in (
        lambda: real.inference.sample(GROUP, tmp_path / "s", images=1, seed=0, progress=quiet),
        lambda: real.exporting.export(record, tmp_path / "e"),
    ):
        with pytest.raises((WithdrawnError, NotFoundError)):
            use()
    assert {shard.id for shard in real.building.members(GROUP).shards} == {shards["archive"]}
    assert [shard.party for shard in real.shards.shards(ShardState.WITHDRAWN)] == ["clinic"]


def test_a_withdrawal_of_many_shards_is_all_or_nothing_and_leaves_tombstones_alone(world: World) -> None:
    shards, store = world.ship_all(), world.coordinator.shards
    store.set_state(shards["archive"], ShardState.ERASED)
    store.withdraw(shards.values())
    assert {name: store.shard(shard).state for name, shard in shards.items()} == {
        "archive": ShardState.ERASED,
        "clinic": ShardState.WITHDRAWN,
    }


def test_a_removal_while_a_router_is_built_in_another_thread_leaves_nothing_of_the_shard(world: World) -> None:
    shards, real = world.ship_all(), world.coordinator
    contract = real.contracts.contracts("clinic")[0].id
    begun, failed = threading.Event(), []
    other = world.reopened()

    def told(said: str, _done: int, _total: int) -> None:
        if said == "router":
            begun.set()
            time.sleep(0.05)  # long enough for a removal to come in between

    def build() -> None:
        try:
            other.building.assemble(GROUP, told)
        except WithdrawnError as error:
            failed.append(str(error))

    builder = threading.Thread(target=build)
    builder.start()
    assert begun.wait(60)
    record = real.requests.receive("clinic", world.ask_for_erasure("clinic", contract))
    done = real.removal.run(record, quiet)
    builder.join(60)
    assert done.state == "fulfilled"
    assert len(failed) == 1
    assert [path for path in world.home.rglob("*") if shards["clinic"].hex in path.name] == []
    assert real.vault.names("clinic") == []
    assert real.vault.key_id("clinic") == ""


def test_the_facts_of_a_removal_say_how_fast_its_shards_were_withdrawn(world: World) -> None:
    world.ship_all()
    contract = world.coordinator.contracts.contracts("clinic")[0].id
    record = world.coordinator.requests.receive("clinic", world.ask_for_erasure("clinic", contract))
    world.coordinator.removal.run(record, quiet)
    assert 0 <= world.coordinator.removal.facts(record, "plan")["withdrawn_s"] < 1.0


def test_a_failure_that_is_not_of_a_withdrawal_keeps_its_own_line(world: World) -> None:
    shard = world.ship("archive")
    with pytest.raises(ConflictError, match="its own"), world.coordinator.withdrawal.using([shard]):
        raise ConflictError("its own")


def test_the_open_jobs_of_the_party_are_closed_and_named_for_its_node_to_be_told(world: World) -> None:
    world.ship("archive")
    batch, tasks = world.coordinator.training.open_batch(world.recipe.digest, frozenset({"clinic"}))
    world.coordinator.tasks.report(tasks[0].id, JobReport(state=JobState.TRAINING, step=1, steps=9))
    contract = world.coordinator.contracts.contracts("clinic")[0].id
    record = world.coordinator.requests.receive("clinic", world.ask_for_erasure("clinic", contract))
    world.coordinator.removal.run(record, quiet)
    assert [one.id for one in world.coordinator.tasks.closed(batch)] == [tasks[0].id]
    assert world.coordinator.tasks.open_tasks(batch) == []
    assert world.coordinator.removal.facts(record, "withdraw")["tasks_closed"] == 1
