from dataclasses import replace

import pytest
from trust.samples import (
    LOG_NAME,
    NOON,
    Federation,
    at,
    make_contract,
    make_receipt,
    make_request,
    make_roster,
    prove,
)

from severable_trust.bundle import ReceiptBundle, verify_receipt
from severable_trust.canonical import decode, encode
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import LogError, MalformedError, SignatureError, StatementError, TrustError
from severable_trust.keys import PemSigner
from severable_trust.note import Checkpoint, KeyType, LogProof, LogSigner, cosign, sign_note
from severable_trust.removal import Receipt
from severable_trust.roster import PartyStatus
from severable_trust.statement import sign_statement


def test_a_bundle_is_verified_and_says_what_it_proves(federation: Federation) -> None:
    verified = verify_receipt(federation.bundle().to_bytes(), federation.root)
    assert verified.receipt == federation.receipt
    assert verified.request == federation.request
    assert verified.contract == federation.contract
    assert (verified.log_index, verified.tree_size) == (2, 4)


def test_a_bundle_survives_its_bytes(federation: Federation) -> None:
    data = federation.bundle().to_bytes()
    assert ReceiptBundle.parse(data) == federation.bundle()
    assert ReceiptBundle.parse(data).to_bytes() == data


def test_a_receipt_by_another_coordinator_is_refused(federation: Federation) -> None:
    other = replace(federation.root, coordinator_key=PemSigner.generate().public_key)
    with pytest.raises(SignatureError, match="unknown key"):
        verify_receipt(federation.bundle().to_bytes(), other)


def test_a_coordinator_of_another_name_is_refused(federation: Federation) -> None:
    with pytest.raises(StatementError, match="coordinator hub, not other"):
        verify_receipt(federation.bundle().to_bytes(), replace(federation.root, coordinator_id="other"))


def test_a_receipt_signed_by_the_party_itself_is_refused(federation: Federation) -> None:
    forged = sign_statement(federation.receipt.value, federation.keys.alice)
    check_refused(federation, SignatureError, "unknown key", receipt=forged, proof=federation.proof(forged))


def test_a_receipt_that_is_not_in_the_log_is_refused(federation: Federation) -> None:
    other = sign_statement(replace(federation.receipt.value, outcome="partial"), federation.keys.coordinator)
    check_refused(federation, LogError, "does not lead to the root", receipt=other)


def test_a_proof_at_another_index_is_refused(federation: Federation) -> None:
    check_refused(federation, LogError, "inclusion", proof=replace(federation.proof(), index=1))


def test_a_checkpoint_of_another_log_is_refused(federation: Federation) -> None:
    stranger = LogSigner.generate(LOG_NAME)
    proof = federation.proof()
    text = Checkpoint.parse(proof.checkpoint.partition("\n\n")[0] + "\n").text
    check_refused(federation, SignatureError, "known key", proof=replace(proof, checkpoint=sign_note(text, stranger)))


def test_a_checkpoint_with_a_line_of_a_stranger_is_refused(federation: Federation) -> None:
    proof = federation.proof()
    stranger = LogSigner.generate("stranger", KeyType.COSIGNATURE)
    noted = replace(proof, checkpoint=cosign(proof.checkpoint, stranger, NOON))
    check_refused(federation, SignatureError, "unknown key", proof=noted)


def test_a_checkpoint_must_be_cosigned_by_every_witness_of_the_trust_root(federation: Federation) -> None:
    witness = LogSigner.generate("alice.example", KeyType.COSIGNATURE)
    root = replace(federation.root, witnesses=(witness.vkey,))
    bundle = federation.bundle()
    with pytest.raises(LogError, match=r"not signed by alice\.example"):
        verify_receipt(bundle.to_bytes(), root)
    noted = replace(bundle.proof, checkpoint=cosign(bundle.proof.checkpoint, witness, NOON))
    assert verify_receipt(replace(bundle, proof=noted).to_bytes(), root).tree_size == 4


def test_a_roster_that_expired_before_the_receipt_is_refused(federation: Federation) -> None:
    roster = prove(replace(make_roster(federation.keys), expires=at(14)), federation.keys.coordinator)
    check_refused(federation, StatementError, "expired", roster=roster.envelope)


def test_a_receipt_still_counts_once_the_party_was_revoked(federation: Federation) -> None:
    roster = prove(make_roster(federation.keys, PartyStatus.REVOKED), federation.keys.coordinator)
    bundle = replace(federation.bundle(), roster=roster.envelope)
    assert verify_receipt(bundle.to_bytes(), federation.root).receipt == federation.receipt


def test_a_request_signed_by_another_party_is_refused(federation: Federation) -> None:
    request = sign_statement(federation.request.value, federation.keys.bob)
    check_refused(federation, SignatureError, "unknown key", request=request)


def test_a_request_that_the_receipt_does_not_answer_is_refused(federation: Federation) -> None:
    other = replace(federation.request.value, reason="another reason")
    check_refused(federation, StatementError, "receipt's request", request=sign_statement(other, federation.keys.alice))


def test_a_contract_that_only_one_side_signed_is_refused(federation: Federation) -> None:
    contract = sign_statement(federation.contract.value, federation.keys.coordinator)
    check_refused(federation, SignatureError, "1 of the 2", contract=contract)


def test_a_contract_other_than_the_receipts_is_refused(federation: Federation) -> None:
    other = replace(make_contract(federation.keys), uid="another")
    contract = sign_statement(other, federation.keys.alice, federation.keys.coordinator)
    check_refused(federation, StatementError, "receipt's contract", contract=contract)


