"""The exchange service over gRPC with mutual TLS.

Who calls is read from the client certificate; errors of the package become status codes here and nowhere else.
"""

from collections.abc import Iterator

import grpc

from severable_coordinator.adapters.authority import party_of
from severable_coordinator.adapters.call_limits import Limits
from severable_coordinator.adapters.grpc_edge import ServerPair, credentials, mapped, start
from severable_coordinator.adapters.stream_watch import Pace, StreamWatch
from severable_coordinator.admission import Admission
from severable_coordinator.contracting import Contracting
from severable_coordinator.enrolment import Enrolment
from severable_coordinator.errors import RefusedError
from severable_coordinator.ports import UploadRecord
from severable_coordinator.requests import Requests
from severable_coordinator.standing import Standing
from severable_coordinator.uploads import CHUNK_BYTES
from severable_protos.chunk import EXCHANGE, SEND_CHUNKS, AnyChunk, Chunk
from severable_protos.v1 import exchange_pb2 as pb
from severable_protos.v1 import exchange_pb2_grpc as rpc
from severable_trust.contract import Contract, ContractState
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.statement import read_unverified


class ExchangeService(rpc.ExchangeServicer):
    """Contracts, uploads and erasure requests of the party that the client certificate names."""

    def __init__(
        self,
        contracting: Contracting,
        admission: Admission,
        requests: Requests,
        enrolment: Enrolment,
        standing: Standing,
        *,
        pace: Pace | None = None,
    ) -> None:
        """Serve the use cases."""
        self._contracting = contracting
        self._admission = admission
        self._requests = requests
        self._enrolment = enrolment
        self._standing = standing
        self._watch = StreamWatch(pace or Pace())

    @mapped
    def RenewCertificate(
        self, request: pb.RenewCertificateRequest, context: grpc.ServicerContext
    ) -> pb.RenewCertificateReply:
        """See the .proto."""
        certificate = self._enrolment.renew(self._caller(context), request.certificate_request_pem)
        return pb.RenewCertificateReply(certificate_pem=certificate)

    @mapped
    def GetCheckpoint(self, request: pb.GetCheckpointRequest, context: grpc.ServicerContext) -> pb.GetCheckpointReply:
        """See the .proto."""
        self._caller(context)
        logbook = self._contracting.logbook
        roster = logbook.roster().envelope.to_bytes()
        note, consistency = logbook.log.consistency(request.since)
        return pb.GetCheckpointReply(note=note, consistency=consistency, roster=roster)

    @mapped
    def CosignCheckpoint(
        self, request: pb.CosignCheckpointRequest, context: grpc.ServicerContext
    ) -> pb.CosignCheckpointReply:
        """See the .proto."""
        self._standing.cosign(self._caller(context), request.note)
        return pb.CosignCheckpointReply()

    @mapped
    def RotateKey(self, request: pb.RotateKeyRequest, context: grpc.ServicerContext) -> pb.RotateKeyReply:
        """See the .proto."""
        roster = self._standing.rotate(self._caller(context), Envelope.parse(request.envelope))
        return pb.RotateKeyReply(roster=roster.to_bytes())

    @mapped
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

    @mapped
    def SignContract(self, request: pb.SignContractRequest, context: grpc.ServicerContext) -> pb.SignContractReply:
        """See the .proto."""
        state: ContractState = self._contracting.accept(self._caller(context), Envelope.parse(request.envelope))
        return pb.SignContractReply(state=state.value)

    @mapped
    def RequestErasure(
        self, request: pb.RequestErasureRequest, context: grpc.ServicerContext
    ) -> pb.RequestErasureReply:
        """See the .proto."""
        record = self._requests.receive(self._caller(context), Envelope.parse(request.envelope))
        return pb.RequestErasureReply(acknowledgement=record.acknowledgement)

    @mapped
    def GetReceipt(self, request: pb.GetReceiptRequest, context: grpc.ServicerContext) -> pb.GetReceiptReply:
        """See the .proto."""
        record = self._requests.removal(self._caller(context), Digest.parse(request.request))
        bundle = self._requests.receipt(record)
        return pb.GetReceiptReply(status=record.state, bundle=bundle, denial=record.denial)

    @mapped
    def OpenUpload(self, request: pb.OpenUploadRequest, context: grpc.ServicerContext) -> pb.OpenUploadReply:
        """See the .proto."""
        upload = self._admission.open(self._caller(context), request.claim)
        if upload.state == "refused":
            raise RefusedError(upload.detail)
        finished = upload.state != "open"
        offsets = [] if finished else self._offsets(upload)
        return pb.OpenUploadReply(upload=upload.id, offsets=offsets, chunk_bytes=CHUNK_BYTES, finished=finished)

    @mapped
    def SendChunks(self, request: Iterator[AnyChunk], context: grpc.ServicerContext) -> pb.SendChunksReply:
        """See the .proto."""
        upload: UploadRecord | None = None
        for chunk in self._watch.watched(self._caller(context), request, context):
            if upload is None or upload.id != chunk.upload:
                upload = self._mine(chunk.upload, context)
            self._admission.take(upload, chunk.name, chunk.offset, chunk.data)
        if upload is None:
            raise RefusedError("the stream held no chunk")
        return pb.SendChunksReply(offsets=self._offsets(upload))

    @mapped
    def FinishUpload(self, request: pb.FinishUploadRequest, context: grpc.ServicerContext) -> pb.FinishUploadReply:
        """See the .proto."""
        verdict = self._admission.finish(self._mine(request.upload, context))
        return pb.FinishUploadReply(admitted=verdict.admitted, shard=str(verdict.shard), reason=verdict.reason)

    def _mine(self, upload_id: str, context: grpc.ServicerContext) -> UploadRecord:
        party = self._caller(context)  # before anything is looked up: a revoked party learns nothing
        upload = self._admission.uploads.upload(upload_id)
        if upload.party != party:
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


def serve_exchange(
    service: ExchangeService, address: str, server: ServerPair, ca: bytes, limits: Limits | None = None
) -> grpc.Server:
    """Start the exchange service (mutual TLS, certificates of `ca` alone). BusyError when the port is taken."""
    tls = credentials(server, ca, clients=True)
    return start(lambda grpc_server: _add(service, grpc_server), address, tls, limits)


def _add(service: ExchangeService, server: grpc.Server) -> None:
    """Register the service, the chunks with the quicker reading: what is registered last of a method counts."""
    rpc.add_ExchangeServicer_to_server(service, server)
    chunks = grpc.stream_unary_rpc_method_handler(
        service.SendChunks,
        request_deserializer=Chunk.from_wire,
        response_serializer=pb.SendChunksReply.SerializeToString,
    )
    server.add_registered_method_handlers(EXCHANGE, {SEND_CHUNKS: chunks})
