"""Amendments: what follows from what, and what a change means for the coordinator's rights."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from trust.samples import RECIPE, Federation, make_contract, prove

from severable_trust.amendment import Direction, changes, describe_changes, require_successor
from severable_trust.contract import Action, Contract
from severable_trust.digest import Digest
from severable_trust.errors import ContractError

OTHER = Digest.of(b"other")


def following(federation: Federation, **fields: Any) -> Contract:
    usual: dict[str, Any] = {"version": 2, "previous": federation.contract.id}
    return replace(make_contract(federation.keys), **(usual | fields))


def test_the_next_version_of_the_same_contract_follows(federation: Federation) -> None:
    require_successor(federation.contract, following(federation, notice_days=60))


def test_versions_chain_over_more_than_two(federation: Federation) -> None:
    second = prove(following(federation, notice_days=60), federation.keys.alice, federation.keys.coordinator)
    third = replace(second.value, version=3, previous=second.id, notice_days=90)
    require_successor(second, third)
    with pytest.raises(ContractError, match="does not follow"):
        require_successor(federation.contract, third)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"uid": "another"}, "another contract"),
        ({"version": 3}, "does not follow"),
        ({"previous": OTHER}, "does not follow"),
    ],
)
def test_what_does_not_follow_is_refused(federation: Federation, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ContractError, match=why):
        require_successor(federation.contract, following(federation, **fields))


def test_an_amendment_is_between_the_same_sides_whose_keys_may_have_changed(federation: Federation) -> None:
    contract = following(federation)
    rotated = replace(contract.assigner, key_id="ab" * 32)
    require_successor(federation.contract, replace(contract, assigner=rotated))
    stranger = replace(contract.assigner, id="mallory")
    with pytest.raises(ContractError, match="other sides"):
        require_successor(federation.contract, replace(contract, assigner=stranger))


def judged(federation: Federation, **fields: Any) -> list[tuple[str, Direction]]:
    after = following(federation, **fields)
    return [(change.field, change.direction) for change in changes(federation.contract.value, after)]


def test_nothing_but_the_number_may_change(federation: Federation) -> None:
    assert judged(federation) == []
    assert "changes nothing" in describe_changes(federation.contract.value, following(federation))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"permissions": tuple(Action)}, ("permissions", Direction.WIDENS)),
        ({"permissions": (Action.TRAIN,)}, ("permissions", Direction.NARROWS)),
        ({"permissions": (Action.TRAIN, Action.DISTRIBUTE)}, ("permissions", Direction.CHANGES)),
        ({"recipients": ("public", "press")}, ("recipients", Direction.WIDENS)),
        ({"recipes": (RECIPE, OTHER)}, ("recipes", Direction.WIDENS)),
        ({"apps": ()}, ("apps", Direction.NARROWS)),
        ({"notice_days": 31}, ("notice_days", Direction.WIDENS)),
        ({"notice_days": 0}, ("notice_days", Direction.NARROWS)),
        ({"weight": 2.0}, ("weight", Direction.CHANGES)),
        ({"target": "letters"}, ("target", Direction.CHANGES)),
        ({"governing_law": "France"}, ("governing_law", Direction.CHANGES)),
    ],
)
def test_a_change_says_whether_the_coordinator_gains_or_loses(
    federation: Federation, fields: dict[str, Any], expected: tuple[str, Direction]
) -> None:
    assert judged(federation, **fields) == [expected]


def test_terms_limits_and_duties_are_judged_part_by_part(federation: Federation) -> None:
    before = federation.contract.value
    assert judged(federation, valid_until=before.valid_until + timedelta(days=1)) == [("valid_until", Direction.WIDENS)]
    assert judged(federation, valid_from=before.valid_from + timedelta(days=1)) == [("valid_from", Direction.NARROWS)]
    limits = replace(before.limits, min_images=5, memorization_ceiling=0.01)
    assert judged(federation, limits=limits) == [
        ("min_images", Direction.WIDENS), ("memorization_ceiling", Direction.NARROWS)
    ]  # fmt: skip
    duty = replace(before.deletion, deadline_days=8, scope=("shard",), triggers=("request", "termination", "expiry"))
    assert judged(federation, deletion=duty) == [
        ("deadline_days", Direction.WIDENS), ("scope", Direction.WIDENS), ("triggers", Direction.NARROWS)
    ]  # fmt: skip


def test_another_division_of_the_records_is_named(federation: Federation) -> None:
    before = federation.contract.value
    after = replace(before, version=2, previous=federation.contract.id, limits=replace(before.limits, sub_shards=8))
    (change,) = changes(before, after)
    assert (change.field, change.before, change.after) == ("sub_shards", "none", "8")
    assert "changed: sub shards: none becomes 8." in describe_changes(before, after)


def test_what_widens_the_coordinators_rights_is_said_first(federation: Federation) -> None:
    after = following(federation, notice_days=0, permissions=tuple(Action), weight=2.0)
    lines = describe_changes(federation.contract.value, after).splitlines()
    assert lines[0] == "Version 2 against version 1:"
    assert lines[1].startswith("WIDER for the coordinator: permissions: train, compose, infer becomes train, compose")
    assert lines[2] == "narrower for the coordinator: notice days: 30 becomes 0."
    assert lines[3] == "changed: weight: 1.5 becomes 2.0."
