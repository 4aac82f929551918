"""The parsers at the coordinator: certificate requests, and every message that its gRPC services take."""

import atexit
import base64
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import grpc
from coordinator.federation import REPOSITORY, ManualClock, Owner, World, shard_files
from coordinator.served import Served
from fuzzing.law import Target
from fuzzing.wire import NoMessageError, is_message, seeds, sent
from google.protobuf.message import Message

from severable_coordinator.adapters.authority import KeyPair, issue_party, new_authority
from severable_coordinator.adapters.terms_file import Draft, read_terms
from severable_coordinator.errors import CoordinatorError
from severable_coordinator.stores import utc_now
from severable_protos.v1 import exchange_pb2 as pb

TIMEOUT_S = 20.0
_CHOSEN = frozenset({
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
})  # fmt: skip

# Service, method, message, and whether a stream of messages is sent.
METHODS: tuple[tuple[str, str, type[Message], bool], ...] = (
    ("Enrolment", "Join", pb.JoinRequest, False),
    ("Exchange", "RenewCertificate", pb.RenewCertificateRequest, False),
    ("Exchange", "GetCheckpoint", pb.GetCheckpointRequest, False),
    ("Exchange", "ListContracts", pb.ListContractsRequest, False),
    ("Exchange", "SignContract", pb.SignContractRequest, False),
    ("Exchange", "RequestErasure", pb.RequestErasureRequest, False),
    ("Exchange", "GetReceipt", pb.GetReceiptRequest, False),
    ("Exchange", "OpenUpload", pb.OpenUploadRequest, False),
    ("Exchange", "SendChunks", pb.Chunk, True),
    ("Exchange", "FinishUpload", pb.FinishUploadRequest, False),
    ("Exchange", "CosignCheckpoint", pb.CosignCheckpointRequest, False),
    ("Exchange", "RotateKey", pb.RotateKeyRequest, False),
)


class RefusedCallError(Exception):
    """A call that the service answered with a status of its own choice."""


@cache
def _authority() -> KeyPair:
    return new_authority("federation", utc_now())


def _request(data: bytes) -> bytes:
    """A certificate request in PEM; other bytes are taken for its DER."""
    if data[:5] != b"-----":
        data = b"-----BEGIN CERTIFICATE REQUEST-----\n%b-----END CERTIFICATE REQUEST-----\n" % base64.encodebytes(data)
    return issue_party(_authority(), data, "clinic", utc_now())


def _requests() -> tuple[bytes, ...]:
    pem = Owner.make("clinic").request_pem()
    return (pem, base64.b64decode(b"".join(pem.splitlines()[1:-1])))


@cache
def _service() -> tuple[Served, dict[str, grpc.Channel]]:
    """A coordinator that serves over TLS on loopback, for as long as this process lives, and a member's channels."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    world = World(Path(folder.name) / "home", clock=ManualClock(utc_now()))
    world.join("clinic")
    world.agree("clinic")
    served = Served(world)
    mutual = grpc.ssl_channel_credentials(served.ca, world.owners["clinic"].tls_pem(), world.certificates["clinic"])
    channels = {
        "Enrolment": grpc.secure_channel(served.enrolment_address, grpc.ssl_channel_credentials(served.ca)),
        "Exchange": grpc.secure_channel(served.exchange_address, mutual),
    }
    for server in served.servers:
        atexit.register(server.stop, None)
    for channel in channels.values():
        atexit.register(channel.close)
    return served, channels


def _call(data: bytes) -> bytes:
    """What a member that sends these bytes gets back; see `fuzzing.wire` for their form."""
    which, body = sent(data, [method[2] for method in METHODS])
    service, method, kind, streams = METHODS[which]
    channel, path = _service()[1][service], f"/severable.v1.{service}/{method}"
    # Without a serializer the bytes go out as they are; grpcio's stubs do not know that.
    call: Any = channel.stream_unary(path) if streams else channel.unary_unary(path)
    try:
        return bytes(call(iter((body,)) if streams else body, timeout=TIMEOUT_S))
    except grpc.RpcError as error:
        answer = cast("grpc.Call", error)  # what a blocking call raises is both
        code, line = answer.code(), str(answer.details())
        if code in _CHOSEN or (code is grpc.StatusCode.INTERNAL and not is_message(kind, body)):
            raise RefusedCallError(line) from error
        raise AssertionError(f"{method} ended in {code}: {line}") from error


def _messages() -> tuple[bytes, ...]:
    served, _ = _service()
    world = served.world
    owner = Owner.make("agency")
    contract = next(iter(world.coordinator.contracting.contracts.contracts("clinic")))
    claim = world.claim("clinic", shard_files("clinic"))
    token, _ = world.enrolment.invite("agency", approved=True)
    join = pb.JoinRequest(
        token=token,
        certificate_request_pem=owner.request_pem(),
        statement_key_pem=owner.signer.public_key.pem,
        node_key=owner.node_key,
        legal_name="Agency",
    )
    messages: tuple[tuple[int, Message], ...] = (
        (0, join),
        (1, pb.RenewCertificateRequest(certificate_request_pem=owner.request_pem())),
        (2, pb.GetCheckpointRequest(since=-1)),
        (4, pb.SignContractRequest(envelope=contract.envelope)),
        (5, pb.RequestErasureRequest(envelope=contract.envelope)),
        (6, pb.GetReceiptRequest(request="sha256:" + "0" * 64)),
        (7, pb.OpenUploadRequest(claim=claim.to_bytes())),
        (8, pb.Chunk(upload="0" * 64, name="config.json", offset=-1, data=b"{}")),
        (9, pb.FinishUploadRequest(upload="0" * 64)),
        (10, pb.CosignCheckpointRequest(note=world.coordinator.logbook.log.consistency(0)[0])),
        (11, pb.RotateKeyRequest(envelope=contract.envelope)),
    )
    return tuple(seed for which, message in messages for seed in seeds(which, message))


@cache
def _scratch() -> Path:
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name) / "terms.yaml"


def _terms(data: bytes) -> Draft:
    _scratch().write_bytes(data)
    return read_terms(_scratch())


def _terms_files() -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted((REPOSITORY / "docs/formats/examples").glob("*-terms.yaml")))


REQUESTS = Target(name="certificate-request", read=_request, errors=(CoordinatorError,), seeds=_requests)
MESSAGES = Target(name="exchange-messages", read=_call, errors=(RefusedCallError, NoMessageError), seeds=_messages)
TERMS = Target(name="contract-terms", read=_terms, errors=(CoordinatorError,), seeds=_terms_files)
TARGETS = (REQUESTS, MESSAGES, TERMS)
