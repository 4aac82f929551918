from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from trust.samples import APP, NOON, RECIPE, Federation, Keys, make_contract

from severable_trust.contract import (
    TRANSITIONS,
    Action,
    Contract,
    ContractEvent,
    ContractState,
    DeletionDuty,
    Limits,
    PartyRef,
    advance,
    describe,
    require,
)
from severable_trust.digest import Digest
from severable_trust.errors import ContractError, MalformedError, StatementError

FINAL = {ContractState.SUPERSEDED, ContractState.EXPIRED, ContractState.TERMINATED, ContractState.BREACHED}


@pytest.mark.parametrize(("state", "event"), list(product(ContractState, ContractEvent)))
def test_a_contract_moves_exactly_as_the_table_says(state: ContractState, event: ContractEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(ContractError, match=f"{state} cannot {event}"):
            advance(state, event)


def test_final_states_have_no_way_out_and_every_other_state_has_one() -> None:
    assert {state for state, _ in TRANSITIONS} == set(ContractState) - FINAL


def test_every_state_can_be_reached_from_an_offer() -> None:
    reached = {ContractState.OFFERED}
    for _ in ContractState:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
    assert reached == set(ContractState)


def test_an_active_contract_in_its_term_permits_what_it_says(keys: Keys) -> None:
    contract = make_contract(keys)
    for action in contract.permissions:
        require(contract, ContractState.ACTIVE, action, NOON, recipe=RECIPE, app=APP)


@pytest.mark.parametrize("state", sorted(set(ContractState) - {ContractState.ACTIVE}))
def test_a_contract_that_is_not_active_permits_nothing(keys: Keys, state: ContractState) -> None:
    for action in Action:
        with pytest.raises(ContractError, match=f"is {state}, not active"):
            require(make_contract(keys), state, action, NOON)


def test_the_term_includes_its_first_second_and_excludes_its_end(keys: Keys) -> None:
    contract, second = make_contract(keys), timedelta(seconds=1)
    for moment in (contract.valid_from, contract.valid_until - second):
        require(contract, ContractState.ACTIVE, Action.TRAIN, moment)
    for moment in (
        contract.valid_from - second,
        contract.valid_until,
        NOON.replace(year=2030),
        NOON.replace(year=2020),
    ):
        with pytest.raises(ContractError, match="out of term"):
            require(contract, ContractState.ACTIVE, Action.TRAIN, moment)


def test_an_action_a_recipe_or_a_bundle_that_is_not_named_is_not_permitted(keys: Keys) -> None:
    contract, other = make_contract(keys), Digest.of(b"other")
    with pytest.raises(ContractError, match="distribute"):
        require(contract, ContractState.ACTIVE, Action.DISTRIBUTE, NOON)
    with pytest.raises(ContractError, match="recipe"):
        require(contract, ContractState.ACTIVE, Action.TRAIN, NOON, recipe=other)
    with pytest.raises(ContractError, match="bundle"):
        require(contract, ContractState.ACTIVE, Action.TRAIN, NOON, app=other)


def test_a_contract_speaks_odrl(federation: Federation) -> None:
    plain = federation.contract.value.to_predicate()
    assert plain["@type"] == "odrl:Agreement"
    assert plain["permission"] == [{"action": "train"}, {"action": "compose"}, {"action": "infer"}]
    assert plain["obligation"][0]["action"] == "delete"
    assert plain["lambda"] == 1.5
    assert {"assigner", "assignee", "target"} <= set(plain)


@pytest.mark.parametrize(
    "change",
    [
        {"@type": "odrl:Offer"},
        {"permission": []},
        {"permission": [{"action": "sell"}]},
        {"permission": [{"action": "train"}, {"action": "train"}]},
        {"permission": [{"action": "train", "constraint": []}]},
        {"permission": "train"},
        {"obligation": []},
        {"obligation": [{"action": "delete"}]},
        {"obligation": None},
        {"lambda": 0},
        {"lambda": -1},
        {"lambda": "1"},
        {"weight": 1},
        {"permissions": ["train"]},
        {"deletion": {}},
        {"version": 0},
        {"version": 2},
        {"recipes": []},
        {"valid_until": "2026-06-01T00:00:00Z"},
        {"valid_until": "tomorrow"},
        {"notice_days": -1},
        {"target": " "},
    ],
)
def test_a_contract_with_a_wrong_term_is_refused(keys: Keys, change: dict[str, Any]) -> None:
    plain = {**make_contract(keys).to_predicate(), **change}
    with pytest.raises(StatementError):
        Contract.from_predicate(plain)


@pytest.mark.parametrize("name", ["@type", "permission", "obligation", "lambda", "assigner", "previous"])
def test_a_contract_without_a_term_is_refused(keys: Keys, name: str) -> None:
    plain = make_contract(keys).to_predicate()
    del plain[name]
    with pytest.raises(StatementError):
        Contract.from_predicate(plain)


def test_an_obligation_to_do_something_else_is_refused(keys: Keys) -> None:
    plain = make_contract(keys).to_predicate()
    plain["obligation"][0]["action"] = "archive"
    with pytest.raises(StatementError, match="delete"):
        Contract.from_predicate(plain)


def test_a_later_version_names_the_one_before(keys: Keys) -> None:
    later = replace(make_contract(keys), version=2, previous=Digest.of(b"first"))
    assert Contract.from_predicate(later.to_predicate()) == later
    with pytest.raises(StatementError, match="previous"):
        replace(later, previous=None)


def test_a_contract_with_oneself_is_refused(keys: Keys) -> None:
    contract = make_contract(keys)
    with pytest.raises(StatementError, match="the same"):
        replace(contract, assignee=contract.assigner)
    with pytest.raises(StatementError, match="the same"):
        replace(contract, assignee=replace(contract.assigner, id="hub"))


def test_a_time_without_a_zone_is_refused(keys: Keys) -> None:
    with pytest.raises(MalformedError):
        replace(make_contract(keys), valid_from=NOON.replace(tzinfo=None))


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 0.0, -0.5])
def test_a_weight_that_is_not_a_positive_number_is_refused(keys: Keys, weight: float) -> None:
    with pytest.raises(StatementError, match="lambda"):
        replace(make_contract(keys), weight=weight)


