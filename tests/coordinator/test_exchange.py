"""The gRPC services over real TLS: who may call what, and how errors read on the other side."""

import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from coordinator.federation import Owner, shard_files, terms
from coordinator.served import TIMEOUT_S, Served, chunks, refused, serving
from cryptography import x509

from severable_coordinator.adapters.authority import KeyPair, issue_party, issue_server, new_authority, party_of
from severable_coordinator.adapters.enrolment_server import EnrolmentService, serve_enrolment
from severable_coordinator.adapters.server_certificate import keep_current
from severable_coordinator.errors import BusyError
from severable_protos.v1 import exchange_pb2 as pb
from severable_trust.denial import Denial, DenialReason
from severable_trust.envelope import Envelope
from severable_trust.keys import PemSigner
from severable_trust.note import cosign
from severable_trust.removal import Acknowledgement
from severable_trust.rotation import KeyRotation
from severable_trust.statement import open_statement, sign_statement
from severable_trust.trust_root import open_roster
from severable_trust.witness import advance_view


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "home", "archive", "clinic") as made:
        yield made


def test_joining_over_tls_gives_a_certificate_that_the_exchange_accepts(served: Served) -> None:
    token, _ = served.world.enrolment.invite("agency", approved=True)
    owner = Owner.make("agency")
    stub = served.enrolment_stub()
    request = pb.JoinRequest(
        token=token,
        certificate_request_pem=owner.request_pem(),
        statement_key_pem=owner.signer.public_key.pem,
        node_key=owner.node_key,
        legal_name="Agency",
    )
    reply = stub.Join(request, timeout=TIMEOUT_S)
    assert reply.party == "agency"
    assert reply.exchange_address == served.exchange_address
    exchange = served.stub_with(owner.tls_pem(), reply.certificate_pem)
    assert list(exchange.ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S).contracts) == []
    assert stub.Join(request, timeout=TIMEOUT_S).certificate_pem == reply.certificate_pem
    request.statement_key_pem = Owner.make("agency").signer.public_key.pem
    error = refused(stub.Join, request)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "used already" in str(error.details())


def test_a_caller_without_or_with_a_foreign_certificate_does_not_get_in(served: Served) -> None:
    stranger = Owner.make("archive")
    now = served.world.clock()
    foreign = issue_party(new_authority("federation", now), stranger.request_pem(), "archive", now)
    for key, certificate in ((None, None), (stranger.tls_pem(), foreign)):
        error = refused(served.stub_with(key, certificate).ListContracts, pb.ListContractsRequest())
        assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_a_servers_certificate_is_no_partys(served: Served) -> None:
    now = served.world.clock()
    server: KeyPair = issue_server(served.world.coordinator.authority, "archive", now)
    error = refused(served.stub_with(server.private_key, server.certificate).ListContracts, pb.ListContractsRequest())
    assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED}


def test_a_party_sees_its_own_contracts_only(served: Served) -> None:
    served.world.coordinator.contracting.offer("archive", served.world.recipe, terms())
    own = served.stub("archive").ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S)
    others = served.stub("clinic").ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S)
    assert [item.state for item in own.contracts] == ["offered"]
    assert list(own.contracts[0].recipes) == [served.world.recipe.body]
    assert list(others.contracts) == []


def test_a_contract_is_signed_over_the_wire(served: Served) -> None:
    served.world.coordinator.contracting.offer("archive", served.world.recipe, terms())
    stub = served.stub("archive")
    offered = Envelope.parse(stub.ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S).contracts[0].envelope)
    signed = offered.countersigned(served.world.owners["archive"].signer).to_bytes()
    assert stub.SignContract(pb.SignContractRequest(envelope=signed), timeout=TIMEOUT_S).state == "active"
    error = refused(served.stub("clinic").SignContract, pb.SignContractRequest(envelope=signed))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_shard_is_uploaded_admitted_and_found_finished_when_it_is_sent_again(served: Served) -> None:
    served.world.agree("archive")
    files = shard_files("archive")
    claim = served.world.claim("archive", files).to_bytes()
    stub = served.stub("archive")
    opened = stub.OpenUpload(pb.OpenUploadRequest(claim=claim), timeout=TIMEOUT_S)
    assert {offset.name: offset.received for offset in opened.offsets} == dict.fromkeys(files, 0)
    stub.SendChunks(chunks(opened.upload, files), timeout=TIMEOUT_S)
    verdict = stub.FinishUpload(pb.FinishUploadRequest(upload=opened.upload), timeout=TIMEOUT_S)
    assert verdict.admitted, verdict.reason
    assert stub.OpenUpload(pb.OpenUploadRequest(claim=claim), timeout=TIMEOUT_S).finished


