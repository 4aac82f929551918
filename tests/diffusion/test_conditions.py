"""Class labels and guidance, held against one exact network of everybody's data."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusion.exact import levels_at
from diffusion.gaussians import SIZE, Mixture, as_images, as_points, posterior
from diffusion.recipes import tiny
from torch import nn

from severable_diffusion import network
from severable_diffusion.bank import draw_bank
from severable_diffusion.errors import CompositeError, RecipeError
from severable_diffusion.parametrization import Parametrization, convert
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.recipe import Recipe
from severable_diffusion.router_training import build_router
from severable_diffusion.sampler import scheduler_for
from severable_diffusion.schedule import NoiseSchedule
from severable_diffusion.shard_set import Member, ShardSet
from severable_diffusion.training import Trainer, train

LABELS = ("round", "square")
RECIPE = tiny(
    image={"size": SIZE}, process={"steps": 1000}, sampler={"steps": 30}, conditions={"labels": list(LABELS)}
)  # fmt: skip
COUNTS = {"a": (30, 10), "b": (0, 40)}
SHARES = {"a": 1.0, "b": 3.0}


def cell(seed: int) -> Mixture:
    source = torch.Generator().manual_seed(seed)
    return Mixture(means_JD=torch.randn(1, SIZE * SIZE, generator=source, dtype=torch.float64) * 0.35, spread=0.2)


CELLS = {("a", 0): cell(1), ("a", 1): cell(2), ("b", 1): cell(3)}


def weight(shard: str, label: int) -> float:
    return SHARES[shard] * COUNTS[shard][label] / sum(COUNTS[shard])


class Labelled(nn.Module):
    """What a perfectly trained conditional network of some parties' data would say."""

    def __init__(self, shards: str) -> None:
        super().__init__()
        self.cells = {key: cell for key, cell in CELLS.items() if key[0] in shards}
        self.schedule = NoiseSchedule.of(RECIPE.process)
        self.register_buffer("placeholder", torch.zeros(1))

    def forward(
        self, x_t_NCHW: torch.Tensor, time: torch.Tensor, *, class_labels: torch.Tensor, return_dict: bool
    ) -> tuple[torch.Tensor, ...]:
        assert not return_dict
        alpha, sigma = levels_at(self.schedule, time)
        x_NCHW = x_t_NCHW.double()
        rows = [self._expected(x, int(label), alpha, sigma) for x, label in zip(x_NCHW, class_labels, strict=True)]
        a, s = torch.tensor(alpha, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64)
        own = Parametrization(RECIPE.parametrization)
        return (convert(torch.cat(rows), Parametrization.X0, own, x_NCHW, alpha=a, sigma=s).float(),)

    def _expected(self, x_CHW: torch.Tensor, label: int, alpha: float, sigma: float) -> torch.Tensor:
        cells = {key: cell for key, cell in self.cells.items() if label in (key[1], len(LABELS))}
        shares = [weight(*key) for key in cells]
        x_1D = as_points(x_CHW[None])
        w_1K = posterior(tuple(cells.values()), shares, x_1D, alpha, sigma)
        x0_K1D = torch.stack([cell.expected_x0(x_1D, alpha, sigma) for cell in cells.values()])
        return as_images((w_1K[0, :, None, None] * x0_K1D).sum(dim=0))


