"""Joining over gRPC: TLS under the invite's authority, no client certificate yet."""

import grpc

from severable_client.adapters.channel import mapped, open_channel
from severable_client.exchange import Application, Membership
from severable_protos.v1 import exchange_pb2 as wire
from severable_protos.v1.exchange_pb2_grpc import EnrolmentStub

TIMEOUT_S = 30.0


class GrpcEnrolment:
    """The coordinator's enrolment service.

    Args:
        address: host:port.
        authority_pem: the certificate authority that the invite carries.
    """

    def __init__(self, address: str, authority_pem: bytes) -> None:
        self._address = address
        self._credentials = grpc.ssl_channel_credentials(root_certificates=authority_pem)

    def join(self, application: Application) -> Membership | None:
        """Exchange the token for a place in the roster, or learn that the operator has not approved yet."""
        request = wire.JoinRequest(
            token=application.token,
            certificate_request_pem=application.certificate_request_pem,
            statement_key_pem=application.statement_key_pem,
            node_key=application.node_key,
            legal_name=application.legal_name,
            witness_key=application.witness_key,
        )
        with open_channel(self._address, self._credentials) as channel, mapped(self._address):
            reply = EnrolmentStub(channel).Join(request, timeout=TIMEOUT_S)
        if reply.waiting:
            return None
        return Membership(
            party=reply.party,
            certificate_pem=reply.certificate_pem,
            trust_root=reply.trust_root,
            roster=reply.roster,
            exchange_address=reply.exchange_address,
            fleet_address=reply.fleet_address,
        )