def test_another_partys_upload_cannot_be_fed_or_finished(served: Served) -> None:
    served.world.agree("archive")
    files = shard_files("archive")
    opened = served.stub("archive").OpenUpload(
        pb.OpenUploadRequest(claim=served.world.claim("archive", files).to_bytes()), timeout=TIMEOUT_S
    )
    other = served.stub("clinic")
    for call, request in (
        (other.SendChunks, chunks(opened.upload, files)),
        (other.FinishUpload, pb.FinishUploadRequest(upload=opened.upload)),
    ):
        assert refused(call, request).code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_message_over_the_limit_is_refused_before_it_is_looked_at(served: Served) -> None:
    error = refused(served.stub("archive").OpenUpload, pb.OpenUploadRequest(claim=b"x" * (5 << 20)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_garbage_in_place_of_an_envelope_is_an_invalid_argument(served: Served) -> None:
    error = refused(served.stub("archive").RequestErasure, pb.RequestErasureRequest(envelope=b"\x00\x01"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_erasure_request_is_acknowledged_with_a_signed_deadline(served: Served) -> None:
    contract = served.world.agree("archive")
    envelope = served.world.ask_for_erasure("archive", contract)
    reply = served.stub("archive").RequestErasure(
        pb.RequestErasureRequest(envelope=envelope.to_bytes()), timeout=TIMEOUT_S
    )
    proven = open_statement(reply.acknowledgement, Acknowledgement, [served.world.coordinator.logbook.key])
    assert (proven.value.expected_completion - proven.value.received).days == 7
    error = refused(served.stub("clinic").GetReceipt, pb.GetReceiptRequest(request=str(proven.value.request)))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_denied_request_gets_its_denial_where_the_receipt_would_be(served: Served) -> None:
    contract = served.world.agree("archive")
    record = served.world.coordinator.requests.receive("archive", served.world.ask_for_erasure("archive", contract))
    served.world.coordinator.orders.deny(record, DenialReason.RETAINED_BY_LAW, "a court ordered it kept")
    reply = served.stub("archive").GetReceipt(pb.GetReceiptRequest(request=str(record.request)), timeout=TIMEOUT_S)
    assert (reply.status, reply.bundle) == ("denied", b"")
    said = open_statement(reply.denial, Denial, [served.world.coordinator.logbook.key]).value
    assert said.request == record.request


def test_a_port_in_use_is_named(served: Served) -> None:
    enrolment = EnrolmentService(served.world.enrolment, b"", "", "")
    with pytest.raises(BusyError, match=served.exchange_address):
        serve_enrolment(enrolment, served.exchange_address, lambda: served.world.coordinator.server, served.ca)


def test_many_calls_at_once_are_all_answered(served: Served) -> None:
    served.world.agree("archive")
    stub = served.stub("archive")
    with ThreadPoolExecutor(8) as pool:
        states = list(
            pool.map(
                lambda _: stub.ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S).contracts[0].state,
                range(32),
            )
        )
    assert states == ["active"] * 32


def test_a_party_renews_its_certificate_under_its_own_name_whatever_it_asks(served: Served) -> None:
    owner = served.world.owners["archive"]
    request = pb.RenewCertificateRequest(certificate_request_pem=owner.request_pem("clinic"))
    fresh = served.stub("archive").RenewCertificate(request, timeout=TIMEOUT_S).certificate_pem
    assert party_of(fresh) == "archive"
    served.stub_with(owner.tls_pem(), fresh).ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S)


def test_a_garbled_certificate_request_is_not_renewed(served: Served) -> None:
    error = refused(
        served.stub("archive").RenewCertificate, pb.RenewCertificateRequest(certificate_request_pem=b"no request")
    )
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "certificate request" in str(error.details())


def test_a_revoked_party_is_refused_at_once_over_its_living_connection(served: Served) -> None:
    stub = served.stub("archive")
    stub.ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S)
    served.world.standing.revoke("archive")
    request = pb.RenewCertificateRequest(certificate_request_pem=served.world.owners["archive"].request_pem())
    for call, message in ((stub.ListContracts, pb.ListContractsRequest()), (stub.RenewCertificate, request)):
        error = refused(call, message)
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "revoked" in str(error.details())
    served.stub("clinic").ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S)