class LabelledRouter(nn.Module):
    """log p(x | c, i), or log p(x | i) without a label."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(shard_ids=("a", "b"))
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.schedule = NoiseSchedule.of(RECIPE.process)

    def logits(
        self, x_t_NCHW: torch.Tensor, log_snr_N: torch.Tensor, condition: torch.Tensor | None = None
    ) -> torch.Tensor:
        alpha, sigma = self.schedule.levels_of(float(log_snr_N[0]))
        x_ND = as_points(x_t_NCHW).double()
        columns = []
        for shard in ("a", "b"):
            total = sum(weight(shard, label) for label in (0, 1))
            parts = torch.stack(
                [
                    CELLS[shard, label].log_density(x_ND, alpha, sigma)
                    if (shard, label) in CELLS
                    else torch.full((len(x_ND),), -1e9, dtype=torch.float64)
                    for label in (0, 1)
                ],
                dim=1,
            )
            if condition is None:
                share = torch.tensor([weight(shard, label) / total for label in (0, 1)], dtype=torch.float64)
                columns.append((parts + share.clamp_min(1e-300).log()).logsumexp(dim=1))
            else:
                columns.append(parts.gather(1, condition[:, None])[:, 0])
        return torch.stack(columns, dim=1)


def pipeline_of(members: dict[str, Member], networks: dict[str, nn.Module], router: nn.Module | None) -> Any:
    pipeline = CompositePipeline(ShardSet(RECIPE, networks, members).eval(), scheduler_for(RECIPE), None)
    pipeline.router = router
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def composite() -> Any:
    members = {name: Member(share=SHARES[name], label_counts=COUNTS[name]) for name in "ab"}
    return pipeline_of(members, {name: Labelled(name) for name in "ab"}, LabelledRouter())


def monolith() -> Any:
    return pipeline_of({"all": Member(share=1.0)}, {"all": Labelled("ab")}, None)


def drawn(pipeline: Any, **options: Any) -> torch.Tensor:
    images, _ = pipeline(
        12, torch.Generator().manual_seed(4), dispatch="full", output_type="pt", return_dict=False, **options
    )
    return torch.as_tensor(images)


@pytest.mark.parametrize("guidance", [1.0, 0.0, 3.0])
@pytest.mark.parametrize("condition", ["round", "square", ["round", "square"] * 6])
def test_a_composite_asked_for_a_label_draws_what_one_model_of_all_data_would(condition: Any, guidance: float) -> None:
    asked = {"condition": condition, "guidance_scale": guidance}
    torch.testing.assert_close(drawn(composite(), **asked), drawn(monolith(), **asked), atol=5e-3, rtol=0.0)


def test_guidance_by_one_drawn_shard_is_taken_from_the_routed_mixture_of_all() -> None:
    asked = {"condition": "round", "guidance_scale": 3.0}  # a label of one shard alone, so there is nothing to draw
    routed = composite()(12, torch.Generator().manual_seed(4), output_type="pt", return_dict=False, **asked)[0]
    torch.testing.assert_close(routed, drawn(monolith(), **asked), atol=5e-3, rtol=0.0)


def test_without_a_condition_it_draws_from_everything() -> None:
    torch.testing.assert_close(drawn(composite()), drawn(monolith()), atol=5e-3, rtol=0.0)


def test_a_shard_that_never_saw_a_label_takes_no_part_in_it() -> None:
    for dispatch in ("full", "draw_once", "cumulative"):
        _, record = composite()(6, condition="round", dispatch=dispatch, output_type="pt", return_dict=False)
        assert bool((record.trajectory_SNK[:, :, 1] == 0).all())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"condition": "oval"}, "condition 'oval' is unknown; choose one of round, square"),
        ({"condition": 2}, "condition 2 is unknown"),
        ({"condition": ["round"] * 3}, "3 conditions for 12 images"),
        ({"guidance_scale": 2.0}, "without a condition"),
        ({"condition": "round", "allowed": ["b"]}, "no allowed shard ever saw"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(CompositeError, match=says):
        drawn(composite(), **options)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([], "between 1 and 1000"),
        (["a", "a"], "names a label twice"),
        ([" a"], "without outer spaces"),
        (["\n"], "printable"),
    ],
)
def test_labels_of_a_recipe_are_checked(labels: list[str], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        tiny(conditions={"labels": labels})


def test_a_recipe_without_conditions_keeps_its_bytes() -> None:
    assert b"conditions" not in tiny().to_bytes()
    assert Recipe.from_dict(RECIPE.to_dict()) == RECIPE


def test_training_needs_a_label_for_every_image_exactly_where_the_recipe_has_conditions() -> None:
    x_NCHW, label_N = torch.zeros(4, 1, SIZE, SIZE), torch.tensor([0, 1, 0, 1])
    with pytest.raises(RecipeError, match="asks for the label of each of the 4 images"):
        Trainer(RECIPE, x_NCHW, 0)
    with pytest.raises(RecipeError, match="an image has another one"):
        Trainer(RECIPE, x_NCHW, 0, label_N + 1)
    with pytest.raises(RecipeError, match="is not there, but labels are given"):
        Trainer(tiny(image={"size": SIZE}), x_NCHW, 0, label_N)


def test_labelled_shards_are_trained_banked_and_routed_without_knowing_absent_labels() -> None:
    source = torch.Generator().manual_seed(0)
    x_NCHW = torch.rand(20, 1, SIZE, SIZE, generator=source) * 2.0 - 1.0
    banks = {}
    for name, label_N in (("a", torch.arange(20) % 2), ("b", torch.ones(20, dtype=torch.int64))):
        state = train(RECIPE, x_NCHW, seed=1, label_N=label_N).state_dict
        counts = torch.bincount(label_N, minlength=2).tolist()
        net = network.load(RECIPE, network.dump(state))
        banks[name] = draw_bank(net, RECIPE, seed_material=name, label_counts=counts)
    assert banks["a"].label_N is not None
    assert torch.bincount(banks["a"].label_N).tolist() == [8, 8]
    assert banks["b"].label_N is not None
    assert set(banks["b"].label_N.tolist()) == {1}
    router = build_router(banks, RECIPE)
    x_t_NCHW, log_snr_N = torch.randn(3, 1, SIZE, SIZE, generator=source), torch.zeros(3)
    free_NK, told_NK = router.logits(x_t_NCHW, log_snr_N), router.logits(x_t_NCHW, log_snr_N, torch.tensor([0, 1, 1]))
    assert bool(told_NK.isfinite().all())
    assert not torch.equal(free_NK, told_NK)


def test_a_router_told_the_label_recovers_the_prior_free_ratio() -> None:
    """Both shards hold the same images of one label, one of them nine times as often: the label must not tell."""
    recipe = tiny(
        image={"size": SIZE}, process={"steps": 1000}, conditions={"labels": list(LABELS)}, bank={"images": 800},
        router={"channels": 8, "steps": 300, "batch": 64, "learning_rate": 0.005, "ema_decay": 0.97},
    )  # fmt: skip
    from severable_diffusion.bank import Bank

    source, banks = torch.Generator().manual_seed(6), {}
    for name, share in (("a", 0.1), ("b", 0.9)):
        label_N = (torch.rand(800, generator=source) < share).long()
        each = torch.stack([as_images(CELLS["a", label].draw(800, source)).float() for label in (0, 1)])
        banks[name] = Bank.from_images(each[label_N, torch.arange(800)], recipe, seed_material=name, label_N=label_N)
    router = build_router(banks, recipe)
    x_NCHW = as_images(CELLS["a", 1].draw(500, source)).float()
    schedule = NoiseSchedule.of(recipe.process)
    t_N = schedule.time_of(torch.full((500,), 1.0))
    x_t_NCHW = schedule.add_noise(x_NCHW, torch.randn(x_NCHW.shape, generator=source), t_N)
    told_NK = router.logits(x_t_NCHW, schedule.log_snr_T[t_N], torch.ones(500, dtype=torch.int64))
    free_NK = router.logits(x_t_NCHW, schedule.log_snr_T[t_N])
    assert float((told_NK[:, 1] - told_NK[:, 0]).mean().abs()) < 0.5  # prior-free: the same density in both
    assert float((free_NK[:, 1] - free_NK[:, 0]).mean()) > 1.0  # without the label, "square" speaks for b: up to log 9
