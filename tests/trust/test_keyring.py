"""Whose signature counts under a logged statement, and what is said when that cannot be known."""

from dataclasses import replace

from trust.log_samples import (
    COMPOSITE,
    CONTRACT,
    WholeLog,
    held,
    logged,
    refused,
    roster_after,
    verified,
)
from trust.samples import NOON, make_contract, make_roster

from severable_trust.entry import LoggedStatement
from severable_trust.errors import SignatureError, StatementError
from severable_trust.keys import PemSigner
from severable_trust.log_bundle import LogBundle, Tally
from severable_trust.roster import PartyStatus
from severable_trust.rotation import KeyRotation
from severable_trust.statement import Kind, sign_statement


def test_a_statement_signed_by_somebody_else_than_it_must_be_is_refused(log: WholeLog) -> None:
    federation, keys = log.federation, log.federation.keys
    rotation = KeyRotation(party="alice", previous=keys.alice.public_key, next=log.next_key.public_key, issued=NOON)
    contract = make_contract(keys)
    manifest = held(log.entries[COMPOSITE])
    cases = (
        (Kind.SHARD, sign_statement(federation.claim.value, keys.bob), SignatureError, "signed by bob"),
        (Kind.SHARD, sign_statement(federation.claim.value, keys.coordinator), SignatureError, "signed by hub"),
        (Kind.SHARD, sign_statement(federation.claim.value, keys.alice, keys.bob), SignatureError, "signed by bob"),
        (Kind.SHARD, sign_statement(federation.claim.value, keys.alice, log.next_key), SignatureError, "exactly"),
        (Kind.ERASURE_REQUEST, sign_statement(federation.request.value, keys.bob), SignatureError, "signed by bob"),
        (Kind.RECEIPT, sign_statement(federation.receipt.value, keys.alice), SignatureError, "must be signed by hub"),
        (Kind.COMPOSITE, manifest.countersigned(keys.bob), SignatureError, "signed by bob"),
        (Kind.KEY_ROTATION, sign_statement(rotation, keys.alice), SignatureError, "exactly"),
        (Kind.CONTRACT, sign_statement(contract, keys.coordinator), SignatureError, "1 of the 2"),
        (Kind.CONTRACT, sign_statement(contract, keys.bob, keys.coordinator), StatementError, "exactly the two"),
        (Kind.ROSTER, sign_statement(make_roster(keys), keys.alice), SignatureError, "unknown key"),
    )
    for kind, envelope, error, why in cases:
        refused(log, log.of(logged(kind, envelope)), error, why)


def test_a_contract_or_receipt_in_another_name_is_refused(log: WholeLog) -> None:
    federation, keys, usual = log.federation, log.federation.keys, make_contract(log.federation.keys)
    for contract, why in (
        (replace(usual, assigner=replace(usual.assigner, id="bob")), "names bob, signed by alice"),
        (replace(usual, assignee=replace(usual.assignee, id="other")), "names other, signed by hub"),
    ):
        agreed = logged(Kind.CONTRACT, sign_statement(contract, keys.alice, keys.coordinator))
        refused(log, log.of(agreed), StatementError, why)
    receipt = sign_statement(replace(federation.receipt.value, publisher="other"), keys.coordinator)
    refused(log, log.of(logged(Kind.RECEIPT, receipt)), StatementError, "publisher is other")


def test_an_entry_of_another_kind_than_its_statement_is_refused(log: WholeLog) -> None:
    mislabelled = logged(Kind.COMPOSITE, log.federation.receipt.envelope)
    refused(log, log.of(mislabelled), StatementError, "predicate type")


def test_a_key_that_went_from_one_party_to_another_is_refused(log: WholeLog) -> None:
    usual = make_roster(log.federation.keys)
    alice, bob = usual.parties
    exchanged = replace(alice, statement_key=bob.statement_key)
    older = replace(usual, parties=(exchanged, replace(bob, statement_key=PemSigner.generate().public_key)))
    swapped = logged(Kind.ROSTER, sign_statement(older, log.federation.keys.coordinator))
    refused(log, log.of(swapped), StatementError, "is bob's and alice's")


def test_what_a_party_signed_still_counts_once_it_was_revoked(log: WholeLog) -> None:
    coordinator = log.federation.keys.coordinator
    after = roster_after(log.federation, log.next_key, log.witness)
    alice, bob = after.parties
    out = replace(after, version=3, parties=(replace(alice, status=PartyStatus.REVOKED), bob))
    revoked = logged(Kind.ROSTER, sign_statement(out, coordinator))
    every = (*log.entries, revoked)
    found = verified(log, LogBundle(checkpoint=log.note(every), roster=held(revoked), entries=every))
    assert found.total == Tally(entries=10, verified=9, erased=1)


def peers(log: WholeLog) -> LoggedStatement:
    """A contract between alice and another coordinator, whose key no roster of this log names."""
    peer, usual = PemSigner.generate(), make_contract(log.federation.keys)
    theirs = replace(usual, assignee=replace(usual.assignee, id="peer", key_id=peer.public_key.key_id))
    return logged(Kind.CONTRACT, sign_statement(theirs, log.federation.keys.alice, peer))


def test_a_peers_statement_is_counted_as_unverifiable_and_never_as_verified(log: WholeLog) -> None:
    found = verified(log, log.of(log.entries[CONTRACT], peers(log)))
    assert found.unverifiable == (1,)
    assert dict(found.tallies)[Kind.CONTRACT] == Tally(entries=2, verified=1, unverifiable=1)


def test_a_roster_by_an_unknown_key_makes_no_key_known(log: WholeLog) -> None:
    stranger, usual = PemSigner.generate(), make_roster(log.federation.keys)
    mallory = replace(usual.parties[0], id="mallory", statement_key=stranger.public_key)
    forged = logged(Kind.ROSTER, sign_statement(replace(usual, parties=(mallory,)), stranger))
    claim = logged(Kind.SHARD, sign_statement(replace(log.federation.claim.value, party="mallory"), stranger))
    assert verified(log, log.of(forged, claim)).unverifiable == (0, 1)


def test_a_wrong_signature_of_a_known_key_is_refused_beside_an_unknown_one(log: WholeLog) -> None:
    contract, alice = peers(log), log.federation.keys.alice.public_key.key_id
    wrong = sign_statement(log.federation.claim.value, log.federation.keys.alice).signatures[0]
    listed = tuple(wrong if s.key_id == alice else s for s in held(contract).signatures)
    forged = replace(contract, envelope=replace(held(contract), signatures=listed))
    refused(log, log.of(forged), SignatureError, "is wrong")


def test_an_unverifiable_statement_is_still_held_to_its_kind(log: WholeLog) -> None:
    contract = peers(log)
    mislabelled = logged(Kind.SHARD, held(contract))
    refused(log, log.of(mislabelled), StatementError, "predicate type")
