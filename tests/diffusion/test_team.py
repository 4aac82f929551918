"""Members that train one shard together, here as threads around a table; as processes in tests/client/test_peers.py."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusion.recipes import tiny, tiny_dit
from diffusion.test_accumulation import SmallDevice

from severable_diffusion import checkpoint, network
from severable_diffusion.errors import RecipeError, TeamError
from severable_diffusion.execution import ExecutionPlan
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer, TrainingProgress

X_NCHW = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
WATCH = {"max_steps": 8, "held_out": 0.5, "check_every": 2, "patience": 3}
RECIPES = {
    "plain": tiny(training={"max_steps": 8}),
    "labelled": tiny(training={"max_steps": 8}, conditions={"labels": ["round", "square"]}),
    "watched": tiny(training=WATCH),
    "transformer": tiny_dit(training={"max_steps": 8}),
}


class Table:
    """Where members lay what is to be added up."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=120.0)
        self.laid: list[list[torch.Tensor]] = [[] for _ in range(size)]


class Seat:
    """A member's seat at a table: a team."""

    def __init__(self, table: Table, rank: int) -> None:
        self.table, self.rank, self.size = table, rank, len(table.laid)

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        self.table.laid[self.rank] = [tensor.clone() for tensor in tensors]
        try:
            self.table.barrier.wait()
            for place, tensor in enumerate(tensors):
                tensor.copy_(torch.stack([laid[place] for laid in self.table.laid]).sum(dim=0))
            self.table.barrier.wait()
        except threading.BrokenBarrierError as error:
            raise TeamError("a member has left") from error


def labels_of(recipe: Recipe) -> torch.Tensor | None:
    return torch.arange(len(X_NCHW)) % 2 if recipe.conditions else None


def members(recipe: Recipe, size: int, plans: Sequence[ExecutionPlan] | None = None) -> list[Trainer]:
    table = Table(size)
    chosen = plans or [ExecutionPlan()] * size
    return [
        Trainer(recipe, X_NCHW, 3, labels_of(recipe), plan=chosen[rank], team=Seat(table, rank)) for rank in range(size)
    ]


def all_do(trainers: list[Trainer], work: Callable[[Trainer], Any]) -> list[Any]:
    """Let every member do something at once; what one raises is raised here."""
    found: dict[int, Any] = {}
    failed: list[BaseException] = []

    def do(rank: int) -> None:
        try:
            found[rank] = work(trainers[rank])
        except BaseException as error:  # noqa: BLE001  # raised again below
            failed.append(error)
            trainers[rank].team.table.barrier.abort()  # type: ignore[attr-defined]  # a Seat's

    threads = [threading.Thread(target=do, args=(rank,)) for rank in range(len(trainers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [found[rank] for rank in range(len(trainers))]


def run(trainer: Trainer) -> list[TrainingProgress]:
    told = []
    while not trainer.done:
        told.append(trainer.advance())
    return told


def apart(first: Trainer, second: Trainer) -> float:
    """How far two trainings' weights are from each other, as a share of the way that the first went."""
    start = network.build_seeded(first.recipe, first.seed).state_dict()
    ends = [trainer.model.state_dict() for trainer in (first, second)]
    between = sum(float((ends[0][name] - ends[1][name]).square().sum()) for name in start)
    gone = sum(float((ends[0][name] - start[name]).square().sum()) for name in start)
    return float((between / gone) ** 0.5)


@pytest.mark.parametrize("kind", sorted(RECIPES))
@pytest.mark.parametrize("size", [2, 3])
def test_several_members_end_with_the_weights_of_one_up_to_rounding(kind: str, size: int) -> None:
    """Three members have unlike parts of a batch of eight."""
    recipe = RECIPES[kind]
    alone = Trainer(recipe, X_NCHW, 3, labels_of(recipe))
    run(alone)
    team = members(recipe, size)
    all_do(team, run)
    assert team[0].losses == pytest.approx(alone.losses, rel=1e-3)
    assert apart(alone, team[0]) < 0.01
    assert torch.equal(team[0].generator.get_state(), alone.generator.get_state())
    shards = {network.dump(trainer.shard().state_dict) for trainer in team}
    assert len(shards) == 1
    if recipe.training.held_out:
        assert alone.held_out is not None
        assert [one.held_out.best_step for one in team if one.held_out] == [alone.held_out.best_step] * size


def test_a_team_goes_on_from_the_checkpoint_of_its_first_member_to_the_same_bytes(tmp_path: Path) -> None:
    recipe = RECIPES["watched"]
    whole = members(recipe, 2)
    all_do(whole, run)
    first = members(recipe, 2)
    all_do(first, lambda trainer: [trainer.advance() for _ in range(5)])
    checkpoint.write(tmp_path / "c", first[0])
    again = members(recipe, 2)
    for trainer in again:
        checkpoint.restore(tmp_path / "c", trainer)
    all_do(again, run)
    assert network.dump(again[1].shard().state_dict) == network.dump(whole[0].shard().state_dict)


def test_when_the_memory_of_one_member_runs_out_all_go_on_in_smaller_parts() -> None:
    recipe = RECIPES["plain"]
    plans = [SmallDevice(holds=[4]), SmallDevice(holds=[2])]
    team = members(recipe, 2, plans)
    told = all_do(team, run)
    assert [(trainer.parts.accumulate, trainer.parts.backed_off) for trainer in team] == [(2, True)] * 2
    assert told[0][0].note == told[1][0].note == ("the device's memory ran out at step 1; going on in 2 parts a batch")
    assert not any(progress.note for progress in told[0][1:])


def test_members_at_different_steps_do_not_train_together() -> None:
    team = members(RECIPES["plain"], 2)
    team[1].step = 4
    with pytest.raises(TeamError):
        all_do(team, lambda trainer: trainer.advance())


def test_a_batch_that_has_no_image_for_a_member_is_refused() -> None:
    with pytest.raises(
        RecipeError, match=r"training\.batch: is 8, too few for 9 processes; set `devices` to 8 or fewer"
    ):
        members(RECIPES["plain"], 9)