def test_a_party_that_watches_sees_the_log_continue_over_every_call(served: Served) -> None:
    vkey = served.world.coordinator.trust_root.log_vkey
    stub, note, since = served.stub("archive"), None, 0
    for _ in range(4):
        reply = stub.GetCheckpoint(pb.GetCheckpointRequest(since=since), timeout=TIMEOUT_S)
        view = advance_view(note, reply.note, tuple(reply.consistency), vkey)
        assert view.size > since
        assert open_roster(reply.roster, served.world.coordinator.trust_root).value.party("archive").id == "archive"
        note, since = reply.note, view.size
        served.world.coordinator.logbook.issue_roster()


def test_a_checkpoint_is_shown_to_a_party_that_claims_to_have_seen_more(served: Served) -> None:
    reply = served.stub("archive").GetCheckpoint(pb.GetCheckpointRequest(since=10**9), timeout=TIMEOUT_S)
    assert list(reply.consistency) == []
    assert reply.note


def test_a_party_leaves_its_cosignature_and_rotates_its_key_over_the_wire(served: Served) -> None:
    owner, coordinator, stub = served.world.owners["archive"], served.world.coordinator, served.stub("archive")
    shown = stub.GetCheckpoint(pb.GetCheckpointRequest(), timeout=TIMEOUT_S).note
    cosigned = cosign(shown, owner.witness, served.world.clock())
    stub.CosignCheckpoint(pb.CosignCheckpointRequest(note=cosigned), timeout=TIMEOUT_S)
    assert coordinator.log.checkpoint_of(coordinator.log.checkpoint()[0].size) == cosigned
    upcoming = PemSigner.generate()
    rotation = KeyRotation(
        party="archive", previous=owner.signer.public_key, next=upcoming.public_key, issued=served.world.clock()
    )
    envelope = sign_statement(rotation, owner.signer, upcoming).to_bytes()
    error = refused(served.stub("clinic").RotateKey, pb.RotateKeyRequest(envelope=envelope))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    roster = stub.RotateKey(pb.RotateKeyRequest(envelope=envelope), timeout=TIMEOUT_S).roster
    assert open_roster(roster, coordinator.trust_root).value.party("archive").statement_key == upcoming.public_key
    error = refused(served.stub("clinic").CosignCheckpoint, pb.CosignCheckpointRequest(note=cosigned))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "not carry a cosignature by clinic" in str(error.details())


def test_a_renewed_server_certificate_is_shown_at_the_next_handshake_without_a_restart(served: Served) -> None:
    def shown() -> x509.Certificate:
        host, port = served.exchange_address.split(":")
        return x509.load_pem_x509_certificate(ssl.get_server_certificate((host, int(port))).encode())

    before, coordinator = shown(), served.world.coordinator
    assert not keep_current(coordinator)
    assert keep_current(coordinator, anyway=True)
    assert shown().serial_number != before.serial_number
    assert shown().public_key() == before.public_key()
    served.stub("archive").ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S)


def test_a_server_certificate_is_due_after_a_third_of_its_term(served: Served) -> None:
    served.world.clock.advance(days=29)
    assert not keep_current(served.world.coordinator)
    served.world.clock.advance(days=2)
    assert keep_current(served.world.coordinator)
    assert not keep_current(served.world.coordinator)
