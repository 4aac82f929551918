"""The exchange over gRPC with mutual TLS; protobuf messages go no further than this file."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import grpc

from severable_client.adapters.channel import mapped, open_channel
from severable_client.adapters.files import storage
from severable_client.errors import ClientError, ExchangeError
from severable_client.exchange import ContractItem, ContractListing, FileChunk, ReceiptStatus, Upload, Verdict
from severable_client.home import Layout
from severable_client.witness import LogView
from severable_protos.chunk import EXCHANGE, SEND_CHUNKS, Chunk
from severable_protos.v1 import exchange_pb2 as wire
from severable_protos.v1.exchange_pb2_grpc import ExchangeStub

TIMEOUT_S = 30.0
STREAM_TIMEOUT_S = 6 * 3600.0
_KEPT_BYTES = 16 << 20  # more than the chunks that are on their way at a time
FINISH_TIMEOUT_S = 600.0  # the coordinator verifies the whole shard before it answers


class GrpcExchange:
    """The coordinator's exchange service; use it in a ``with`` statement.

    Args:
        address: host:port.
        layout: the home that holds the authority, this party's certificate and its key.
        timeout_s: seconds to wait for the answer to a small call.

    Raises:
        StorageError: a key file cannot be read.
    """

    def __init__(self, address: str, layout: Layout, timeout_s: float = TIMEOUT_S) -> None:
        with storage("the keys of the exchange cannot be read"):
            credentials = grpc.ssl_channel_credentials(
                root_certificates=layout.authority.read_bytes(),
                private_key=layout.tls_key.read_bytes(),
                certificate_chain=layout.tls_certificate.read_bytes(),
            )
        self._address = address
        self._timeout_s = timeout_s
        self._channel = open_channel(address, credentials)
        self._stub = ExchangeStub(self._channel)
        self._send_chunks = self._channel.stream_unary(
            f"/{EXCHANGE}/{SEND_CHUNKS}",
            request_serializer=Chunk.to_wire,
            response_deserializer=wire.SendChunksReply.FromString,
        )

    def __enter__(self) -> Self:
        """Return this exchange."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the channel."""
        self._channel.close()

    def renew_certificate(self, request_pem: bytes) -> bytes:
        """Ask for a fresh certificate."""
        request = wire.RenewCertificateRequest(certificate_request_pem=request_pem)
        with mapped(self._address):
            return bytes(self._stub.RenewCertificate(request, timeout=self._timeout_s).certificate_pem)

    def log_view(self, since: int) -> LogView:
        """Fetch the log's newest checkpoint and the roster."""
        with mapped(self._address):
            reply = self._stub.GetCheckpoint(wire.GetCheckpointRequest(since=since), timeout=self._timeout_s)
        return LogView(note=reply.note, consistency=tuple(reply.consistency), roster=reply.roster)

    def cosign(self, note: str) -> None:
        """Leave this party's cosignature at the coordinator."""
        with mapped(self._address):
            self._stub.CosignCheckpoint(wire.CosignCheckpointRequest(note=note), timeout=self._timeout_s)

    def rotate_key(self, envelope: bytes) -> bytes:
        """Send the statement of a new statement key."""
        with mapped(self._address):
            reply = self._stub.RotateKey(wire.RotateKeyRequest(envelope=envelope), timeout=self._timeout_s)
        return bytes(reply.roster)

    def contracts(self) -> ContractListing:
        """Fetch everything on offer or signed."""
        with mapped(self._address):
            reply = self._stub.ListContracts(wire.ListContractsRequest(), timeout=self._timeout_s)
        items = tuple(
            ContractItem(id=item.id, envelope=item.envelope, state=item.state, recipes=tuple(item.recipes))
            for item in reply.contracts
        )
        return ContractListing(items, reply.roster)

    def sign_contract(self, envelope: bytes) -> str:
        """Send a countersigned contract."""
        with mapped(self._address):
            reply = self._stub.SignContract(wire.SignContractRequest(envelope=envelope), timeout=self._timeout_s)
        return str(reply.state)

    def request_erasure(self, envelope: bytes) -> bytes:
        """Send an erasure request."""
        with mapped(self._address):
            reply = self._stub.RequestErasure(wire.RequestErasureRequest(envelope=envelope), timeout=self._timeout_s)
        return bytes(reply.acknowledgement)

    def receipt(self, request: str) -> ReceiptStatus:
        """Ask for the receipt of an erasure request."""
        with mapped(self._address):
            reply = self._stub.GetReceipt(wire.GetReceiptRequest(request=request), timeout=self._timeout_s)
        return ReceiptStatus(reply.status, reply.bundle, reply.denial)

    def open_upload(self, claim: bytes) -> Upload:
        """Open the upload of this claim, or find it again."""
        with mapped(self._address):
            reply = self._stub.OpenUpload(wire.OpenUploadRequest(claim=claim), timeout=self._timeout_s)
        return Upload(
            id=reply.upload,
            offsets=_offsets(reply.offsets),
            chunk_bytes=reply.chunk_bytes,
            finished=reply.finished,
        )

    def send(self, upload: str, chunks: Iterator[FileChunk]) -> Mapping[str, int]:
        """Send chunks in one stream."""
        feed = _Feed(upload, chunks)
        _keep_what_is_freed()
        try:
            with mapped(self._address):
                reply = self._send_chunks(iter(feed), timeout=STREAM_TIMEOUT_S)
        except ExchangeError:
            if feed.trouble is not None:  # gRPC only says that iterating failed
                raise feed.trouble from None
            raise
        return _offsets(reply.offsets)

    def finish(self, upload: str) -> Verdict:
        """Close the upload and learn whether the shard is admitted."""
        with mapped(self._address):
            reply = self._stub.FinishUpload(wire.FinishUploadRequest(upload=upload), timeout=FINISH_TIMEOUT_S)
        return Verdict(admitted=reply.admitted, shard=reply.shard, reason=reply.reason)


class _Feed:
    """Turns chunks into messages on gRPC's thread, and remembers what went wrong there."""

    def __init__(self, upload: str, chunks: Iterator[FileChunk]) -> None:
        self._upload = upload
        self._chunks = chunks
        self.trouble: ClientError | None = None

    def __iter__(self) -> Iterator[Chunk]:
        try:
            with storage("the shard's files cannot be read"):
                for chunk in self._chunks:
                    yield Chunk(upload=self._upload, name=chunk.name, offset=chunk.offset, data=chunk.data)
        except ClientError as error:
            self.trouble = error
            raise


def _keep_what_is_freed() -> None:
    """Have the allocator keep the memory of one chunk for the next one.

    glibc gives a large block back to the system when it is freed, and every page of the next one costs a fault; once a
    larger block was freed, it keeps those of that size (mallopt(3), M_MMAP_THRESHOLD). A third of the processor time
    that sending takes is saved; where there is no glibc, nothing happens.
    """
    bytes(_KEPT_BYTES)


def _offsets(listed: Iterable[wire.FileOffset]) -> dict[str, int]:
    return {entry.name: entry.received for entry in listed}
