"""The gRPC channel to the coordinator, and the one place where gRPC's errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import grpc

from severable_client.errors import RefusedByCoordinatorError, UnreachableError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

# What a broken network or a restarting coordinator looks like: the same call may succeed later.
_PASSING = frozenset({
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,  # also a stream that was reset under way
})  # fmt: skip


def open_channel(address: str, credentials: grpc.ChannelCredentials) -> grpc.Channel:
    """Return a channel to host:port that keeps an idle connection alive through firewalls."""
    # A server's default takes one ping in five minutes for manners and drops who asks more often.
    options: list[tuple[str, int]] = [("grpc.keepalive_time_ms", 330_000), ("grpc.keepalive_timeout_ms", 20_000)]
    if address.rpartition(":")[0] in LOOPBACK:
        options.append(("grpc.enable_http_proxy", 0))  # a proxy could not reach this machine's loopback
    return grpc.secure_channel(address, credentials, options=options)


@contextmanager
def mapped(address: str) -> Iterator[None]:
    """Turn a gRPC failure into one line.

    Raises:
        UnreachableError: no answer; worth another try.
        RefusedByCoordinatorError: an answer that will not change.
    """
    try:
        yield
    except grpc.RpcError as error:
        call = cast("grpc.Call", error)  # what a blocking call raises is both
        code, details = call.code(), " ".join((call.details() or "no reason given").split())
        if code in _PASSING:
            line = f"the coordinator at {address} does not answer: {details[:300]}"
            raise UnreachableError(f"{line}; check the address, the network and this machine's clock") from error
        raise RefusedByCoordinatorError(code.name, details[:500]) from error
