"""A training's batches come from its generator's state alone, also where the next one is drawn ahead of its step."""

import torch
from diffusion.recipes import tiny

from severable_diffusion.batches import Batches
from severable_diffusion.environment import generator
from severable_diffusion.noising import NoisedBatch

RECIPE = tiny(training={"batch": 4})
X_NCHW = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0


def fresh(rows_N: torch.Tensor | None = None) -> Batches:
    return Batches(RECIPE, X_NCHW, None, rows_N, generator(7))


def same(one: NoisedBatch, other: NoisedBatch) -> bool:
    return torch.equal(one.x_t_BCHW, other.x_t_BCHW) and torch.equal(one.t_B, other.t_B)


def test_batches_drawn_ahead_are_the_ones_that_are_drawn_in_time() -> None:
    in_time, ahead = fresh(), fresh()
    for step in range(6):
        if step % 3:
            ahead.draw_ahead()
        assert same(ahead.take(), in_time.take())
        assert torch.equal(ahead.generator.get_state(), in_time.generator.get_state())


def test_a_batch_drawn_ahead_leaves_the_generator_where_it_was() -> None:
    batches = fresh()
    before = batches.generator.get_state()
    batches.draw_ahead()
    batches.draw_ahead()
    assert torch.equal(batches.generator.get_state(), before)


def test_a_batch_drawn_ahead_is_forgotten_where_the_generator_was_put_elsewhere() -> None:
    batches, expected = fresh(), fresh()
    batches.draw_ahead()
    expected.take()
    batches.generator.set_state(expected.generator.get_state())
    assert same(batches.take(), expected.take())


def test_only_the_rows_given_are_drawn() -> None:
    picked = torch.tensor([3, 11])
    batches = fresh(picked)
    told = Batches(RECIPE, X_NCHW[picked], None, None, generator(7))
    for _ in range(5):
        assert same(batches.take(), told.take())
