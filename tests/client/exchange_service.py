"""A real gRPC server with mutual TLS for tests: it checks every digest, and breaks a stream when told to."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn, cast

import grpc
from client.samples import Federation

from severable_protos.v1 import exchange_pb2 as wire
from severable_protos.v1 import exchange_pb2_grpc as rpc
from severable_trust import merkle
from severable_trust.checkpoint import Checkpoint
from severable_trust.envelope import Envelope
from severable_trust.keys import PublicKey, Signer
from severable_trust.note import LogSigner, sign_note
from severable_trust.removal import Acknowledgement
from severable_trust.shard import ShardClaim
from severable_trust.statement import Proven, open_statement, sign_statement, statement_id

CHUNK_BYTES = 4096


@dataclass
class Log:
    """A coordinator's log, its leaves in a list that a test may also tamper with."""

    signer: LogSigner
    leaves: list[bytes] = field(default_factory=list)

    def _nodes(self) -> dict[tuple[int, int], bytes]:
        nodes: dict[tuple[int, int], bytes] = {}
        for place, leaf in enumerate(self.leaves):
            for level, index, value in merkle.completed_nodes(_Store(nodes), place, merkle.leaf_hash(leaf)):
                nodes[level, index] = value
        return nodes

    def note(self) -> str:
        root = merkle.root(_Store(self._nodes()), len(self.leaves))
        return sign_note(Checkpoint(self.signer.key.name, len(self.leaves), root).text, self.signer)

    def consistency(self, since: int) -> tuple[bytes, ...]:
        if not 0 < since < len(self.leaves):
            return ()
        return merkle.consistency_proof(_Store(self._nodes()), since, len(self.leaves))


@dataclass
class _Store:
    nodes: dict[tuple[int, int], bytes]

    def get(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]


