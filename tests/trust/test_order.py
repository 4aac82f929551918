"""Removals that the coordinator ordered: accepted where the contract says so alone, by program and script alike."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trust.by_hand import VECTORS, check_accepted, check_refused
from trust.log_samples import WholeLog, logged, refused, verified
from trust.samples import Federation, at, make_contract, make_order, ordered, prove

from severable_trust.bundle import TrustRoot, verify_receipt
from severable_trust.contract import Contract
from severable_trust.denial import Denial, DenialReason
from severable_trust.errors import SignatureError, StatementError
from severable_trust.order import REASONS, OrderClause, OrderReason, RemovalOrder, read_trigger
from severable_trust.statement import Kind, sign_statement

C, R = OrderClause, OrderReason


def order_under(federation: Federation, contract: Contract, **changes: Any) -> tuple[RemovalOrder, dict[str, Any]]:
    """An order that rests on this contract, and the contract as both sides signed it."""
    agreed = prove(contract, federation.keys.alice, federation.keys.coordinator)
    return replace(make_order(agreed.id, federation.claim.id), **changes), {"contract": agreed.envelope}


def allowing(federation: Federation, *triggers: str) -> Contract:
    """The usual contract with other triggers, over at one o'clock."""
    usual = make_contract(federation.keys)
    return replace(usual, valid_until=at(13), deletion=replace(usual.deletion, triggers=triggers))


def test_a_removal_that_the_coordinator_ordered_is_verified_and_says_so(federation: Federation, tmp_path: Path) -> None:
    bundle = ordered(federation)
    said = verify_receipt(bundle.to_bytes(), federation.root).request.value
    assert isinstance(said, RemovalOrder)
    assert read_trigger(bundle.request) == said
    check_accepted(tmp_path, bundle.to_bytes(), federation.root)


def test_the_ordered_receipt_of_the_vectors_is_verified_by_program_and_script(tmp_path: Path) -> None:
    root = TrustRoot.parse((VECTORS / "trust-root-v1.json").read_bytes())
    check_accepted(tmp_path, (VECTORS / "receipt-ordered-v1.json").read_bytes(), root)


@pytest.mark.parametrize("clause", list(C))
@pytest.mark.parametrize("allowed", [True, False])
def test_an_order_counts_where_the_contract_names_its_clause_and_nowhere_else(
    federation: Federation, tmp_path: Path, clause: OrderClause, allowed: bool
) -> None:
    triggers = ["request", *(other for other in C if (other is clause) is allowed)]
    order, agreed = order_under(
        federation, allowing(federation, *triggers), clause=clause, reason_code=REASONS[clause][0]
    )
    data = ordered(federation, order, **agreed).to_bytes()
    if allowed:
        check_accepted(tmp_path, data, federation.root)
    else:
        check_refused(tmp_path, data, federation.root, "starts no deletion")


def test_an_order_by_expiry_before_the_end_of_the_term_is_refused(federation: Federation, tmp_path: Path) -> None:
    early = {"clause": C.EXPIRY, "reason_code": R.CONTRACT_EXPIRED, "submitted": at(12)}
    order, agreed = order_under(federation, allowing(federation, "expiry"), **early)
    check_refused(tmp_path, ordered(federation, order, **agreed).to_bytes(), federation.root, "term")


@pytest.mark.parametrize("forger", ["alice", "bob"])
def test_an_order_that_another_than_the_coordinator_signed_is_refused(
    federation: Federation, tmp_path: Path, forger: str
) -> None:
    data = ordered(federation, signer=getattr(federation.keys, forger)).to_bytes()
    with pytest.raises(SignatureError):
        verify_receipt(data, federation.root)
    check_refused(tmp_path, data, federation.root, "request")


def test_a_request_that_the_coordinator_made_up_for_the_party_is_refused(
    federation: Federation, tmp_path: Path
) -> None:
    forged = sign_statement(federation.request.value, federation.keys.coordinator)
    check_refused(tmp_path, replace(federation.bundle(), request=forged).to_bytes(), federation.root, "request")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"publisher": "other"}, "order's publisher|another coordinator"),
        ({"party": "bob"}, "request's party|another party"),
        ({"submitted": at(20)}, "before its request"),
    ],
)
def test_an_order_of_another_coordinator_or_party_or_time_is_refused(
    federation: Federation, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    order = replace(make_order(federation.contract.id, federation.claim.id), **change)
    check_refused(tmp_path, ordered(federation, order).to_bytes(), federation.root, f"(?:{why})")


@pytest.mark.parametrize("clause", list(C))
@pytest.mark.parametrize("reason", list(R))
def test_a_reason_belongs_to_one_clause(federation: Federation, clause: OrderClause, reason: OrderReason) -> None:
    def made() -> RemovalOrder:
        return replace(make_order(federation.contract.id), clause=clause, reason_code=reason)

    if reason in REASONS[clause]:
        assert made().reason_code is reason
    else:
        with pytest.raises(StatementError, match="must be one of"):
            made()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"clause": "whim"}, "none of expiry"),
        ({"reason_code": "whim"}, "none of contract-expired"),
        ({"clause": C.BREACH, "reason_code": R.TERMS_NOT_KEPT, "evidence": " "}, "evidence of a breach is empty"),
        ({"request_id": "1"}, "not a UUID"),
        ({"publisher": "alice"}, "are the same"),
    ],
)
def test_an_order_says_nothing_outside_its_lists(federation: Federation, change: dict[str, Any], why: str) -> None:
    with pytest.raises(StatementError, match=why):
        replace(make_order(federation.contract.id), **change)


def _order(federation: Federation, **changes: Any) -> RemovalOrder:
    return replace(make_order(federation.contract.id, federation.claim.id), **changes)


def _denial(federation: Federation, **changes: Any) -> Denial:
    usual = Denial(
        request=federation.request.id,
        publisher="hub",
        party="alice",
        reason_code=DenialReason.OTHER,
        reason="as the words say",
        decided=at(14),
    )
    return replace(usual, **changes)


@pytest.mark.parametrize(("kind", "make"), [(Kind.REMOVAL_ORDER, _order), (Kind.DENIAL, _denial)])
def test_orders_and_denials_in_a_log_are_the_coordinators_own(
    log: WholeLog, kind: Kind, make: Callable[..., RemovalOrder | Denial]
) -> None:
    keys = log.federation.keys
    good = logged(kind, sign_statement(make(log.federation), keys.coordinator))
    assert dict(verified(log, log.of(*log.entries[:-1], good)).tallies)[kind].verified == 1
    forged = logged(kind, sign_statement(make(log.federation), keys.alice))
    refused(log, log.of(forged), SignatureError, "must be signed by hub")
    foreign = logged(kind, sign_statement(make(log.federation, publisher="other"), keys.coordinator))
    refused(log, log.of(foreign), StatementError, "publisher is other")


def test_a_denial_gives_a_reason_of_the_list_and_words(federation: Federation) -> None:
    for change, why in (({"reason_code": "whim"}, "none of already-erased"), ({"reason": ""}, "reason is empty")):
        with pytest.raises(StatementError, match=why):
            _denial(federation, **change)
    assert {reason.state for reason in DenialReason} == {"denied", "expired"}
