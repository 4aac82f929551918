"""Small rules of the quality program, each against a value worked out by hand."""

from typing import Any

import pytest
import torch
from quality import bars
from quality.composites import Samples
from quality.credit import credited
from quality.removals import Removal, standard_error
from quality.summaries import Measured, crossing, of_split

from severable_diffusion.membership_attack import area_under_curve


def test_the_area_under_the_curve_is_the_share_of_pairs_in_the_right_order_and_half_of_the_ties() -> None:
    members_N, others_M = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([2.0, 0.0])
    pairs = [(m > o) + 0.5 * (m == o) for m in members_N.tolist() for o in others_M.tolist()]
    assert area_under_curve(members_N, others_M) == pytest.approx(sum(pairs) / 6)
    assert area_under_curve(torch.ones(4), torch.zeros(3)) == 1.0
    assert area_under_curve(torch.zeros(4), torch.ones(3)) == 0.0


@pytest.mark.parametrize(("largest", "level"), [([0.9, 0.8, 0.7], 1.5), ([0.6, 0.5, 0.4], 0.0), ([0.9, 0.9, 0.8], 2.0)])
def test_a_router_is_half_sure_where_the_line_between_two_levels_says_so(largest: list[float], level: float) -> None:
    assert crossing([0.5, 1.0, 2.0], largest, 0.75) == pytest.approx(level)


def _seen_after_removals(*seeds: tuple[float, float]) -> bars.Bar:
    facts: dict[tuple[str, int], dict[str, Any]] = {
        ("drop-class-8", seed): {
            "removals": {"a": {"change": mean - 0.01}, "b": {"change": mean + 0.01}},
            "mean_change": mean,
            "standard_error": error,
        }
        for seed, (mean, error) in enumerate(seeds)
    }
    measured = Measured(name="fashion-mnist", seeds=tuple(range(len(seeds))), facts=facts)
    found = of_split(measured, "class-8")
    return next(bar for bar in bars.all_of({"fashion-mnist": {"class-8": found}}) if bar.what.startswith("dropping"))


def test_removals_meet_their_bar_only_where_the_mean_and_its_standard_error_are_within_it() -> None:
    sure, unsure = _seen_after_removals((0.004, 0.003), (0.006, 0.004)), _seen_after_removals((0.001, 0.017))
    assert sure.seen == pytest.approx(0.005 + 0.0025)  # errors of two seeds: half the root of 9 + 16
    assert sure.met
    assert unsure.seen == pytest.approx(0.001 + 0.017)  # a mean near nothing, and no way to know it
    assert not unsure.met
    assert "-0.009 to +0.011" in unsure.note


def test_a_removals_standard_error_is_the_spread_of_its_change_over_samples_drawn_anew() -> None:
    noise = torch.Generator().manual_seed(4)

    def drawn(count: int) -> torch.Tensor:
        return torch.randn(count, 2, generator=noise, dtype=torch.float64)

    def removal() -> Removal:
        return Removal(
            before_NF=drawn(300) + 1.0,
            stays_N=torch.ones(300, dtype=torch.bool),
            after_NF=drawn(300) + 1.0,
            reference_MF=drawn(3000),
        )

    spread = torch.tensor([removal().change() for _ in range(200)]).std()
    assert standard_error([removal()]) == pytest.approx(float(spread), rel=0.4)


def test_a_sample_is_credited_to_the_shard_that_it_was_bound_to_and_else_to_the_last_steps_heaviest() -> None:
    last_NK = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    samples = Samples(
        x_NCHW=torch.zeros(3, 1, 1, 1),
        trajectory_SNK=torch.stack([last_NK.flip(1), last_NK]),
        realised_N=torch.tensor([1, -1, -1]),
        log_snr=(-1.0, 1.0),
        evaluations=1.0,
        seconds=0.0,
    )
    assert credited(samples).tolist() == [1, 1, 0]


def test_cost_is_the_composites_time_in_its_best_batch_over_the_monoliths_in_its_own() -> None:
    costs = {
        "256": {"ratio": 1.5, "composite_ms": 30.0, "monolith_ms": 20.0},
        "1024": {"ratio": 0.75, "composite_ms": 21.0, "monolith_ms": 28.0},
    }
    found = [
        bar
        for bar in bars.all_of({"fashion-mnist": {"costs": {"plain": costs}}})
        if "8 shards over the monolith, plain" in bar.what
    ]
    assert [bar.seen for bar in found] == [pytest.approx(21 / 20)]
