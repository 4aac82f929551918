"""The coordinator's gRPC services: enrolment (TLS) and exchange (mutual TLS).

Who calls is read from the client certificate; errors of the package become status codes here and nowhere else.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, TypeVar

import grpc

from severable_coordinator.adapters.authority import KeyPair, party_of
from severable_coordinator.admission import CHUNK_BYTES, Admission
from severable_coordinator.contracting import Contracting
from severable_coordinator.enrolment import Enrolment, Waiting
from severable_coordinator.errors import (
    BusyError,
    ConflictError,
    CoordinatorError,
    NotFoundError,
    RefusedError,
    StorageError,
)
from severable_coordinator.membership import JoinFacts
from severable_coordinator.ports import UploadRecord
from severable_coordinator.requests import Requests
from severable_coordinator.standing import Standing
from severable_protos.v1 import exchange_pb2 as pb
from severable_protos.v1 import exchange_pb2_grpc as rpc
from severable_trust.contract import Contract, ContractState
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import MalformedError, SignatureError, TrustError
from severable_trust.keys import PublicKey
from severable_trust.statement import read_unverified

_CODES: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (ConflictError, grpc.StatusCode.FAILED_PRECONDITION),
    (StorageError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (RefusedError, grpc.StatusCode.PERMISSION_DENIED),
    (SignatureError, grpc.StatusCode.PERMISSION_DENIED),
    (MalformedError, grpc.StatusCode.INVALID_ARGUMENT),
    (TrustError, grpc.StatusCode.PERMISSION_DENIED),
    (CoordinatorError, grpc.StatusCode.FAILED_PRECONDITION),
)
_OPTIONS = [
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.so_reuseport", 0),
    ("grpc.max_connection_age_ms", 3_600_000),  # a live connection must not outlast a certificate
]
_THREADS = 16

Method = TypeVar("Method", bound=Callable[..., Any])


def _mapped(method: Method) -> Method:
    """Turn the package's errors into a gRPC status with their one line."""

    @wraps(method)
    def wrapper(self: object, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except (CoordinatorError, TrustError) as error:
            code = next(code for kind, code in _CODES if isinstance(error, kind))
            context.abort(code, str(error))

    return wrapper  # type: ignore[return-value]  # same call, same result; abort raises


class EnrolmentService(rpc.EnrolmentServicer):
    """Join."""

    def __init__(self, enrolment: Enrolment, trust_root: bytes, exchange_address: str, fleet_address: str) -> None:
        """Serve an Enrolment."""
        self._enrolment = enrolment
        self._trust_root = trust_root
        self._exchange_address, self._fleet_address = exchange_address, fleet_address

    @_mapped
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


class ExchangeService(rpc.ExchangeServicer):
    """Contracts, uploads and erasure requests of the party that the client certificate names."""

    def __init__(
        self,
        contracting: Contracting,
        admission: Admission,
        requests: Requests,
        enrolment: Enrolment,
        standing: Standing,
    ) -> None:
        """Serve the use cases."""
        self._contracting = contracting
        self._admission = admission
        self._requests = requests
        self._enrolment = enrolment
        self._standing = standing

    @_mapped
    def RenewCertificate(
        self, request: pb.RenewCertificateRequest, context: grpc.ServicerContext
    ) -> pb.RenewCertificateReply:
        """See the .proto."""
        certificate = self._enrolment.renew(self._caller(context), request.certificate_request_pem)
        return pb.RenewCertificateReply(certificate_pem=certificate)

    @_mapped
    def GetCheckpoint(self, request: pb.GetCheckpointRequest, context: grpc.ServicerContext) -> pb.GetCheckpointReply:
        """See the .proto."""
        self._caller(context)
        logbook = self._contracting.logbook
        roster = logbook.roster().envelope.to_bytes()
        note, consistency = logbook.log.consistency(request.since)
        return pb.GetCheckpointReply(note=note, consistency=consistency, roster=roster)

    @_mapped
    def CosignCheckpoint(
        self, request: pb.CosignCheckpointRequest, context: grpc.ServicerContext
    ) -> pb.CosignCheckpointReply:
        """See the .proto."""
        self._standing.cosign(self._caller(context), request.note)
        return pb.CosignCheckpointReply()

    @_mapped
    def RotateKey(self, request: pb.RotateKeyRequest, context: grpc.ServicerContext) -> pb.RotateKeyReply:
        """See the .proto."""
        roster = self._standing.rotate(self._caller(context), Envelope.parse(request.envelope))
        return pb.RotateKeyReply(roster=roster.to_bytes())

    @_mapped
    def ListContracts(self, _request: pb.ListContractsRequest, context: grpc.ServicerContext) -> pb.ListContractsReply:
        """See the .proto."""
        party = self._caller(context)
        items = []
        for record in self._contracting.contracts.contracts(party):
            recipes = read_unverified(record.envelope, Contract).recipes
            bodies = [self._contracting.contracts.recipe(digest).body for digest in recipes]
            state = record.state.value
            items.append(pb.ContractItem(id=str(record.id), envelope=record.envelope, state=state, recipes=bodies))
        roster = self._contracting.logbook.roster().envelope.to_bytes()
        return pb.ListContractsReply(contracts=items, roster=roster)

    @_mapped
    def SignContract(self, request: pb.SignContractRequest, context: grpc.ServicerContext) -> pb.SignContractReply:
        """See the .proto."""
        state: ContractState = self._contracting.accept(self._caller(context), Envelope.parse(request.envelope))
        return pb.SignContractReply(state=state.value)

    @_mapped
    def RequestErasure(
        self, request: pb.RequestErasureRequest, context: grpc.ServicerContext
    ) -> pb.RequestErasureReply:
        """See the .proto."""
        record = self._requests.receive(self._caller(context), Envelope.parse(request.envelope))
        return pb.RequestErasureReply(acknowledgement=record.acknowledgement)

    @_mapped
    def GetReceipt(self, request: pb.GetReceiptRequest, context: grpc.ServicerContext) -> pb.GetReceiptReply:
        """See the .proto."""
        record = self._requests.removal(self._caller(context), Digest.parse(request.request))
        return pb.GetReceiptReply(status=record.state, bundle=self._requests.receipt(record))

    @_mapped
    def OpenUpload(self, request: pb.OpenUploadRequest, context: grpc.ServicerContext) -> pb.OpenUploadReply:
        """See the .proto."""
        upload = self._admission.open(self._caller(context), request.claim)
        if upload.state == "refused":
            raise RefusedError(upload.detail)
        finished = upload.state != "open"
        offsets = [] if finished else self._offsets(upload)
        return pb.OpenUploadReply(upload=upload.id, offsets=offsets, chunk_bytes=CHUNK_BYTES, finished=finished)

    @_mapped
    def SendChunks(self, request: Iterator[pb.Chunk], context: grpc.ServicerContext) -> pb.SendChunksReply:
        """See the .proto."""
        upload: UploadRecord | None = None
        for chunk in request:
            if upload is None or upload.id != chunk.upload:
                upload = self._mine(chunk.upload, context)
            self._admission.take(upload, chunk.name, chunk.offset, chunk.data)
        if upload is None:
            raise RefusedError("the stream held no chunk")
        return pb.SendChunksReply(offsets=self._offsets(upload))

    @_mapped
    def FinishUpload(self, request: pb.FinishUploadRequest, context: grpc.ServicerContext) -> pb.FinishUploadReply:
        """See the .proto."""
        verdict = self._admission.finish(self._mine(request.upload, context))
        return pb.FinishUploadReply(admitted=verdict.admitted, shard=str(verdict.shard), reason=verdict.reason)

    def _mine(self, upload_id: str, context: grpc.ServicerContext) -> UploadRecord:
        upload = self._admission.uploads.upload(upload_id)
        if upload.party != self._caller(context):
            raise RefusedError("this upload is not yours")
        return upload

    def _offsets(self, upload: UploadRecord) -> list[pb.FileOffset]:
        received = self._admission.received(upload)
        return [pb.FileOffset(name=name, received=size) for name, size in received.items()]

    def _caller(self, context: grpc.ServicerContext) -> str:
        """The active party of the client certificate. RefusedError, StatementError."""
        pem = context.auth_context().get("x509_pem_cert")
        if not pem:
            raise RefusedError("no client certificate; run `severable-client join` first")
        party = party_of(bytes(pem[0]))
        self._contracting.logbook.roster().value.party(party)
        return party


def serve_enrolment(service: EnrolmentService, address: str, server: KeyPair, ca: bytes) -> grpc.Server:
    """Start the enrolment service (TLS, no client certificate). BusyError when the port is taken."""
    credentials = grpc.ssl_server_credentials([(server.private_key, server.certificate + ca)])
    return _start(lambda grpc_server: rpc.add_EnrolmentServicer_to_server(service, grpc_server), address, credentials)


def serve_exchange(service: ExchangeService, address: str, server: KeyPair, ca: bytes) -> grpc.Server:
    """Start the exchange service (mutual TLS, certificates of `ca` alone). BusyError when the port is taken."""
    credentials = grpc.ssl_server_credentials(
        [(server.private_key, server.certificate + ca)], root_certificates=ca, require_client_auth=True
    )
    return _start(lambda grpc_server: rpc.add_ExchangeServicer_to_server(service, grpc_server), address, credentials)


def _start(add: Callable[[grpc.Server], None], address: str, credentials: grpc.ServerCredentials) -> grpc.Server:
    server = grpc.server(ThreadPoolExecutor(_THREADS), options=_OPTIONS, maximum_concurrent_rpcs=_THREADS * 4)
    add(server)
    try:
        server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise BusyError(
            f"{address}: the port is in use; stop what holds it or choose another in config.yaml"
        ) from error
    server.start()
    return server
