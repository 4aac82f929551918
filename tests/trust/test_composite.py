from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust.samples import NOON, RECIPE, make_manifest

from severable_trust.composite import CompositeContent, Member
from severable_trust.digest import Digest, FileDigest
from severable_trust.errors import MalformedError, StatementError

MEMBERS = st.dictionaries(st.binary(max_size=4), st.floats(0.01, 100), min_size=1, max_size=5).map(
    lambda found: [Member(Digest.of(shard), weight) for shard, weight in found.items()]
)


def content(members: list[Member]) -> CompositeContent:
    router, scheduler = Digest.of(b"router"), Digest.of(b"scheduler")
    return CompositeContent(recipe=RECIPE, members=tuple(members), router=router, scheduler=scheduler)


@given(MEMBERS, st.randoms())
def test_the_order_of_members_does_not_matter(members: list[Member], random: Any) -> None:
    shuffled = list(members)
    random.shuffle(shuffled)
    assert content(shuffled) == content(members)
    assert content(shuffled).digest == content(members).digest


@given(MEMBERS, st.binary(min_size=5, max_size=6))
def test_leaving_a_member_out_gives_the_composite_that_never_had_it(members: list[Member], other: bytes) -> None:
    joined = content([*members, Member(Digest.of(other), 1.0)])
    left = content([member for member in joined.members if member.shard != Digest.of(other)])
    assert left.digest == content(members).digest
    assert joined.digest != left.digest


def test_every_part_of_the_content_changes_the_digest() -> None:
    members = [Member(Digest.of(b"a"), 1.0)]
    plain, other = content(members), Digest.of(b"other")
    changed = [
        replace(plain, recipe=other),
        replace(plain, router=other),
        replace(plain, scheduler=other),
        content([Member(Digest.of(b"a"), 2.0)]),
        content([Member(other, 1.0)]),
    ]
    assert len({value.digest for value in (plain, *changed)}) == 6


def test_the_digest_is_the_subject_and_holds_no_time() -> None:
    manifest = make_manifest({"a": b""})
    assert manifest.in_toto_subjects() == (("composite", manifest.content.digest),)
    assert replace(manifest, issued=NOON.replace(year=2027)).content.digest == manifest.content.digest


def test_a_composite_of_nothing_or_of_a_shard_twice_is_refused() -> None:
    with pytest.raises(StatementError, match="no member"):
        content([])
    with pytest.raises(StatementError, match="twice"):
        content([Member(RECIPE, 1.0), Member(RECIPE, 2.0)])


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_not_a_positive_number_is_refused(weight: float) -> None:
    with pytest.raises(StatementError, match="weight"):
        Member(RECIPE, weight)


def test_a_manifest_that_lists_no_file_or_one_twice_is_refused() -> None:
    manifest = make_manifest({"a": b""})
    with pytest.raises(StatementError, match="no file"):
        replace(manifest, files=())
    with pytest.raises(StatementError, match="twice"):
        replace(manifest, files=(*manifest.files, FileDigest.of("a", b"other")))


def test_a_manifest_of_an_odd_group_or_time_is_refused() -> None:
    manifest = make_manifest({"a": b""})
    with pytest.raises(StatementError, match="group"):
        replace(manifest, group="a b")
    with pytest.raises(MalformedError, match="UTC"):
        replace(manifest, issued=NOON.replace(microsecond=1))
