"""What a removal changes for the others: told without the shard that left, and right against really drawing it."""

from dataclasses import replace

import pytest
import torch
from diffusion.conftest import IDS, TinyFederation

from severable_diffusion import network
from severable_diffusion.bank import Bank
from severable_diffusion.errors import CompositeError
from severable_diffusion.evaluation import DEFAULT, draw
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.retained import Departure, _stays, retained_quality, standard_error
from severable_diffusion.sampler import scheduler_for
from severable_diffusion.shard_set import ShardSet

GONE = IDS[1]


def shards_of(federation: TinyFederation, ids: tuple[str, ...]) -> ShardSet:
    networks = {shard_id: network.load(federation.recipe, federation.shards[shard_id]) for shard_id in ids}
    return ShardSet(federation.recipe, networks, {shard_id: federation.lambdas[shard_id] for shard_id in ids})


@pytest.fixture
def remaining(federation: TinyFederation) -> ShardSet:
    return shards_of(federation, tuple(one for one in IDS if one != GONE))


@pytest.fixture
def banks(federation: TinyFederation) -> dict[str, Bank]:
    return {shard_id: bank for shard_id, bank in federation.banks.items() if shard_id != GONE}


def test_the_samples_that_stay_are_known_without_the_shard_that_left(
    federation: TinyFederation, remaining: ShardSet
) -> None:
    drawn = []
    for shards in (shards_of(federation, IDS), remaining):
        pipeline = CompositePipeline(shards, scheduler_for(federation.recipe))
        pipeline.set_progress_bar_config(disable=True)
        drawn.append(draw(pipeline, DEFAULT, count=300, seed=5))
    before_N = drawn[0].attribution.realised_N
    assert before_N is not None
    stays_N = _stays(remaining, {GONE: federation.lambdas[GONE]}, 300, 5)
    assert torch.equal(stays_N, before_N != IDS.index(GONE))
    assert 60 < int(stays_N.sum()) < 240
    torch.testing.assert_close(drawn[0].images_NCHW[stays_N], drawn[1].images_NCHW[stays_N], atol=1e-5, rtol=0)


def test_the_figure_comes_with_its_error_and_repeats(
    federation: TinyFederation, remaining: ShardSet, banks: dict[str, Bank]
) -> None:
    said: list[str] = []

    def told(what: str, _done: int, _total: int) -> None:
        said.append(what)

    first, second = (retained_quality(remaining, banks, {GONE: 2.0}, samples=80, seed=1, told=told) for _ in range(2))
    assert first == second
    assert first.change == pytest.approx((first.after - first.before) / first.scale)
    assert first.scale > 0.0
    assert first.standard_error > 0.0
    assert first.interval == pytest.approx(
        (first.change - 1.96 * first.standard_error, first.change + 1.96 * first.standard_error)
    )
    assert (first.samples, first.seed, first.measure) == (80, 1, "FD-conv32 on banks")
    assert 2 <= first.compared < 80
    assert said


def test_the_error_is_the_spread_of_the_change_over_fresh_samples() -> None:
    """Against really drawing anew: of noise whose features are the samples themselves."""
    noise = torch.Generator().manual_seed(3)

    def departure() -> Departure:
        drawn_NF = torch.randn(400, 4, generator=noise, dtype=torch.float64) + 1.0
        return Departure(
            drawn_NF=drawn_NF,
            stays_N=torch.rand(400, generator=noise) < 0.7,
            reference_MF=torch.randn(600, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64),
        )

    changes_R = torch.tensor([departure().change() for _ in range(150)])
    assert standard_error(departure(), 0) == pytest.approx(float(changes_R.std()), rel=0.35)


def test_what_cannot_be_measured_is_said_in_one_line(
    federation: TinyFederation, remaining: ShardSet, banks: dict[str, Bank]
) -> None:
    alone = shards_of(federation, IDS[:1])
    with pytest.raises(CompositeError, match="one shard remains"):
        retained_quality(alone, {IDS[0]: banks[IDS[0]]}, {GONE: 1.0}, samples=8, seed=0)
    with pytest.raises(CompositeError, match="bank of every remaining shard"):
        retained_quality(remaining, {}, {GONE: 1.0}, samples=8, seed=0)
    with pytest.raises(CompositeError, match="fewer than two"):
        retained_quality(remaining, banks, {GONE: 1e9}, samples=8, seed=0)


def test_a_reference_has_as_many_images_of_a_shard_as_its_lambda_says(
    federation: TinyFederation, banks: dict[str, Bank]
) -> None:
    uneven = replace(federation, lambdas={**federation.lambdas, IDS[0]: 0.25})
    remaining = shards_of(uneven, tuple(sorted(banks)))
    found = retained_quality(remaining, banks, {GONE: 1.0}, samples=40, seed=0)
    half = len(banks[IDS[2]].x_NCHW[1::2])
    assert found.reference == half + round(half / 4)
