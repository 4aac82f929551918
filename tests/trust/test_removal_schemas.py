"""The published schemas of orders and denials refuse what the package refuses, as far as a schema can say it."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from vectors import make

from severable_trust.denial import Denial
from severable_trust.errors import StatementError
from severable_trust.order import REASONS, OrderClause, OrderReason, RemovalOrder

VECTORS = Path(make.__file__).parent
FORMATS = VECTORS.parents[1] / "docs" / "formats"
ORDER, DENIAL = "removal-order", "denial"
KINDS: dict[str, type[RemovalOrder] | type[Denial]] = {ORDER: RemovalOrder, DENIAL: Denial}


def schema(kind: str) -> Draft202012Validator:
    loaded = json.loads((FORMATS / f"{kind}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(loaded)
    return Draft202012Validator(loaded)


def vector(kind: str) -> dict[str, Any]:
    vectors = json.loads((VECTORS / "statements.json").read_bytes())
    (predicate,) = [one["predicate"] for one in vectors if one["kind"] == kind]
    return dict(predicate)


@pytest.mark.parametrize("kind", KINDS)
def test_the_vector_fits_its_schema_and_no_field_may_be_missing_or_added(kind: str) -> None:
    usual = vector(kind)
    schema(kind).validate(usual)
    for changed in ({n: v for n, v in usual.items() if n != left} for left in usual):
        check_both_refuse(kind, changed)
    check_both_refuse(kind, usual | {"more": 1})


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (ORDER, {"request_id": "1"}),
        (ORDER, {"publisher": "a b"}),
        (ORDER, {"contract": "sha256:0"}),
        (ORDER, {"clause": "whim"}),
        (ORDER, {"reason_code": "whim"}),
        (ORDER, {"clause": "breach", "reason_code": "terms-not-kept", "evidence": ""}),
        (ORDER, {"submitted": "yesterday"}),
        (DENIAL, {"reason_code": "whim"}),
        (DENIAL, {"reason": " "}),
        (DENIAL, {"request": 1}),
        (DENIAL, {"decided": "2026-06-01"}),
    ],
)
def test_a_value_outside_its_range_is_refused_by_both(kind: str, change: dict[str, Any]) -> None:
    check_both_refuse(kind, vector(kind) | change)


@pytest.mark.parametrize("clause", list(OrderClause))
@pytest.mark.parametrize("reason", list(OrderReason))
def test_schema_and_package_pair_clauses_and_reasons_alike(clause: OrderClause, reason: OrderReason) -> None:
    value = vector(ORDER) | {"clause": clause.value, "reason_code": reason.value}
    assert schema(ORDER).is_valid(value) is (reason in REASONS[clause])


def check_both_refuse(kind: str, value: dict[str, Any]) -> None:
    assert not schema(kind).is_valid(value)
    with pytest.raises(StatementError):
        KINDS[kind].from_predicate(value)