@dataclass
class Service(rpc.ExchangeServicer):
    """Holds what a test put in and what a client sent.

    Attributes:
        owner: the key claims must be signed with; None for any test without uploads.
        cut_after: bytes after which the next stream is broken, once.
        acknowledges: signs the answer to erasure requests; without it they are refused.
        certify: answers a certificate request.
        log: what GetCheckpoint shows, with `roster`.
        rotated: answers the statement of a new key with a roster.
    """

    owner: PublicKey | None = None
    contracts: list[wire.ContractItem] = field(default_factory=list)
    cut_after: int | None = None
    refuse_shard: str = ""
    acknowledges: Signer | None = None
    claims: list[bytes] = field(default_factory=list)
    held: dict[str, bytes] = field(default_factory=dict)
    streams: int = 0
    callers: set[str] = field(default_factory=set)
    certify: Callable[[bytes], bytes] = bytes
    renewals: int = 0
    log: Log | None = None
    roster: bytes = b""
    cosigned: list[str] = field(default_factory=list)
    refuse_cosignature: str = ""
    rotated: Callable[[bytes], bytes] = bytes
    rotations: list[bytes] = field(default_factory=list)

    def RenewCertificate(
        self, request: wire.RenewCertificateRequest, context: grpc.ServicerContext
    ) -> wire.RenewCertificateReply:
        self._caller(context)
        self.renewals += 1
        return wire.RenewCertificateReply(certificate_pem=self.certify(request.certificate_request_pem))

    def GetCheckpoint(
        self, request: wire.GetCheckpointRequest, _context: grpc.ServicerContext
    ) -> wire.GetCheckpointReply:
        assert self.log is not None
        return wire.GetCheckpointReply(
            note=self.log.note(), consistency=self.log.consistency(request.since), roster=self.roster
        )

    def CosignCheckpoint(
        self, request: wire.CosignCheckpointRequest, context: grpc.ServicerContext
    ) -> wire.CosignCheckpointReply:
        if self.refuse_cosignature:
            self._abort(context, grpc.StatusCode.PERMISSION_DENIED, self.refuse_cosignature)
        self.cosigned.append(request.note)
        return wire.CosignCheckpointReply()

    def RotateKey(self, request: wire.RotateKeyRequest, _context: grpc.ServicerContext) -> wire.RotateKeyReply:
        self.rotations.append(request.envelope)
        return wire.RotateKeyReply(roster=self.rotated(request.envelope))

    def ListContracts(
        self, _request: wire.ListContractsRequest, context: grpc.ServicerContext
    ) -> wire.ListContractsReply:
        self._caller(context)
        return wire.ListContractsReply(contracts=self.contracts, roster=b"")

    def SignContract(self, request: wire.SignContractRequest, context: grpc.ServicerContext) -> wire.SignContractReply:
        signed = str(statement_id(Envelope.parse(request.envelope)))
        for item in self.contracts:
            if item.id == signed:
                item.envelope, item.state = request.envelope, "active"
                return wire.SignContractReply(state="active")
        return self._abort(context, grpc.StatusCode.NOT_FOUND, "no such contract")

    def RequestErasure(
        self, request: wire.RequestErasureRequest, context: grpc.ServicerContext
    ) -> wire.RequestErasureReply:
        if self.acknowledges is None:
            self._abort(context, grpc.StatusCode.PERMISSION_DENIED, "shard is\nnot yours")
        moment = datetime.now(UTC).replace(microsecond=0)
        asked = statement_id(Envelope.parse(request.envelope))
        made = Acknowledgement(request=asked, received=moment, expected_completion=moment)
        return wire.RequestErasureReply(acknowledgement=sign_statement(made, self.acknowledges).to_bytes())

    def GetReceipt(self, _request: wire.GetReceiptRequest, _context: grpc.ServicerContext) -> wire.GetReceiptReply:
        return wire.GetReceiptReply(status="in_progress", bundle=b"")

    def OpenUpload(self, request: wire.OpenUploadRequest, _context: grpc.ServicerContext) -> wire.OpenUploadReply:
        self.claims.append(request.claim)
        claim = self._claim()
        return wire.OpenUploadReply(upload=claim.id.hex, offsets=self._offsets(), chunk_bytes=CHUNK_BYTES)

    def SendChunks(self, chunks: Iterator[wire.Chunk], context: grpc.ServicerContext) -> wire.SendChunksReply:
        self.streams += 1
        taken = 0
        for chunk in chunks:
            if self.cut_after is not None and taken + len(chunk.data) > self.cut_after:
                self.cut_after = None
                self._abort(context, grpc.StatusCode.UNAVAILABLE, "cut")
            held = self.held.get(chunk.name, b"")
            if chunk.offset != len(held):
                self._abort(context, grpc.StatusCode.PERMISSION_DENIED, f"{chunk.name}: {len(held)} bytes are held")
            self.held[chunk.name] = held + chunk.data
            taken += len(chunk.data)
        return wire.SendChunksReply(offsets=self._offsets())

    def FinishUpload(
        self, _request: wire.FinishUploadRequest, _context: grpc.ServicerContext
    ) -> wire.FinishUploadReply:
        claim = self._claim()
        wrong = [f.name for f in claim.value.files if hashlib.sha256(self.held[f.name]).hexdigest() != f.digest.hex]
        reason = self.refuse_shard or (f"digest of {wrong[0]}" if wrong else "")
        return wire.FinishUploadReply(admitted=not reason, shard=str(claim.id), reason=reason)

    def _claim(self) -> Proven[ShardClaim]:
        assert self.owner is not None
        return open_statement(self.claims[-1], ShardClaim, [self.owner])

    def _offsets(self) -> list[wire.FileOffset]:
        return [wire.FileOffset(name=name, received=len(data)) for name, data in self.held.items()]

    def _caller(self, context: grpc.ServicerContext) -> None:
        names = cast("Iterable[bytes]", context.auth_context().get("x509_common_name", ()))
        self.callers.update(name.decode() for name in names)

    @staticmethod
    def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, details: str) -> NoReturn:
        context.abort(code, details)
        raise AssertionError("abort raises")


@contextmanager
def serving(service: Service, federation: Federation) -> Iterator[str]:
    """Serve on loopback with mutual TLS under the federation's authority; yields host:port."""
    server = grpc.server(ThreadPoolExecutor(4))
    rpc.add_ExchangeServicer_to_server(service, server)
    credentials = grpc.ssl_server_credentials(
        [federation.authority.server()],
        root_certificates=federation.authority.pem,
        require_client_auth=True,
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
