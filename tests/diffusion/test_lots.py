import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from severable_diffusion.lots import Lots

IDS = ("a", "b", "c", "d")
rows = st.lists(st.lists(st.sampled_from([0.0, 0.1, 1.0, 3.0]), min_size=4, max_size=4).filter(any), min_size=1)


def lots(seed: int, ids: tuple[str, ...] = IDS) -> Lots:
    return Lots(ids, torch.Generator().manual_seed(seed))


def test_a_shard_is_drawn_as_often_as_its_weight_says() -> None:
    w_NK = torch.tensor([[0.5, 0.25, 0.2, 0.05]]).repeat(20_000, 1)
    share_K = torch.bincount(lots(0).draw(w_NK), minlength=4) / len(w_NK)
    torch.testing.assert_close(share_K, w_NK[0], atol=0.01, rtol=0)


def test_two_samples_and_two_draws_are_independent() -> None:
    w_NK, source = torch.full((20_000, 2), 0.5), lots(0, ("a", "b"))
    first_N, second_N = source.draw(w_NK), source.draw(w_NK)
    assert abs(float((first_N == second_N).double().mean()) - 0.5) < 0.02
    assert abs(float((first_N[1:] == first_N[:-1]).double().mean()) - 0.5) < 0.02


@given(values=rows, seed=st.integers(0, 99), gone=st.integers(0, 3))
def test_without_one_shard_every_sample_that_it_had_not_won_stays_where_it_was(
    values: list[list[float]], seed: int, gone: int
) -> None:
    kept = [place for place in range(4) if place != gone]
    w_NK = torch.tensor(values)
    w_NK = w_NK[w_NK[:, kept].sum(dim=1) > 0]
    before_N = lots(seed).draw(w_NK / w_NK.sum(dim=1, keepdim=True))
    fewer_NK = w_NK[:, kept] / w_NK[:, kept].sum(dim=1, keepdim=True)
    after_N = torch.tensor(kept)[lots(seed, tuple(IDS[place] for place in kept)).draw(fewer_NK)]
    stays_N = before_N != gone
    assert torch.equal(after_N[stays_N], before_N[stays_N])


@given(values=rows, seed=st.integers(0, 99))
def test_a_shard_without_weight_is_never_drawn(values: list[list[float]], seed: int) -> None:
    w_NK = torch.tensor(values)
    drawn_N = lots(seed).draw(w_NK)
    assert bool((w_NK.gather(1, drawn_N[:, None]) > 0).all())


def test_with_a_generator_for_each_sample_a_draw_does_not_depend_on_the_batch() -> None:
    w_NK = torch.tensor([[0.4, 0.3, 0.2, 0.1]])
    alone = [int(Lots(IDS, [torch.Generator().manual_seed(seed)]).draw(w_NK)) for seed in range(12)]
    together_N = Lots(IDS, [torch.Generator().manual_seed(seed) for seed in range(12)]).draw(w_NK.repeat(12, 1))
    assert together_N.tolist() == alone
    assert len(set(alone)) > 1


@pytest.mark.parametrize("generator", [None, "one", "many"])
def test_every_draw_takes_fresh_numbers_from_its_source(generator: str | None) -> None:
    torch.manual_seed(0)
    one = torch.Generator().manual_seed(0)
    source = {None: None, "one": one, "many": [one] * 200}[generator]
    w_NK = torch.full((200, 4), 0.25)
    drawn = Lots(IDS, source)
    assert not torch.equal(drawn.draw(w_NK), drawn.draw(w_NK))
