"""Small rules of the quality program, each against a value worked out by hand."""

from typing import Any

import pytest
import torch
from quality import bars
from quality.composites import Samples
from quality.credit import credited
from quality.departures import area_under_curve
from quality.summaries import Measured, crossing, of_split


def test_the_area_under_the_curve_is_the_share_of_pairs_in_the_right_order_and_half_of_the_ties() -> None:
    members_N, others_M = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([2.0, 0.0])
    pairs = [(m > o) + 0.5 * (m == o) for m in members_N.tolist() for o in others_M.tolist()]
    assert area_under_curve(members_N, others_M) == pytest.approx(sum(pairs) / 6)
    assert area_under_curve(torch.ones(4), torch.zeros(3)) == 1.0
    assert area_under_curve(torch.zeros(4), torch.ones(3)) == 0.0


@pytest.mark.parametrize(("largest", "level"), [([0.9, 0.8, 0.7], 1.5), ([0.6, 0.5, 0.4], 0.0), ([0.9, 0.9, 0.8], 2.0)])
def test_a_router_is_half_sure_where_the_line_between_two_levels_says_so(largest: list[float], level: float) -> None:
    assert crossing([0.5, 1.0, 2.0], largest, 0.75) == pytest.approx(level)


def _seen_after_removals(*changes: float) -> bars.Bar:
    facts: dict[tuple[str, int], dict[str, Any]] = {
        ("drop-class-8", 0): {str(place): {"change": change} for place, change in enumerate(changes)}
    }
    found = of_split(Measured(name="fashion-mnist", seeds=(0,), facts=facts), "class-8")
    return next(bar for bar in bars.all_of({"fashion-mnist": {"class-8": found}}) if bar.what.startswith("dropping"))


def test_removals_meet_their_bar_only_where_the_mean_and_its_standard_error_are_within_it() -> None:
    sure, unsure = _seen_after_removals(0.004, 0.006), _seen_after_removals(-0.032, 0.020, 0.017)
    assert sure.seen == pytest.approx(0.006)  # 0.005 and an error of 0.001
    assert sure.met
    assert unsure.seen == pytest.approx(0.0017 + 0.0169, abs=1e-4)  # a mean near nothing, and no way to know it
    assert not unsure.met
    assert "-0.032 to +0.020" in unsure.note


def test_one_removal_alone_says_nothing_about_its_error_and_meets_no_bar() -> None:
    assert _seen_after_removals(0.001).met is None


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
    found = [bar for bar in bars.all_of({"fashion-mnist": {"costs": {"plain": costs}}}) if "plain" in bar.what]
    assert [bar.seen for bar in found] == [pytest.approx(21 / 20)]
