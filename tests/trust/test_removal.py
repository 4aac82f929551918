from dataclasses import replace
from typing import Any

import pytest
from trust.samples import NOON, Federation, at, make_receipt, make_request

from severable_trust.digest import Digest
from severable_trust.errors import MalformedError, StatementError
from severable_trust.removal import (
    RECORDS,
    Acknowledgement,
    Check,
    CompositeChange,
    ErasureAction,
    Residual,
    Retained,
)

A, B, CONTRACT = Digest.of(b"a"), Digest.of(b"b"), Digest.of(b"contract")


def test_the_order_of_shards_in_a_request_or_receipt_does_not_matter() -> None:
    assert make_request(CONTRACT, A, B) == make_request(CONTRACT, B, A)
    assert make_receipt(A, CONTRACT, A, B).subjects == make_receipt(A, CONTRACT, B, A).subjects


def test_a_request_may_name_no_shard_for_all_of_them() -> None:
    assert make_request(CONTRACT).subjects == ()
    assert make_request(CONTRACT).in_toto_subjects() == (("contract", CONTRACT),)


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "1"},
        {"request_id": "8D7F9A52-0E0B-4C57-9A1B-0A2F6D1C7E11"},
        {"request_id": "{8d7f9a52-0e0b-4c57-9a1b-0a2f6d1c7e11}"},
        {"request_id": "8d7f9a520e0b4c579a1b0a2f6d1c7e11"},
        {"party": ""},
        {"clause": ""},
        {"reason_code": " "},
        {"subjects": (A, A)},
    ],
)
def test_a_request_with_a_field_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(StatementError):
        replace(make_request(CONTRACT, A), **change)


def test_a_request_about_records_names_the_shards(federation: Federation) -> None:
    contract = federation.contract.id
    named = replace(make_request(contract, Digest.of(b"a shard")), clause=RECORDS)
    assert named.clause == "record-erasure"
    with pytest.raises(StatementError, match="names the shards"):
        replace(named, subjects=())


def test_a_completion_before_the_request_arrived_is_refused() -> None:
    assert Acknowledgement(request=A, received=NOON, expected_completion=NOON).received == NOON
    with pytest.raises(StatementError, match="before"):
        Acknowledgement(request=A, received=NOON, expected_completion=at(11))


def test_a_receipt_whose_shard_no_action_erased_is_refused() -> None:
    with pytest.raises(StatementError, match="no action erased it"):
        replace(make_receipt(CONTRACT, CONTRACT, A), actions=())


def test_a_receipt_issued_before_its_own_actions_or_checks_is_refused() -> None:
    receipt = make_receipt(CONTRACT, CONTRACT, A)
    with pytest.raises(StatementError, match="later than the receipt"):
        replace(receipt, issued=at(13))
    with pytest.raises(StatementError, match="later than the receipt"):
        replace(receipt, checks=(Check("check", "holds", at(16)),))


@pytest.mark.parametrize(
    "change",
    [
        {"receipt_id": ""},
        {"publisher": "a b"},
        {"party": "/"},
        {"outcome": ""},
        {"subjects": (A, A)},
    ],
)
def test_a_receipt_with_a_field_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(StatementError):
        replace(make_receipt(CONTRACT, CONTRACT, A), **change)


def test_one_access_group_changes_once() -> None:
    receipt = make_receipt(CONTRACT, CONTRACT, A)
    with pytest.raises(StatementError, match="twice"):
        replace(receipt, composites=receipt.composites * 2)


def change(**fields: Any) -> CompositeChange:
    usual = {"group": "g", "before": A, "after": B, "router_before": A, "router_after": B, "status": "rebuilt"}
    return CompositeChange(**{**usual, **fields})


def test_a_composite_is_rebuilt_with_new_digests_or_retired_without() -> None:
    assert change().status == "rebuilt"
    assert change(after=None, router_after=None, status="retired").after is None


@pytest.mark.parametrize(
    "fields",
    [
        {"after": None},
        {"router_after": None},
        {"status": "retired"},
        {"status": "retired", "after": None},
        {"status": "kept"},
        {"after": A},
        {"group": ""},
    ],
)
def test_a_composite_change_that_contradicts_itself_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(StatementError):
        change(**fields)


def test_empty_words_are_refused() -> None:
    for make in (
        lambda: ErasureAction(artifact="", digest=A, kind="Erase", method="unlink", at=NOON),
        lambda: ErasureAction(artifact="shard", digest=A, kind="Erase", method=" ", at=NOON),
        lambda: Check("", "holds", NOON),
        lambda: Check("check", "", NOON),
        lambda: Residual("what", "why", ""),
        lambda: Retained("what", ""),
    ):
        with pytest.raises(StatementError, match="empty"):
            make()


def test_a_time_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(MalformedError):
        Check("check", "holds", NOON.replace(tzinfo=None))
