"""Small rules of the quality program, each against a value worked out by hand."""

import pytest
import torch
from quality.departures import area_under_curve
from quality.summaries import crossing


def test_the_area_under_the_curve_is_the_share_of_pairs_in_the_right_order_and_half_of_the_ties() -> None:
    members_N, others_M = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([2.0, 0.0])
    pairs = [(m > o) + 0.5 * (m == o) for m in members_N.tolist() for o in others_M.tolist()]
    assert area_under_curve(members_N, others_M) == pytest.approx(sum(pairs) / 6)
    assert area_under_curve(torch.ones(4), torch.zeros(3)) == 1.0
    assert area_under_curve(torch.zeros(4), torch.ones(3)) == 0.0


@pytest.mark.parametrize(("largest", "level"), [([0.9, 0.8, 0.7], 1.5), ([0.6, 0.5, 0.4], 0.0), ([0.9, 0.9, 0.8], 2.0)])
def test_a_router_is_half_sure_where_the_line_between_two_levels_says_so(largest: list[float], level: float) -> None:
    assert crossing([0.5, 1.0, 2.0], largest, 0.75) == pytest.approx(level)
