import pytest
import torch
from diffusion.gaussians import as_images, as_points, posterior, three_shards, true_score
from hypothesis import given
from hypothesis import strategies as st

from severable_diffusion.composition import DISPATCHES, UNDECIDED, Cumulative, DrawOnce, Memory, TopK, mix
from severable_diffusion.errors import CompositeError
from severable_diffusion.lots import Lots
from severable_diffusion.parametrization import Parametrization, convert
from severable_diffusion.router import PriorRouter, weights

LAMBDAS = (1.0, 3.0, 0.5)
LEVELS = [(0.98, 0.199), (0.8, 0.6), (0.45, 0.893), (0.1, 0.995), (0.5, 0.5)]


def lots(seed: int, count: int = 3) -> Lots:
    return Lots(tuple("abc"[:count]), torch.Generator().manual_seed(seed))


def noisy(alpha: float, sigma: float) -> torch.Tensor:
    source = torch.Generator().manual_seed(5)
    x0_ND = torch.cat([mixture.draw(30, source) for mixture in three_shards()])
    return alpha * x0_ND + sigma * torch.randn(x0_ND.shape, generator=source, dtype=torch.float64)


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
@pytest.mark.parametrize("kind", list(Parametrization))
def test_exact_scores_with_exact_weights_are_the_score_of_the_whole_mixture(
    alpha: float, sigma: float, kind: Parametrization
) -> None:
    shards = three_shards()
    a, s = torch.tensor(alpha, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64)
    x_ND = noisy(alpha, sigma)
    density_NK = torch.stack([shard.log_density(x_ND, alpha, sigma) for shard in shards], dim=1)
    w_NK = weights(density_NK, torch.tensor(LAMBDAS, dtype=torch.float64).log(), torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(w_NK, posterior(shards, LAMBDAS, x_ND, alpha, sigma))

    def predict(k: int, rows_M: torch.Tensor) -> torch.Tensor:
        x_MCHW = as_images(x_ND[rows_M])
        x0_MCHW = as_images(shards[k].expected_x0(as_points(x_MCHW), alpha, sigma))
        return convert(x0_MCHW, Parametrization.X0, kind, x_MCHW, alpha=a, sigma=s)

    mixed_NCHW, evaluations = mix(predict, as_images(x_ND), w_NK)
    eps_ND = as_points(convert(mixed_NCHW, kind, Parametrization.EPS, as_images(x_ND), alpha=a, sigma=s))
    torch.testing.assert_close(-eps_ND / sigma, true_score(shards, LAMBDAS, x_ND, alpha, sigma), rtol=1e-6, atol=1e-6)
    assert evaluations == int((w_NK > 0).sum())


def test_naive_averaging_is_not_the_score_of_the_mixture() -> None:
    shards, (alpha, sigma) = three_shards(), (0.8, 0.6)
    x_ND = noisy(alpha, sigma)
    equal_NK = torch.full((len(x_ND), 3), 1 / 3, dtype=torch.float64)
    mixed, _ = mix(
        lambda k, rows: as_images(shards[k].expected_x0(x_ND[rows], alpha, sigma)), as_images(x_ND), equal_NK
    )
    score_ND = (alpha * as_points(mixed) - x_ND) / sigma**2
    assert (score_ND - true_score(shards, LAMBDAS, x_ND, alpha, sigma)).abs().mean() > 0.1


def test_excluding_a_shard_gives_the_posterior_over_the_others() -> None:
    shards, (alpha, sigma) = three_shards(), (0.45, 0.893)
    x_ND = noisy(alpha, sigma)
    density_NK = torch.stack([shard.log_density(x_ND, alpha, sigma) for shard in shards], dim=1)
    log_lambda_K = torch.tensor(LAMBDAS, dtype=torch.float64).log()
    w_NK = weights(density_NK, log_lambda_K, torch.tensor([True, False, True]))
    assert bool((w_NK[:, 1] == 0).all())
    others = posterior((shards[0], shards[2]), (LAMBDAS[0], LAMBDAS[2]), x_ND, alpha, sigma)
    torch.testing.assert_close(w_NK[:, [0, 2]], others)


def test_excluding_every_shard_is_refused() -> None:
    with pytest.raises(CompositeError, match="allow at least one"):
        weights(torch.zeros(2, 3), torch.zeros(3), torch.zeros(3, dtype=torch.bool))


def test_the_prior_router_gives_the_lambdas() -> None:
    logits_NK = PriorRouter(3).logits(torch.zeros(2, 1, 4, 4), torch.zeros(2))
    w_NK = weights(logits_NK, torch.tensor(LAMBDAS).log(), torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(w_NK, (torch.tensor(LAMBDAS) / sum(LAMBDAS)).repeat(2, 1))


rows = st.lists(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3), min_size=1, max_size=6).filter(
    lambda found: all(sum(row) > 0.1 for row in found)
)


@given(values=rows, name=st.sampled_from(sorted(DISPATCHES)), seed=st.integers(0, 99))
def test_every_dispatch_gives_weights_that_sum_to_one_and_use_no_excluded_shard(
    values: list[list[float]], name: str, seed: int
) -> None:
    w_NK = torch.tensor(values)
    w_NK = w_NK / w_NK.sum(dim=1, keepdim=True)
    memory, source = Memory.start(len(w_NK)), lots(seed)
    for _ in range(3):
        used_NK, memory = DISPATCHES[name].choose(w_NK, memory, source, 0.0)
        torch.testing.assert_close(used_NK.sum(dim=1), torch.ones(len(w_NK)))
        assert bool((used_NK[w_NK == 0] == 0).all())


def test_drawing_once_keeps_the_draw_and_follows_the_weights() -> None:
    w_NK = torch.tensor([[0.2, 0.5, 0.3]]).repeat(4000, 1)
    used_NK, memory = DrawOnce().choose(w_NK, Memory.start(4000), lots(0), 0.0)
    torch.testing.assert_close(used_NK.mean(dim=0), w_NK[0], atol=0.03, rtol=0)
    later_NK, _ = DrawOnce().choose(w_NK.flip(1), memory, lots(1), 0.0)
    assert torch.equal(later_NK, used_NK)


def test_cumulative_keeps_the_fewest_shards_that_hold_the_mass() -> None:
    w_NK = torch.tensor([[0.9, 0.095, 0.005], [0.4, 0.35, 0.25]])
    used_NK, memory = Cumulative(mass=0.99, commit=0.95).choose(w_NK, Memory.start(2), lots(0), 0.0)
    torch.testing.assert_close(used_NK[0], torch.tensor([0.9, 0.095, 0.0]) / 0.995)
    torch.testing.assert_close(used_NK[1], w_NK[1])
    assert memory.committed_N.tolist() == [UNDECIDED, UNDECIDED]


def test_a_decided_sample_is_bound_and_stays_bound() -> None:
    sure_NK = torch.tensor([[1.0, 0.0, 0.0]])
    used_NK, memory = Cumulative().choose(sure_NK, Memory.start(1), lots(0), 0.0)
    assert memory.committed_N.tolist() == [0]
    used_NK, memory = Cumulative().choose(sure_NK.flip(1), memory, lots(0), 0.0)
    assert used_NK.tolist() == [[1.0, 0.0, 0.0]]


def test_early_commit_does_not_shut_out_a_rare_shard() -> None:
    w_NK = torch.tensor([[0.96, 0.04]]).repeat(5000, 1)
    _, memory = Cumulative(commit=0.95).choose(w_NK, Memory.start(5000), lots(0, 2), 0.0)
    assert abs(float((memory.committed_N == 1).double().mean()) - 0.04) < 0.01


def test_top_k_renormalises() -> None:
    used_NK, _ = TopK(2).choose(torch.tensor([[0.5, 0.3, 0.2]]), Memory.start(1), lots(0), 0.0)
    torch.testing.assert_close(used_NK, torch.tensor([[0.625, 0.375, 0.0]]))


def test_a_shard_runs_once_and_only_on_the_rows_that_need_it() -> None:
    calls: list[tuple[int, int]] = []

    def predict(k: int, rows_M: torch.Tensor) -> torch.Tensor:
        calls.append((k, len(rows_M)))
        return torch.full((len(rows_M), 1, 2, 2), float(k))

    w_NK = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]])
    mixed_NCHW, evaluations = mix(predict, torch.zeros(3, 1, 2, 2), w_NK)
    assert calls == [(0, 2), (2, 2)]
    assert evaluations == 4
    assert mixed_NCHW[:, 0, 0, 0].tolist() == [0.0, 1.0, 2.0]


def test_weights_that_do_not_sum_to_one_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="must sum to 1"):
        mix(lambda _, rows: rows, torch.zeros(1, 1, 2, 2), torch.tensor([[0.5, 0.4]]))
