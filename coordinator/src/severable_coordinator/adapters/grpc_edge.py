"""What both gRPC services share: errors as statuses with one line, limits, and how a server is started."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, TypeVar

import grpc

from severable_coordinator.adapters.arenas import share_arenas
from severable_coordinator.adapters.authority import KeyPair
from severable_coordinator.adapters.call_limits import CallLimits, Limits
from severable_coordinator.errors import (
    BusyError,
    ConflictError,
    CoordinatorError,
    NotFoundError,
    RefusedError,
    StorageError,
)
from severable_trust.errors import MalformedError, SignatureError, TrustError

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
    ("grpc.http2.max_frame_size", 2 << 20),  # a chunk is one frame, not sixty-four
    ("grpc.so_reuseport", 0),
    ("grpc.max_connection_age_ms", 3_600_000),  # a live connection must not outlast a certificate
    ("grpc.max_connection_age_grace_ms", 600_000),  # nor a call on it; an upload goes on over the next one
]
_THREADS = 32

Method = TypeVar("Method", bound=Callable[..., Any])


def mapped(method: Method) -> Method:
    """Turn the package's errors into a gRPC status with their one line."""

    @wraps(method)
    def wrapper(self: object, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except (CoordinatorError, TrustError) as error:
            code = next(code for kind, code in _CODES if isinstance(error, kind))
            context.abort(code, str(error))

    return wrapper  # type: ignore[return-value]  # same call, same result; abort raises


ServerPair = Callable[[], KeyPair]  # reads the server's certificate and key as they are now


def credentials(server: ServerPair, ca: bytes, *, clients: bool) -> grpc.ServerCredentials:
    """TLS credentials that take a renewed certificate up at the next handshake.

    Args:
        server: asked once now and at every handshake.
        ca: the authority, PEM; sent with the chain.
        clients: ask for a client certificate of that authority.
    """

    def configuration() -> grpc.ServerCertificateConfiguration:
        pair = server()
        chain = [(pair.private_key, pair.certificate + ca)]
        return grpc.ssl_server_certificate_configuration(chain, root_certificates=ca if clients else None)

    return grpc.dynamic_ssl_server_credentials(configuration(), configuration, clients)


def start(
    add: Callable[[grpc.Server], None],
    address: str,
    credentials: grpc.ServerCredentials,
    limits: Limits | None = None,
) -> grpc.Server:
    """Start a server with what `add` puts into it. BusyError when the port is taken."""
    share_arenas()
    server = grpc.server(
        ThreadPoolExecutor(_THREADS),
        interceptors=[CallLimits(limits or Limits())],
        options=_OPTIONS,
        maximum_concurrent_rpcs=_THREADS * 4,
    )
    add(server)
    try:
        server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise BusyError(
            f"{address}: the port is in use; stop what holds it or choose another in config.yaml"
        ) from error
    server.start()
    return server