def test_a_receipt_that_leaves_out_a_shard_of_the_request_is_refused(federation: Federation) -> None:
    second = Digest.of(b"second shard")
    request = prove(make_request(federation.contract.id, federation.claim.id, second), federation.keys.alice)
    value = make_receipt(request.id, federation.contract.id, federation.claim.id)
    check_receipt_refused(federation, value, "was asked for", request=request.envelope)


def test_a_receipt_issued_before_its_request_is_refused(federation: Federation) -> None:
    late = replace(federation.request.value, submitted=at(20))
    request = prove(late, federation.keys.alice)
    value = replace(federation.receipt.value, request=request.id)
    check_receipt_refused(federation, value, "before its request", request=request.envelope)


def test_a_receipt_published_under_another_name_is_refused(federation: Federation) -> None:
    check_receipt_refused(federation, replace(federation.receipt.value, publisher="bob"), "publisher is bob")


def test_a_receipt_for_another_partys_request_is_refused(federation: Federation) -> None:
    value = replace(federation.receipt.value, party="bob")
    receipt = sign_statement(value, federation.keys.coordinator)
    # The roster gives bob's key for the request, and alice signed it.
    check_refused(federation, SignatureError, "unknown key", receipt=receipt, proof=federation.proof(receipt))


def test_a_request_that_names_another_party_or_contract_is_refused(federation: Federation) -> None:
    usual = federation.request.value
    for request, why in (
        (replace(usual, party="bob"), "request's party is bob"),
        (replace(usual, contract=Digest.of(b"another")), "request's contract"),
    ):
        proven = prove(request, federation.keys.alice)
        value = replace(federation.receipt.value, request=proven.id)
        check_receipt_refused(federation, value, why, request=proven.envelope)


def test_a_contract_between_others_than_its_signers_is_refused(federation: Federation) -> None:
    keys, usual = federation.keys, make_contract(federation.keys)
    for contract, why in (
        (replace(usual, assigner=replace(usual.assigner, id="bob")), "contract's assigner is bob"),
        (replace(usual, assignee=replace(usual.assignee, id="other")), "contract's assignee is other"),
        (replace(usual, assigner=replace(usual.assigner, key_id=keys.bob.public_key.key_id)), "exactly the two sides"),
    ):
        agreed = prove(contract, keys.alice, keys.coordinator)
        request = prove(make_request(agreed.id, federation.claim.id), keys.alice)
        value = make_receipt(request.id, agreed.id, federation.claim.id)
        check_receipt_refused(federation, value, why, request=request.envelope, contract=agreed.envelope)


def test_a_bundle_of_another_version_is_refused(federation: Federation) -> None:
    data = federation.bundle().to_bytes().replace(b"severable-receipt/v1", b"severable-receipt/v2")
    with pytest.raises(MalformedError, match="format"):
        verify_receipt(data, federation.root)


def test_a_contract_in_the_place_of_the_receipt_is_refused(federation: Federation) -> None:
    contract = sign_statement(federation.contract.value, federation.keys.coordinator)
    check_refused(federation, StatementError, "predicate type", receipt=contract, proof=federation.proof(contract))


@pytest.mark.parametrize("member", ["receipt", "request", "contract", "roster", "proof", "format"])
def test_a_bundle_without_one_of_its_members_is_refused(federation: Federation, member: str) -> None:
    value = decode(federation.bundle().to_bytes(), "bundle")
    assert isinstance(value, dict)
    del value[member]
    with pytest.raises(MalformedError):
        verify_receipt(encode(value), federation.root)


def test_a_bundle_with_a_further_member_is_refused(federation: Federation) -> None:
    value = decode(federation.bundle().to_bytes(), "bundle")
    assert isinstance(value, dict)
    with pytest.raises(MalformedError, match="members"):
        verify_receipt(encode({**value, "note": ""}), federation.root)


def check_refused(
    federation: Federation,
    error: type[TrustError],
    why: str,
    **parts: Envelope | LogProof,
) -> None:
    bundle = replace(federation.bundle(), **parts)  # type: ignore[arg-type]  # each part goes to the member of its name
    with pytest.raises(error, match=why):
        verify_receipt(bundle.to_bytes(), federation.root)


def check_receipt_refused(federation: Federation, value: Receipt, why: str, **parts: Envelope) -> None:
    """A receipt that the coordinator did sign and log, and that is refused for what it says."""
    receipt = sign_statement(value, federation.keys.coordinator)
    check_refused(federation, StatementError, why, proof=federation.proof(receipt), receipt=receipt, **parts)


def cosigned_bundle(federation: Federation, *witnesses: LogSigner) -> ReceiptBundle:
    """The receipt's bundle, its roster naming alice's witness key, its checkpoint cosigned by these."""
    roster = federation.roster.value
    alice, bob = roster.parties
    named = replace(roster, parties=(replace(alice, witness=witnesses[0].vkey), bob))
    note = federation.proof().checkpoint
    for witness in witnesses:
        note = cosign(note, witness, NOON)
    return replace(
        federation.bundle(),
        roster=sign_statement(named, federation.keys.coordinator),
        proof=replace(federation.proof(), checkpoint=note),
    )


def test_a_party_of_the_roster_may_cosign_and_is_named(federation: Federation) -> None:
    witness = LogSigner.generate("alice", KeyType.COSIGNATURE)
    verified = verify_receipt(cosigned_bundle(federation, witness).to_bytes(), federation.root)
    assert verified.cosigners == (("alice", NOON),)


def test_a_cosignature_by_a_key_that_the_roster_does_not_name_refuses_the_receipt(federation: Federation) -> None:
    witnesses = [LogSigner.generate(name, KeyType.COSIGNATURE) for name in ("alice", "alice", "mallory")]
    for stranger in witnesses[1:]:
        with pytest.raises(SignatureError, match="unknown key"):
            verify_receipt(cosigned_bundle(federation, witnesses[0], stranger).to_bytes(), federation.root)
