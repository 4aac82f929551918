"""What an owner believes of a coordinator's listing, and what signing changes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from client.memory_coordinator import MemoryCoordinator
from client.samples import APP, NOON, RECIPE, RECIPE_BYTES, Federation, holdings_of, item, tiny_recipe

from severable_client.adapters.memory import MemoryContractStore
from severable_client.adapters.recipe_words import describe_recipe
from severable_client.contracts import (
    Holdings,
    amended,
    find,
    open_contract,
    permit,
    permitted_apps,
    receive,
    refresh,
    sign_contract,
    versions,
)
from severable_client.errors import ContractProblemError, RefusedByCoordinatorError, UnreachableError
from severable_client.exchange import ContractItem, ContractListing
from severable_client.ports import ContractRecord
from severable_trust.contract import ContractState
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.keys import PemSigner
from severable_trust.statement import sign_statement, statement_id


@dataclass
class Listing(MemoryCoordinator):
    """A coordinator in memory that lists contracts and takes signatures."""

    items: tuple[ContractItem, ...] = ()
    on_sign: Callable[[], str] = field(default=lambda: "active")
    signed: list[bytes] = field(default_factory=list)

    def contracts(self) -> ContractListing:
        return ContractListing(self.items, b"")

    def sign_contract(self, envelope: bytes) -> str:
        self.signed.append(envelope)
        return self.on_sign()


def test_an_offer_is_kept_with_its_recipe(federation: Federation) -> None:
    holdings = holdings_of(federation)
    record = receive(item(federation.offer(), "offered", RECIPE_BYTES), holdings)
    assert record.state is ContractState.OFFERED
    assert holdings.contracts.get(record.id) == record
    assert holdings.recipes.get(str(RECIPE)) == RECIPE_BYTES


def test_a_recipe_that_no_contract_names_is_not_kept(federation: Federation) -> None:
    holdings = holdings_of(federation)
    receive(item(federation.offer(), "offered", RECIPE_BYTES, b"stray"), holdings)
    assert holdings.recipes.get(str(Digest.of(b"stray"))) is None


def test_an_offer_without_its_recipe_is_refused(federation: Federation) -> None:
    with pytest.raises(ContractProblemError, match="was not sent"):
        receive(item(federation.offer(), "offered"), holdings_of(federation))


def test_an_offer_by_a_stranger_is_refused(federation: Federation) -> None:
    stranger = sign_statement(federation.contract(), PemSigner.generate())
    with pytest.raises(ContractProblemError, match="unknown key"):
        receive(item(stranger, "offered", RECIPE_BYTES), holdings_of(federation))


def test_an_offer_to_another_party_is_refused(federation: Federation) -> None:
    other = federation.contract(owner=PemSigner.generate().public_key)
    with pytest.raises(ContractProblemError, match="made out to"):
        receive(item(federation.offer(other), "offered", RECIPE_BYTES), holdings_of(federation))


def test_a_contract_under_another_id_is_refused(federation: Federation) -> None:
    listed = replace(item(federation.offer(), "offered", RECIPE_BYTES), id="sha256:" + "0" * 64)
    with pytest.raises(ContractProblemError, match="another id"):
        receive(listed, holdings_of(federation))


def test_the_coordinator_cannot_bring_an_unsigned_contract_to_life(federation: Federation) -> None:
    holdings = holdings_of(federation)
    record = receive(item(federation.offer(), "active", RECIPE_BYTES), holdings)
    assert record.state is ContractState.OFFERED
    assert permitted_apps(holdings.sides, holdings.contracts, NOON) == frozenset()


def test_the_coordinator_can_end_a_contract_but_not_revive_it(federation: Federation) -> None:
    holdings = holdings_of(federation)
    signed = federation.signed()
    assert receive(item(signed, "active", RECIPE_BYTES), holdings).state is ContractState.ACTIVE
    assert receive(item(signed, "terminated", RECIPE_BYTES), holdings).state is ContractState.TERMINATED
    assert receive(item(signed, "active", RECIPE_BYTES), holdings).state is ContractState.TERMINATED


def test_a_copy_without_our_signature_does_not_replace_the_signed_one(federation: Federation) -> None:
    holdings, contract = holdings_of(federation), federation.contract()
    offer = federation.offer(contract)
    signed = offer.countersigned(federation.owner)
    receive(item(signed, "active", RECIPE_BYTES), holdings)
    kept = receive(item(offer, "active", RECIPE_BYTES), holdings)
    assert kept.envelope == signed.to_bytes()
    assert kept.state is ContractState.ACTIVE


def test_signing_sends_both_signatures_and_keeps_the_state_that_comes_back(federation: Federation) -> None:
    holdings, coordinator = holdings_of(federation), Listing()
    record = receive(item(federation.offer(), "offered", RECIPE_BYTES), holdings)
    kept = sign_contract(record, federation.owner, coordinator, holdings)
    assert kept.state is ContractState.ACTIVE
    assert coordinator.signed == [kept.envelope]
    assert permit(record.id, holdings.sides, holdings.contracts, NOON, recipe=str(RECIPE)) == federation.contract()
    assert [entry.what for entry in holdings.journal.all()] == ["signed contract"]
    with pytest.raises(ContractProblemError, match="not on offer"):
        sign_contract(kept, federation.owner, coordinator, holdings)


@pytest.mark.parametrize("error", [UnreachableError("no answer"), RefusedByCoordinatorError("NOT_FOUND", "no")])
def test_a_signature_that_does_not_arrive_changes_nothing(federation: Federation, error: Exception) -> None:
    def fail() -> str:
        raise error

    holdings = holdings_of(federation)
    record = receive(item(federation.offer(), "offered", RECIPE_BYTES), holdings)
    with pytest.raises(type(error)):
        sign_contract(record, federation.owner, Listing(on_sign=fail), holdings)
    assert holdings.contracts.get(record.id) == record


def test_refreshing_keeps_what_holds_and_tells_what_does_not(federation: Federation) -> None:
    holdings, problems = holdings_of(federation), list[str]()
    stranger = sign_statement(federation.contract(uid="urn:example:2"), PemSigner.generate())
    items = (item(stranger, "offered", RECIPE_BYTES), item(federation.offer(), "offered", RECIPE_BYTES))
    (kept,) = refresh(Listing(items=items), holdings, problems.append)
    assert kept.id == items[1].id
    assert len(problems) == 1


def test_only_contracts_in_force_name_bundles(federation: Federation) -> None:
    holdings = holdings_of(federation)
    record = receive(item(federation.signed(), "signed", RECIPE_BYTES), holdings)
    assert permitted_apps(holdings.sides, holdings.contracts, NOON) == {APP.hex}
    assert permitted_apps(holdings.sides, holdings.contracts, NOON + timedelta(days=30)) == frozenset()
    holdings.contracts.put(replace(record, state=ContractState.SUSPENDED))
    assert permitted_apps(holdings.sides, holdings.contracts, NOON) == frozenset()


def test_contracts_are_found_by_their_first_digits_unless_two_share_them() -> None:
    store = MemoryContractStore()
    for digits in ("aaaa1" + "0" * 59, "aaaa2" + "0" * 59):
        store.put(ContractRecord(id=f"sha256:{digits}", envelope=b"", state=ContractState.OFFERED))
    assert find("aaaa1", store).id.startswith("sha256:aaaa1")
    for unclear in ("aaaa", "bbbb", "aa", ""):
        with pytest.raises(ContractProblemError):
            find(unclear, store)


def amendment(federation: Federation, **changes: Any) -> Envelope:
    """The second version of the contract that `federation.signed()` signs."""
    usual: dict[str, Any] = {"version": 2, "previous": statement_id(federation.signed())}
    return federation.offer(federation.contract(**(usual | changes)))


def holding_the_first(federation: Federation) -> Holdings:
    holdings = holdings_of(federation)
    receive(item(federation.signed(), "active", RECIPE_BYTES), holdings)
    return holdings


def test_an_amendment_of_the_version_that_is_held_is_signed_and_the_earlier_one_ends(federation: Federation) -> None:
    holdings, offer = holding_the_first(federation), amendment(federation, notice_days=30)
    record = receive(item(offer, "offered", RECIPE_BYTES), holdings)
    before = amended(open_contract(record.envelope, holdings.sides), holdings)
    assert before == federation.contract()
    signed = sign_contract(record, federation.owner, Listing(), holdings)
    assert signed.state is ContractState.ACTIVE
    first = federation.signed()
    receive(item(first, "superseded", RECIPE_BYTES), holdings)
    with pytest.raises(ContractProblemError, match="superseded, not active"):
        permit(str(statement_id(first)), holdings.sides, holdings.contracts, NOON)
    assert versions(signed, holdings.contracts) == (signed.id, str(statement_id(first)))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"previous": Digest.of(b"something else")}, "does not hold"),
        ({"uid": "urn:example:another"}, "another contract"),
        ({"version": 3}, "does not follow"),
    ],
)
def test_an_amendment_that_does_not_follow_from_what_is_held_is_not_signed(
    federation: Federation, changes: dict[str, object], why: str
) -> None:
    holdings, coordinator = holding_the_first(federation), Listing()
    record = receive(item(amendment(federation, **changes), "offered", RECIPE_BYTES), holdings)
    with pytest.raises(ContractProblemError, match=why):
        sign_contract(record, federation.owner, coordinator, holdings)
    assert coordinator.signed == []


def test_an_amendment_of_a_version_that_this_party_never_signed_or_that_ended_is_not_signed(
    federation: Federation,
) -> None:
    never, ended = holdings_of(federation), holding_the_first(federation)
    receive(item(federation.offer(), "offered", RECIPE_BYTES), never)
    receive(item(federation.signed(), "terminated", RECIPE_BYTES), ended)
    for holdings in (never, ended):
        record = receive(item(amendment(federation), "offered", RECIPE_BYTES), holdings)
        with pytest.raises(ContractProblemError, match="not in force"):
            sign_contract(record, federation.owner, Listing(), holdings)


def test_a_recipe_that_holds_images_out_says_so_before_it_is_signed() -> None:
    told = describe_recipe(tiny_recipe(held_out=0.1, check_every=50, patience=4))
    assert "Held out: 10% of your images are never trained on; they are asked every 50 steps, and 4 answers" in told
    assert "Held out" not in describe_recipe(tiny_recipe())
