"""Shards whose network is a diffusion transformer: diffusers' own class is the oracle."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiTTransformer2DModel
from diffusion.conftest import IDS
from diffusion.recipes import DIT, tiny, tiny_dit

from severable_diffusion import checkpoint, network
from severable_diffusion.bank import draw_bank
from severable_diffusion.composite_directory import write_composite
from severable_diffusion.errors import RecipeError, ShardError
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.private_training import PrivateTrainer
from severable_diffusion.recipe import Recipe
from severable_diffusion.router_training import build_router
from severable_diffusion.training import Trainer, train
from severable_diffusion.transformer import TransformerDenoiser

PLAIN = tiny_dit()
LABELLED = tiny_dit(conditions={"labels": ["round", "square"], "drop": 0.3})
X_NCHW = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
LABEL_N = torch.arange(24) % 2


def scrambled(recipe: Recipe) -> TransformerDenoiser:
    """A network whose answer is not 0, as that of a fresh one is."""
    made = network.build_seeded(recipe, 0)
    assert isinstance(made, TransformerDenoiser)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=noise) * 0.2)
    made.eval()
    return made


@pytest.mark.parametrize("recipe", [PLAIN, LABELLED], ids=["plain", "labelled"])
def test_diffusers_own_class_says_the_same_byte_for_byte(recipe: Recipe) -> None:
    ours = scrambled(recipe)
    theirs = DiTTransformer2DModel.from_config(json.loads(network.config_bytes(recipe))).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    loaded = network.load(recipe, network.dump(ours.state_dict()))
    label_N = torch.tensor([0, 1, 2]) if recipe.labels else None
    no_label_N = torch.full((3,), theirs.config.num_embeds_ada_norm)
    with torch.no_grad():
        said_NCHW = network.predict(ours, X_NCHW[:3], 40, label_N)
        (expected_NCHW,) = theirs(
            X_NCHW[:3], torch.full((3,), 40), no_label_N if label_N is None else label_N, return_dict=False
        )
        again_NCHW = network.predict(loaded, X_NCHW[:3], 40, label_N)
    assert said_NCHW.shape == (3, 1, 8, 8)
    assert torch.equal(said_NCHW, expected_NCHW)
    assert torch.equal(again_NCHW, expected_NCHW)


def test_a_time_may_be_a_number_or_one_for_each_and_lie_between_two_whole_ones() -> None:
    net = scrambled(PLAIN)
    with torch.no_grad():
        said = [network.predict(net, X_NCHW[:2], time) for time in (7, 7.0, torch.tensor([7, 7]), torch.tensor(7))]
        between_NCHW = network.predict(net, X_NCHW[:2], 7.5)
    assert all(torch.equal(said[0], other) for other in said[1:])
    assert not torch.equal(said[0], between_NCHW)


def test_a_network_without_a_label_is_asked_for_no_label() -> None:
    net = scrambled(LABELLED)
    with torch.no_grad():
        told = [net(X_NCHW[:2], 3, class_labels=torch.full((2,), label), return_dict=False)[0] for label in range(3)]
        assert torch.equal(net(X_NCHW[:2], 3, return_dict=False)[0], told[2])
    assert not torch.equal(told[0], told[2])


def test_places_of_patches_are_sines_and_cosines_of_row_and_column() -> None:
    """The closed form of Peebles and Xie's table: half of the width for the column, half for the row."""
    loaded = network.load(PLAIN, network.dump(network.build_seeded(PLAIN, 0).state_dict()))
    table_PD = loaded.pos_embed.pos_embed[0]
    quarter, grid = DIT["width"] // 4, 8 // DIT["patch"]
    expected = [
        [
            wave(place / 10_000 ** (step / quarter))
            for place in (column, row)
            for wave in (math.sin, math.cos)
            for step in range(quarter)
        ]
        for row in range(grid)
        for column in range(grid)
    ]
    torch.testing.assert_close(table_PD, torch.tensor(expected), atol=1e-6, rtol=0.0)


def test_a_fresh_network_says_nothing_and_its_blocks_change_nothing() -> None:
    fresh = network.build_seeded(PLAIN, 0)
    with torch.no_grad():
        assert torch.equal(network.predict(fresh, X_NCHW, 3), torch.zeros_like(X_NCHW))
        patches_NPD = fresh.pos_embed(X_NCHW)
        label_N = torch.zeros(len(X_NCHW), dtype=torch.int64)
        assert torch.equal(
            fresh.transformer_blocks[0](patches_NPD, timestep=label_N, class_labels=label_N), patches_NPD
        )


def test_the_expected_tensors_are_those_of_a_built_network() -> None:
    for recipe in (PLAIN, LABELLED):
        built = {name: ("F32", tuple(one.shape)) for name, one in network.build(recipe).state_dict().items()}
        assert network.expected_tensors(recipe) == built


def test_a_shard_of_the_other_kind_is_refused_by_its_first_tensor() -> None:
    data = network.dump(network.build_seeded(tiny(), 0).state_dict())
    with pytest.raises(ShardError, match=r"has tensor conv_in.bias; the recipe's network does not"):
        network.load(PLAIN, data)


@pytest.mark.parametrize("recipe", [PLAIN, LABELLED], ids=["plain", "labelled"])
def test_training_repeats_and_resumes_to_the_same_bytes_and_asks_no_global_random_state(
    recipe: Recipe, tmp_path: Path
) -> None:
    label_N = LABEL_N if recipe.labels else None
    torch.manual_seed(1)
    whole = network.dump(train(recipe, X_NCHW, seed=3, label_N=label_N).state_dict)
    torch.manual_seed(2)  # diffusers' own class would hide labels by it
    first = Trainer(recipe, X_NCHW, 3, label_N)
    for _ in range(3):
        first.advance()
    checkpoint.write(tmp_path / "c", first)
    again = Trainer(recipe, X_NCHW, 3, label_N)
    checkpoint.restore(tmp_path / "c", again)
    assert network.dump(again.run().state_dict) == whole
    network.load(recipe, whole)


