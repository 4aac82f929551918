"""The benchmark of removals runs, and compares what it says it compares."""

from pathlib import Path

import pytest
import removal
import torch
from coordinator.federation import REPOSITORY
from removal_quality import drawn, membership, pipeline_of, retained, winners
from removal_world import SEED, Images, Monolith, Parties, Trained, read_images, recipe_of, train

from severable_diffusion.recipe import Recipe

STEPS = 2


@pytest.fixture(scope="module")
def images() -> Images:
    return read_images(None, "", 8, None)


@pytest.fixture(scope="module")
def recipe(images: Images) -> Recipe:
    return recipe_of(REPOSITORY / "deploy/severable_demo/recipes/tiny.json", images, changes())


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def trained(images: Images, recipe: Recipe, keep: Path) -> Trained:
    return train(images, recipe, keep)


@pytest.fixture(scope="module")
def world(recipe: Recipe, trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties.with_shards(tmp_path_factory.mktemp("removals") / "home", recipe, trained)


def changes() -> dict[str, dict[str, object]]:
    return {"training": {"epochs": 1_000_000, "max_steps": STEPS}}


def test_the_monolith_has_as_many_steps_as_all_shards_and_the_parties_have_their_own_classes(
    images: Images, recipe: Recipe, trained: Trained
) -> None:
    assert Monolith(images, recipe).steps == STEPS * len(images.rows) == STEPS * 8
    assert set(trained.files) == set(trained.shard_s) == set(images.rows)
    held = [set(images.train_label_N[rows_N].tolist()) for rows_N in images.rows.values()]
    assert sorted(label for labels in held for label in labels) == list(range(10))
    assert len(images.held_out("c01")) == int((images.test_label_N < 2).sum())


def test_what_an_earlier_run_trained_is_taken_and_the_rest_is_trained_to_the_same_bytes(
    images: Images, recipe: Recipe, trained: Trained, keep: Path
) -> None:
    last = max(trained.files)
    next(keep.glob(f"*-{last}.json")).unlink()  # as if the run had ended in the midst of it
    again = train(images, recipe, keep)
    assert again.files == trained.files
    others = trained.shard_s.keys() - {last}
    assert {party: again.shard_s[party] for party in others} == {party: trained.shard_s[party] for party in others}


def test_two_images_of_a_position_are_what_the_composites_without_each_party_draw(world: Parties) -> None:
    pipeline = pipeline_of(world)
    ids = pipeline.shards.shard_ids
    noise_NCHW = torch.randn((40, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    rest = [shard for shard in ids if shard != ids[2]]
    ours_NCHW = drawn(pipeline, noise_NCHW, winners(pipeline, noise_NCHW, rest))
    source = torch.Generator().manual_seed(SEED)
    real_NCHW, told = pipeline(40, source, latents=noise_NCHW, allowed=rest, output_type="pt", return_dict=False)
    assert told.realised_N is not None
    assert torch.equal(winners(pipeline, noise_NCHW, rest), told.realised_N)
    torch.testing.assert_close(ours_NCHW, real_NCHW, atol=1e-5, rtol=0)


@pytest.mark.integration
@pytest.mark.soak
def test_a_removal_is_timed_cold_and_prepared_and_both_end_in_one_digest(
    world: Parties, images: Images, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "STEPS_TIMED", 1)
    figures = removal.removed(world, Monolith(images, recipe), ["c01"], 40, tmp_path)
    (turn,) = figures["turns"]
    assert turn["cold"]["after"] == turn["eager"]["after"]
    assert turn["eager"]["seconds"] < turn["cold"]["seconds"]
    assert 0.0 < turn["cold"]["withdraw_s"] < turn["cold"]["seconds"]
    assert figures["speedup_cold"] == pytest.approx(figures["monolith_s"] / turn["cold"]["seconds"])
    assert turn["cold"]["proved_files"] > 0
    told = retained(world, images, 60)
    assert set(told["retained"]) == set(images.rows)
    assert told["retained_change"] == abs(told["retained_change_signed"])
    areas = membership(world, images, tmp_path)
    assert 0.3 < areas["membership_auc_after"] < 0.7
    assert world.coordinator.removals.removals() == []  # all was done to copies
