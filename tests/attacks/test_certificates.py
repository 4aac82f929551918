"""Attacks with certificates, tokens and certificate requests, over real TLS."""

import base64
from datetime import timedelta

import grpc
import pytest
from coordinator.federation import Owner
from coordinator.served import TIMEOUT_S, Served, refused
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from severable_coordinator.adapters.authority import issue_party, party_of
from severable_protos.v1 import exchange_pb2 as pb

EVERYTHING = pb.ListContractsRequest()


def application(token: str, owner: Owner, common_name: str | None = None) -> pb.JoinRequest:
    return pb.JoinRequest(
        token=token,
        certificate_request_pem=owner.request_pem(common_name),
        statement_key_pem=owner.signer.public_key.pem,
        node_key=owner.node_key,
        legal_name=owner.id,
    )


@pytest.mark.parametrize("days", [-15, 30], ids=["expired yesterday", "not yet valid"])
def test_a_certificate_out_of_its_term_does_not_get_through_the_handshake(served: Served, days: int) -> None:
    owner, world = served.world.owners["archive"], served.world
    issued = issue_party(
        world.coordinator.authority, owner.request_pem(), "archive", world.clock() + timedelta(days=days)
    )
    error = refused(served.stub_with(owner.tls_pem(), issued).ListContracts, EVERYTHING)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    served.stub("archive").ListContracts(EVERYTHING, timeout=TIMEOUT_S)  # the good one gets through


def test_a_stolen_certificate_is_of_no_use_once_its_party_is_revoked(served: Served) -> None:
    served.world.standing.revoke("archive")
    error = refused(served.stub("archive").ListContracts, EVERYTHING)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "party archive is revoked" in str(error.details())


def test_a_certificate_for_a_name_that_never_joined_gets_nothing(served: Served) -> None:
    """The authority's own signature is not enough: the roster must name the party."""
    ghost = Owner.make("ghost")
    issued = issue_party(served.world.coordinator.authority, ghost.request_pem(), "ghost", served.world.clock())
    error = refused(served.stub_with(ghost.tls_pem(), issued).ListContracts, EVERYTHING)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "no party 'ghost'" in str(error.details())


def test_a_request_for_another_partys_name_gets_a_certificate_for_ones_own(served: Served) -> None:
    token, _ = served.world.enrolment.invite("agency", approved=True)
    reply = served.enrolment_stub().Join(application(token, Owner.make("agency"), "archive"), timeout=TIMEOUT_S)
    assert party_of(reply.certificate_pem) == reply.party == "agency"


def test_a_token_used_twice_over_the_wire_lets_nobody_else_in(served: Served) -> None:
    token, _ = served.world.enrolment.invite("agency")
    stub = served.enrolment_stub()
    assert stub.Join(application(token, Owner.make("agency")), timeout=TIMEOUT_S).waiting
    error = refused(stub.Join, application(token, Owner.make("agency")))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "used already, with other keys" in str(error.details())
    applications = served.world.coordinator.parties.applications()
    assert [one.party for one in applications if one.approved is None] == ["agency"]


def test_a_guessed_token_lets_nobody_in(served: Served) -> None:
    served.world.enrolment.invite("agency")
    error = refused(served.enrolment_stub().Join, application("ab" * 32, Owner.make("agency")))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "never issued" in str(error.details())


def test_a_token_past_its_hour_lets_nobody_in_and_is_burnt(served: Served) -> None:
    token, expires = served.world.enrolment.invite("agency")
    served.world.clock.now = expires
    stub = served.enrolment_stub()
    error = refused(stub.Join, application(token, Owner.make("agency")))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "expired" in str(error.details())
    served.world.clock.advance(days=-1)
    error = refused(stub.Join, application(token, Owner.make("agency")))
    assert "used already" in str(error.details())


def test_a_certificate_request_that_somebody_elses_key_signed_is_refused(served: Served) -> None:
    token, _ = served.world.enrolment.invite("agency")
    request = application(token, Owner.make("agency"))
    der = bytearray(x509.load_pem_x509_csr(request.certificate_request_pem).public_bytes(Encoding.DER))
    der[-1] ^= 1  # inside the signature
    body = base64.encodebytes(bytes(der)).decode()
    request.certificate_request_pem = (
        f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n".encode()
    )
    error = refused(served.enrolment_stub().Join, request)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "certificate request" in str(error.details())


def test_one_statement_key_cannot_join_as_two_parties(served: Served) -> None:
    token, _ = served.world.enrolment.invite("agency")
    request = application(token, Owner.make("agency"))
    request.statement_key_pem = served.world.owners["archive"].signer.public_key.pem
    error = refused(served.enrolment_stub().Join, request)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "in the roster already" in str(error.details())