def test_training_learns_what_the_images_are() -> None:
    """Stripes of one direction: most of the noise can be told apart from them."""
    stripes_NCHW = torch.ones(16, 1, 8, 8)
    stripes_NCHW[..., ::2] = -1.0
    training = {"max_steps": 150, "epochs": 1000, "batch": 16, "learning_rate": 0.003, "warmup_steps": 10}
    trainer = Trainer(tiny_dit(parametrization="x0", training=training), stripes_NCHW, seed=0)
    trainer.run()
    assert trainer.losses[0] == pytest.approx(1.0, abs=1e-6)  # an answer of 0 about pixels of -1 and 1
    assert sum(trainer.losses[-10:]) / 10 < 0.05


def test_a_composite_of_transformers_is_written_sampled_saved_and_loaded(tmp_path: Path) -> None:
    shards = {
        shard_id: network.dump(train(LABELLED, X_NCHW[place::3], seed=place, label_N=LABEL_N[place::3]).state_dict)
        for place, shard_id in enumerate(IDS)
    }
    banks = {
        shard_id: draw_bank(network.load(LABELLED, data), LABELLED, seed_material=shard_id)
        for shard_id, data in shards.items()
    }
    lambdas = dict.fromkeys(IDS, 1.0)
    write_composite(tmp_path / "a", LABELLED, shards, lambdas, build_router(banks, LABELLED))
    first = CompositePipeline.from_pretrained(tmp_path / "a")
    first.save_pretrained(tmp_path / "b")
    second = CompositePipeline.from_pretrained(tmp_path / "b")
    options: dict[str, Any] = {"condition": "square", "guidance_scale": 2.0, "output_type": "pt", "return_dict": False}
    for dispatch in ("full", "cumulative", "draw_once"):
        drawn = []
        for pipeline in (first, second):
            pipeline.set_progress_bar_config(disable=True)
            drawn.append(pipeline(4, torch.Generator().manual_seed(0), dispatch=dispatch, **options)[0])
        assert bool(drawn[0].isfinite().all())
        assert torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize(
    ("field", "change", "says"),
    [
        ("architecture.patch", {"patch": 3}, r"is 3; must divide image.size \(8\)"),
        ("architecture.heads", {"heads": 3}, r"is 3; must divide architecture.width \(16\)"),
        ("architecture.width", {"width": 18}, "is 18; must be a multiple of 4"),
        ("architecture.layers", {"layers": 0}, "between 1 and 64"),
        ("architecture.kind", {"kind": "mlp"}, "is 'mlp'; choose one of unet, dit"),
        ("architecture.kind", {"kind": ["dit"]}, "choose one of unet, dit"),
        ("architecture.patch", {"kind": "unet"}, "is not a field"),
        ("architecture.mid_block", {"mid_block": True}, "is not a field"),
    ],
)
def test_a_transformer_that_cannot_be_is_refused_in_one_line(field: str, change: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says) as caught:
        tiny_dit(architecture=change)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


def test_more_patches_than_attention_can_hold_are_refused() -> None:
    with pytest.raises(RecipeError, match="makes 16384 patches of an image; must make 4096 or fewer"):
        tiny_dit(image={"size": 128}, architecture={"patch": 1})


def test_a_u_net_need_not_be_named_and_named_it_is_the_same_recipe() -> None:
    assert b"kind" not in tiny().to_bytes()
    assert tiny(architecture={"kind": "unet"}).to_bytes() == tiny().to_bytes()
    assert Recipe.from_dict(json.loads(PLAIN.to_bytes())) == PLAIN


def test_in_a_private_training_every_image_has_its_own_gradient_too() -> None:
    pytest.importorskip("opacus")
    privacy = {"noise_multiplier": 1.0, "clipping_norm": 0.5, "delta": 1e-3}
    recipe = tiny_dit(conditions={"labels": ["a", "b"], "drop": 0.0}, training={"batch": 3, "privacy": privacy})
    label_N = torch.tensor([0, 1, 1])
    trainer = PrivateTrainer(recipe, X_NCHW[:3], 7, label_N)
    plain = scrambled(recipe).train()
    trainer.model.load_state_dict(plain.state_dict())
    trainer._gradients(torch.arange(3), torch.Generator().manual_seed(5))
    together = [parameter.grad_sample.clone() for parameter in trainer._parameters]
    scale = max(float(gradient.abs().max()) for gradient in together)
    draws = torch.Generator().manual_seed(5)
    t_B = torch.randint(trainer.schedule.first, trainer.schedule.last + 1, (3,), generator=draws)
    eps_BCHW = torch.randn((3, 1, 8, 8), generator=draws)
    alpha_B111, sigma_B111 = trainer.schedule.at(t_B)
    x_t_BCHW = alpha_B111 * X_NCHW[:3] + sigma_B111 * eps_BCHW
    wanted_BCHW = alpha_B111 * eps_BCHW - sigma_B111 * X_NCHW[:3]
    for image in range(3):
        plain.zero_grad(set_to_none=True)
        one = slice(image, image + 1)
        said_BCHW = network.predict(plain, x_t_BCHW[one], t_B[one], label_N[one])
        torch.nn.functional.mse_loss(said_BCHW, wanted_BCHW[one]).backward()  # type: ignore[no-untyped-call]
        for own, parameter in zip(together, plain.parameters(), strict=True):
            torch.testing.assert_close(own[image], parameter.grad, rtol=1e-3, atol=1e-5 * scale)
