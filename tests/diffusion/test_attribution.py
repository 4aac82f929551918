import pytest
import torch

from severable_diffusion.attribution import Attribution


def record(log_snr: tuple[float, ...], realised: list[int] | None = None) -> Attribution:
    """Two samples, two shards: the first goes from even to shard 0, the second stays three to one for shard 1."""
    first_S = torch.linspace(0.5, 1.0, len(log_snr))
    trajectory_SNK = torch.stack(
        [torch.stack([torch.tensor([a, 1.0 - a]), torch.tensor([0.25, 0.75])]) for a in first_S.tolist()]
    )
    return Attribution(
        shard_ids=("a", "b"),
        trajectory_SNK=trajectory_SNK,
        times=tuple(range(len(log_snr))),
        log_snr=log_snr,
        realised_N=None if realised is None else torch.tensor(realised),
        evaluations=(4,) * len(log_snr),
    )


def test_every_answer_sums_to_one() -> None:
    for one in (record((-20.0, -3.0, 0.0, 5.0)), record((-1.0,)), record((-2.0, 2.0), [0, -1])):
        for credit_NK in (one.weights_NK, one.weighted_NK, one.realised_NK, one.final_NK):
            torch.testing.assert_close(credit_NK.sum(dim=1), torch.ones(2))


def test_steps_of_equal_log_snr_count_alike() -> None:
    equal = record((-6.0, -4.0, -2.0, 0.0, 2.0))
    torch.testing.assert_close(equal.weighted_NK, equal.weights_NK)


def test_a_step_that_covers_more_log_snr_counts_more_and_pure_noise_does_not() -> None:
    # Covered: -20 to -5 counts from -6 (1), -5 to 3 (8), 3 to 4 (1); weights of shard a there: 0.5, 0.75, 1.
    uneven = record((-20.0, -5.0, 3.0))
    assert float(uneven.weighted_NK[0, 0]) == pytest.approx((1 * 0.5 + 8 * 0.75 + 1 * 1.0) / 10)
    assert float(uneven.weights_NK[0, 0]) == pytest.approx(0.75)


def test_steps_that_all_lie_beyond_the_telling_levels_give_the_last_weights() -> None:
    late = record((5.0, 6.0))
    torch.testing.assert_close(late.weighted_NK, late.final_NK)


def test_a_bound_sample_belongs_to_its_shard_alone_and_another_keeps_its_last_weights() -> None:
    torch.testing.assert_close(record((-2.0, 2.0), [1, -1]).realised_NK, torch.tensor([[0.0, 1.0], [0.25, 0.75]]))
    assert record((-2.0, 2.0), [1, -1]).to_dict()["realised"] == {"a": 0.125, "b": 0.875}
    torch.testing.assert_close(record((-2.0, 2.0)).realised_NK, record((-2.0, 2.0)).final_NK)
