"""Images that are held out: which, what they say, when they end a training, and what then leaves."""

import pytest
import torch
from diffusion.recipes import tiny, tiny_values

from severable_diffusion import held_out, network
from severable_diffusion.budget import planned_steps
from severable_diffusion.errors import RecipeError
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer

X_NCHW = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0


def watched(**training: float) -> Recipe:
    return tiny(training={"max_steps": 40, "held_out": 0.2, "check_every": 2, "patience": 3} | training)


def test_a_recipe_that_holds_nothing_out_keeps_its_bytes() -> None:
    plain = Recipe.from_dict(tiny_values())
    assert not {"held_out", "check_every", "patience"} & plain.to_dict()["training"].keys()
    assert tiny(training={"held_out": 0, "check_every": 100, "patience": 10}).to_bytes() == plain.to_bytes()
    assert b'"check_every":2,' in watched().to_bytes()
    assert Recipe.from_dict(watched().to_dict()) == watched()


@pytest.mark.parametrize(("field", "value"), [("held_out", 0.6), ("check_every", 0), ("patience", 0)])
def test_a_field_out_of_bounds_is_named(field: str, value: float) -> None:
    with pytest.raises(RecipeError, match=rf"training\.{field}"):
        watched(**{field: value})


def test_the_split_hangs_on_the_seed_alone_and_parts_all_images() -> None:
    rows_N, rows_M = held_out.split(watched().training, 30, seed=4)
    assert (len(rows_N), len(rows_M)) == (24, 6)
    assert torch.equal(torch.cat([rows_N, rows_M]).sort().values, torch.arange(30))
    assert torch.equal(rows_M, held_out.split(watched().training, 30, seed=4)[1])
    assert not torch.equal(rows_M, held_out.split(watched().training, 30, seed=5)[1])


def test_at_least_one_image_is_held_out_and_never_the_only_one() -> None:
    assert held_out.count(watched().training, 2) == 1
    assert held_out.count(watched().training, 1) == 0
    assert held_out.count(watched().training, 10**6) == held_out.MOST
    assert planned_steps(watched(epochs=1).training, 30) == 3  # 24 of the images, 8 a step


def test_held_out_images_are_never_trained_on() -> None:
    """A training whose held-out images are all NaN has a finite loss at every step."""
    recipe = watched()
    _, rows_M = held_out.split(recipe.training, 30, seed=4)
    x_NCHW = X_NCHW.clone()
    x_NCHW[rows_M] = float("nan")
    trainer = Trainer(recipe, x_NCHW, 4)
    trainer.run()
    assert bool(torch.tensor(trainer.losses).isfinite().all())
    assert trainer.held_out is not None
    assert trainer.held_out.best == {}  # a look that gave no number is no best one, and costs patience
    assert trainer.step == 6


def test_a_look_gives_the_same_loss_every_time_and_disturbs_nothing() -> None:
    trainer = Trainer(watched(), X_NCHW, 4)
    trainer.advance()
    assert trainer.held_out is not None
    before = trainer.generator.get_state(), {name: one.clone() for name, one in trainer.model.state_dict().items()}
    first, second = (trainer.held_out.loss(trainer.average, parts) for parts in (1, 1))
    assert first == second
    assert trainer.held_out.loss(trainer.average, 3) == pytest.approx(first, rel=1e-5)
    assert torch.equal(before[0], trainer.generator.get_state())
    assert all(torch.equal(one, before[1][name]) for name, one in trainer.model.state_dict().items())


def test_training_ends_once_patience_is_over_and_the_best_average_is_what_leaves() -> None:
    trainer = Trainer(watched(learning_rate=0.5, warmup_steps=0, gradient_clip=100.0), X_NCHW, 4)
    told: list[tuple[int, float]] = []
    averages: dict[int, bytes] = {}
    while not trainer.done:
        progress = trainer.advance()
        if progress.held_out_loss is not None:
            told.append((progress.step, progress.held_out_loss))
            averages[progress.step] = network.dump(trainer.ema)
    best_step, best_loss = min(told, key=lambda look: look[1])
    assert trainer.held_out is not None
    assert trainer.step < trainer.steps
    assert trainer.step == best_step + 3 * 2
    assert (trainer.held_out.best_step, trainer.held_out.best_loss) == (best_step, best_loss)
    assert network.dump(trainer.shard().state_dict) == averages[best_step]
    assert averages[best_step] != network.dump(trainer.ema)
    assert trainer.shard().steps == trainer.step


def test_the_last_step_is_followed_by_a_look() -> None:
    trainer = Trainer(watched(max_steps=5, check_every=100), X_NCHW, 4)
    looks: list[int] = []
    trainer.run(lambda progress: looks.append(progress.step) if progress.held_out_loss is not None else None)
    assert looks == [5]
