"""The enrolment service over gRPC: TLS without a client certificate, the token is the authority."""

import grpc

from severable_coordinator.adapters.call_limits import Limits
from severable_coordinator.adapters.grpc_edge import ServerPair, credentials, mapped, start
from severable_coordinator.enrolment import Enrolment, Waiting
from severable_coordinator.membership import JoinFacts
from severable_protos.v1 import exchange_pb2 as pb
from severable_protos.v1 import exchange_pb2_grpc as rpc
from severable_trust.keys import PublicKey


class EnrolmentService(rpc.EnrolmentServicer):
    """Join."""

    def __init__(self, enrolment: Enrolment, trust_root: bytes, exchange_address: str, fleet_address: str) -> None:
        """Serve an Enrolment."""
        self._enrolment = enrolment
        self._trust_root = trust_root
        self._exchange_address, self._fleet_address = exchange_address, fleet_address

    @mapped
    def Join(self, request: pb.JoinRequest, _context: grpc.ServicerContext) -> pb.JoinReply:
        """See the .proto."""
        facts = JoinFacts(
            request_pem=request.certificate_request_pem,
            statement_key=PublicKey.from_pem(request.statement_key_pem),
            node_key=request.node_key.strip(),
            legal_name=request.legal_name,
            witness=request.witness_key,
        )
        joined = self._enrolment.join(request.token, facts)
        if isinstance(joined, Waiting):
            return pb.JoinReply(party=joined.party, waiting=True)
        return pb.JoinReply(
            party=joined.party,
            certificate_pem=joined.certificate,
            trust_root=self._trust_root,
            roster=joined.roster.to_bytes(),
            exchange_address=self._exchange_address,
            fleet_address=self._fleet_address,
        )


def serve_enrolment(
    service: EnrolmentService, address: str, server: ServerPair, ca: bytes, limits: Limits | None = None
) -> grpc.Server:
    """Start the enrolment service (TLS, no client certificate). BusyError when the port is taken."""
    tls = credentials(server, ca, clients=False)
    return start(lambda grpc_server: rpc.add_EnrolmentServicer_to_server(service, grpc_server), address, tls, limits)
