"""A target's law as Hypothesis runs it: changed seeds, arbitrary bytes, and what was found before."""

from fuzzing.law import Target
from fuzzing.mutation import mutate
from hypothesis import given, settings
from hypothesis import strategies as st


def check_law(target: Target) -> None:
    """Of its seeds, of changes to them and of arbitrary bytes the parser makes a value or its own error."""
    seeds = target.seeds()
    taken = [target.check(seed) for seed in seeds]
    assert any(taken), "no seed is valid: only refusals would be tested"
    changed = st.builds(mutate, st.sampled_from(seeds), st.randoms(use_true_random=False))

    @given(st.one_of(changed, changed, changed, st.binary(max_size=300)))
    @settings(max_examples=150, deadline=None, database=None)
    def hold(data: bytes) -> None:
        target.check(data)

    hold()


def check_found(target: Target) -> None:
    """What once broke the law no longer does."""
    for data in target.found():
        target.check(data)