def test_limits_and_duties_out_of_range_are_refused() -> None:
    for images, ceiling in ((0, 0.5), (1, -0.1), (1, 1.1), (1, float("nan"))):
        with pytest.raises(StatementError):
            Limits(images, ceiling)
    for days, scope in ((-1, ("shard",)), (1, ()), (1, ("shard", "shard"))):
        with pytest.raises(StatementError):
            DeletionDuty(deadline_days=days, scope=scope, evidence="receipt", triggers=("request",))


@pytest.mark.parametrize("party_id", ["", "-a", "a b", "a/b", "../a", "a" * 64, "\u00e4", "a\n"])
def test_a_party_id_of_other_characters_is_refused(party_id: str) -> None:
    with pytest.raises(StatementError):
        PartyRef(party_id, "Name", "0" * 64)


@pytest.mark.parametrize("count", [0, 1, 65, -3])
def test_a_number_of_sub_shards_out_of_range_is_refused_and_one_is_left_out(count: int) -> None:
    with pytest.raises(StatementError, match="sub_shards"):
        Limits(min_images=1, memorization_ceiling=0.1, sub_shards=count)


def test_a_contract_that_divides_no_records_is_written_as_before(federation: Federation) -> None:
    contract = federation.contract.value
    assert contract.limits.shards == 1
    assert set(contract.to_predicate()["limits"]) == {"min_images", "memorization_ceiling"}
    divided = replace(contract, limits=replace(contract.limits, sub_shards=8))
    assert divided.to_predicate()["limits"]["sub_shards"] == 8
    assert Contract.from_predicate(divided.to_predicate()) == divided
    assert "divided over 8 sub-shards" in describe(divided)
    assert "sub-shard" not in describe(contract)


def test_the_description_states_every_term(federation: Federation) -> None:
    contract = federation.contract.value
    text = describe(contract)
    for term in (
        contract.uid,
        "Alice Ltd",
        "Hub AG",
        "'digits'",
        "train, compose, infer",
        "public",
        "2026-06-01T00:00:00Z",
        "2027-06-01T12:00:00Z",
        "30 days",
        "1.5",
        "at least 10 images",
        "2.00%",
        "within 7 days",
        "request, termination",
        str(RECIPE),
        str(APP),
        "Switzerland",
    ):
        assert term in text
    later = replace(contract, version=2, previous=Digest.of(b"first"))
    assert str(Digest.of(b"first")) in describe(later)
