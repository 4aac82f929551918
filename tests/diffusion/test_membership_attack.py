"""The membership attack: its figures against scikit-learn and SciPy, its losses by hand, what it finds and what not."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score, roc_curve

from severable_diffusion import membership_attack, network
from severable_diffusion.environment import generator, seed_from
from severable_diffusion.membership_attack import (
    DRAWS,
    LEVELS,
    PURPOSE,
    SCORES,
    Losses,
    area_under_curve,
    curve,
    losses,
    told_apart,
)
from severable_diffusion.parametrization import target
from severable_diffusion.pipeline import CompositePipeline

scores = st.lists(st.integers(0, 6).map(float), min_size=2, max_size=30)


@pytest.fixture
def pipeline(composite: Path) -> CompositePipeline:
    return CompositePipeline.from_pretrained(composite)


@given(held_in=scores, held_out=scores)
def test_area_and_curve_are_those_of_scikit_learn_and_scipy(held_in: list[float], held_out: list[float]) -> None:
    own_N, other_M = (torch.tensor(values, dtype=torch.float64) for values in (held_in, held_out))
    truth, said = [1] * len(held_in) + [0] * len(held_out), held_in + held_out
    area = area_under_curve(own_N, other_M)
    assert area == pytest.approx(roc_auc_score(truth, said))
    assert area == pytest.approx(mannwhitneyu(held_in, held_out).statistic / (len(held_in) * len(held_out)))
    false_P, hit_P = curve(own_N, other_M)
    expected_false, expected_hit, _ = roc_curve(truth, said, drop_intermediate=False)
    torch.testing.assert_close(false_P, torch.from_numpy(expected_false))
    torch.testing.assert_close(hit_P, torch.from_numpy(expected_hit))
    assert area == pytest.approx(float(torch.trapezoid(hit_P, false_P)))


def test_guessing_is_within_the_interval_of_equal_scores_and_not_of_shifted_ones() -> None:
    noise = torch.Generator().manual_seed(0)
    held_in_N, held_out_M = (torch.randn(300, generator=noise, dtype=torch.float64) for _ in range(2))
    alike, shifted = (told_apart(held_in_N + shift, held_out_M, seed=0) for shift in (0.0, 1.0))
    assert alike.by_chance
    assert alike.low <= alike.area <= alike.high
    assert not shifted.by_chance
    # of two normal distributions with means 1 apart the area is Phi(1 / sqrt(2)), its standard error here 0.02
    assert shifted.area == pytest.approx(0.5 * (1.0 + math.erf(0.5)), abs=0.06)
    assert shifted.high - shifted.low == pytest.approx(4 * 0.02, rel=0.3)
    assert told_apart(held_in_N, held_out_M, seed=0) == alike


def test_one_image_of_a_kind_is_too_few() -> None:
    with pytest.raises(ValueError, match="at least two"):
        told_apart(torch.zeros(1), torch.zeros(5), seed=0)


def test_a_loss_is_the_mean_squared_error_over_levels_and_fixed_noises(
    pipeline: CompositePipeline, images_NCHW: torch.Tensor
) -> None:
    x0_NCHW = images_NCHW[:5]
    expected_N = torch.zeros(5, dtype=torch.float64)
    for place, level in enumerate(LEVELS):
        t_N = pipeline.shards.schedule.time_of(torch.full((5,), -2.0 * math.log(level)))
        alpha, sigma = pipeline.shards.schedule.at(t_N)
        for draw in range(DRAWS):
            noise = generator(seed_from(PURPOSE, bytes([place, draw])))
            eps_NCHW = torch.randn((1, 1, 8, 8), generator=noise).repeat(5, 1, 1, 1)
            said_NCHW = network.predict(pipeline.shards.networks[1], alpha * x0_NCHW + sigma * eps_NCHW, t_N)
            wanted_NCHW = target(pipeline.shards.source, x0_NCHW, eps_NCHW, alpha, sigma)
            expected_N += (said_NCHW - wanted_NCHW).double().square().mean(dim=(1, 2, 3)).detach()
    found = losses(pipeline, x0_NCHW)
    assert found.shard_NK.shape == (5, 3)
    torch.testing.assert_close(found.shard_NK[:, 1], expected_N / (len(LEVELS) * DRAWS))


def test_an_images_loss_does_not_depend_on_the_images_beside_it(
    pipeline: CompositePipeline, images_NCHW: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[int, int]] = []
    whole = losses(pipeline, images_NCHW[:7])
    monkeypatch.setattr(membership_attack, "BATCH", 3)
    parts = losses(pipeline, images_NCHW[:7], lambda done, total: said.append((done, total)))
    torch.testing.assert_close(parts.shard_NK, whole.shard_NK)
    torch.testing.assert_close(parts.mixture_N, whole.mixture_N)
    assert said == [(3, 7), (6, 7), (7, 7)]


def test_a_mixture_of_one_shard_is_that_shard(pipeline: CompositePipeline, images_NCHW: torch.Tensor) -> None:
    shards = pipeline.shards
    for shard_id in shards.shard_ids[1:]:
        shards.members[shard_id] = type(shards.members[shard_id])(share=1e-30)
    shards.members[shards.shard_ids[0]] = type(shards.members[shards.shard_ids[0]])(share=1e30)
    found = losses(pipeline, images_NCHW[:4])
    torch.testing.assert_close(found.mixture_N, found.shard_NK[:, 0])


def test_the_calibrated_score_leaves_out_what_makes_an_image_hard_for_everybody() -> None:
    easy_hard = torch.tensor([[0.1, 0.3, 0.3], [5.1, 5.3, 5.3]], dtype=torch.float64)
    found = Losses(shard_NK=easy_hard, mixture_N=easy_hard.mean(dim=1))
    assert found.score("calibrated").tolist() == pytest.approx([0.2, 0.2])
    assert found.score("closest").tolist() == [-0.1, -5.1]
    alone = Losses(shard_NK=easy_hard[:, :1], mixture_N=easy_hard[:, 0])
    assert [alone.score(name).tolist() for name in SCORES] == [[-0.1, -5.1]] * 3
    with pytest.raises(ValueError, match="choose calibrated"):
        found.score("guess")
