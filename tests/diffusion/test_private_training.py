"""Differentially private training: gradients of single images, clipped and noised, and what that spends."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusion.recipes import tiny, tiny_values

from severable_diffusion import checkpoint, network
from severable_diffusion.errors import RecipeError
from severable_diffusion.private_training import PrivateTrainer, trainer_for
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer

pytest.importorskip("opacus")

PRIVACY = {"noise_multiplier": 1.0, "clipping_norm": 0.5, "delta": 1e-3}
ATTENTION = {
    "block_out_channels": [8, 8],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}


def private(images: int = 24, seed: int = 7, **training: Any) -> PrivateTrainer:
    recipe = tiny(training={"batch": 8, "max_steps": 4, "epochs": 100, "privacy": PRIVACY} | training)
    trainer = trainer_for(recipe, noise(images), seed)
    assert isinstance(trainer, PrivateTrainer)
    return trainer


def noise(images: int) -> torch.Tensor:
    return torch.rand(images, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


def own_gradients(trainer: PrivateTrainer, rows_B: torch.Tensor) -> list[torch.Tensor]:
    trainer._gradients(rows_B, torch.Generator().manual_seed(5))
    return [parameter.grad_sample.clone() for parameter in trainer._parameters]


def test_every_image_has_its_own_gradient_also_with_attention_and_labels() -> None:
    conditions = {"labels": ["a", "b"], "drop": 0.0}
    recipe = tiny(architecture=ATTENTION, conditions=conditions, training={"batch": 3, "privacy": PRIVACY})
    trainer = PrivateTrainer(recipe, noise(3), 7, torch.tensor([0, 1, 1]))
    together = own_gradients(trainer, torch.arange(3))
    scale = max(float(gradient.abs().max()) for gradient in together)
    plain = network.build_seeded(recipe, 7).train()
    draws = torch.Generator().manual_seed(5)
    t_B = torch.randint(trainer.schedule.first, trainer.schedule.last + 1, (3,), generator=draws)
    eps_BCHW = torch.randn((3, 1, 8, 8), generator=draws)
    alpha_B111, sigma_B111 = trainer.schedule.at(t_B)
    x_t_BCHW = alpha_B111 * noise(3) + sigma_B111 * eps_BCHW
    wanted_BCHW = {"v": alpha_B111 * eps_BCHW - sigma_B111 * noise(3), "eps": eps_BCHW}[recipe.parametrization]
    for image in range(3):
        plain.zero_grad(set_to_none=True)
        one = slice(image, image + 1)
        label = torch.tensor([0, 1, 1])[one]
        said_BCHW = network.predict(plain, x_t_BCHW[one], t_B[one], label)
        torch.nn.functional.mse_loss(said_BCHW, wanted_BCHW[one]).backward()  # type: ignore[no-untyped-call]
        for own, parameter in zip(together, plain.parameters(), strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(own[image], parameter.grad, rtol=1e-3, atol=1e-5 * scale)


def test_the_sum_of_gradients_moves_by_no_more_than_the_clipping_norm_for_an_image() -> None:
    trainer = private(privacy=PRIVACY | {"clipping_norm": 1e-3})
    trainer._gradients(torch.arange(5), torch.Generator().manual_seed(5))
    trainer._private.clip_and_accumulate()
    total = math.sqrt(sum(float(parameter.summed_grad.square().sum()) for parameter in trainer._private.params))
    assert 0 < total <= 5 * 1e-3 * (1 + 1e-4)


def test_noise_is_added_also_where_no_image_was_drawn() -> None:
    trainer = private(images=400, batch=1, max_steps=12)
    before = [parameter.detach().clone() for parameter in trainer._parameters]
    losses = [trainer.advance().loss for _ in range(12)]
    assert 0.0 in losses  # one image is expected in a batch, so every third is empty
    assert any(not torch.equal(old, new) for old, new in zip(before, trainer._parameters, strict=True))


def test_the_same_seed_gives_the_same_bytes_and_a_step_hangs_on_its_number_alone() -> None:
    first, again, other = private().run(), private().run(), private(seed=8).run()
    assert network.dump(first.state_dict) == network.dump(again.state_dict)
    assert network.dump(first.state_dict) != network.dump(other.state_dict)


def test_epsilon_is_that_of_composed_gaussians_where_every_image_is_in_every_batch() -> None:
    # Renyi divergence of order a of T Gaussian mechanisms: a T / (2 sigma^2) (Mironov, arXiv 1702.07476, corollary 3).
    trainer = private(images=8, batch=8, privacy=PRIVACY | {"noise_multiplier": 4.0})
    assert trainer.sampling_rate == 1.0
    trainer.run()
    orders = np.linspace(1.01, 200.0, 20_000)
    divergence = orders * 4 / (2 * 4.0**2)
    to_delta = np.log1p(-1 / orders) - (np.log(PRIVACY["delta"]) + np.log(orders)) / (orders - 1)
    exact = float((divergence + to_delta).min())  # Balle et al., arXiv 1905.09982, theorem 21
    assert trainer.spent().epsilon == pytest.approx(exact, rel=0.02)


def test_fewer_steps_more_noise_and_smaller_batches_spend_less() -> None:
    usual = private()
    usual.advance()
    one = usual.spent().epsilon
    usual.run()
    assert one < usual.spent().epsilon
    quieter = private(privacy=PRIVACY | {"noise_multiplier": 2.0})
    quieter.run()
    assert quieter.spent().epsilon < usual.spent().epsilon
    rarer = private(batch=2)
    rarer.run()
    assert rarer.spent().epsilon < usual.spent().epsilon


def test_a_private_recipe_is_not_trained_without_privacy_nor_the_other_way_round() -> None:
    with pytest.raises(RecipeError, match=r"training\.privacy"):
        Trainer(tiny(training={"privacy": PRIVACY}), noise(4), 7)
    with pytest.raises(RecipeError, match=r"training\.privacy"):
        PrivateTrainer(tiny(), noise(4), 7)
    assert type(trainer_for(tiny(), noise(4), 7)) is Trainer


def test_looks_at_held_out_images_are_refused_with_privacy() -> None:
    with pytest.raises(RecipeError, match=r"training\.held_out: must be 0 with training\.privacy"):
        tiny(training={"privacy": PRIVACY, "held_out": 0.2})


def test_a_private_training_resumed_from_a_checkpoint_ends_with_the_same_bytes_and_has_spent_the_same(
    tmp_path: Path,
) -> None:
    whole = private().run()
    first = private()
    first.advance()
    first.advance()
    checkpoint.write(tmp_path / "checkpoint", first)
    again = private()
    checkpoint.restore(tmp_path / "checkpoint", again)
    while not again.done:
        again.advance()
    resumed = again.shard()
    assert network.dump(resumed.state_dict) == network.dump(whole.state_dict)
    assert resumed.privacy == whole.privacy
    assert whole.privacy is not None


def test_a_recipe_without_privacy_keeps_its_bytes_and_one_with_it_is_read_back() -> None:
    assert "privacy" not in tiny().to_dict()["training"]
    recipe = tiny(training={"privacy": PRIVACY})
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert replace(recipe, training=replace(recipe.training, privacy=None)) == Recipe.from_dict(tiny_values())


@pytest.mark.parametrize(
    ("field", "value"), [("noise_multiplier", 0.0), ("clipping_norm", 0.0), ("delta", 0.5), ("colour", 1)]
)
def test_a_privacy_out_of_bounds_names_its_field(field: str, value: float) -> None:
    with pytest.raises(RecipeError, match=rf"training\.privacy\.{field}"):
        tiny(training={"privacy": PRIVACY | {field: value}})
