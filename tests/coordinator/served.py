"""A coordinator's two gRPC services, really listening on loopback with TLS, over a world of parties."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from coordinator.federation import ManualClock, World

from severable_coordinator.adapters.call_limits import Limits
from severable_coordinator.adapters.enrolment_server import EnrolmentService, serve_enrolment
from severable_coordinator.adapters.exchange_server import ExchangeService, serve_exchange
from severable_coordinator.adapters.stream_watch import Pace
from severable_coordinator.stores import utc_now
from severable_protos.v1 import exchange_pb2 as pb
from severable_protos.v1 import exchange_pb2_grpc as rpc

TIMEOUT_S = 10


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Served:
    """A world with its two services listening."""

    def __init__(self, world: World, pace: Pace | None = None, limits: Limits | None = None) -> None:
        self.world = world
        self.ca = world.coordinator.authority.certificate
        self.enrolment_address, self.exchange_address = free_address(), free_address()
        enrolment = EnrolmentService(
            world.enrolment, world.coordinator.trust_root.to_bytes(), self.exchange_address, "127.0.0.1:1"
        )
        exchange = ExchangeService(
            world.coordinator.contracting,
            world.coordinator.admission,
            world.coordinator.requests,
            world.enrolment,
            world.standing,
            pace=pace,
        )
        self.servers = [
            serve_enrolment(enrolment, self.enrolment_address, lambda: world.coordinator.server, self.ca, limits),
            serve_exchange(exchange, self.exchange_address, lambda: world.coordinator.server, self.ca, limits),
        ]

    def stub(self, name: str) -> rpc.ExchangeStub:
        owner = self.world.owners[name]
        return self.stub_with(owner.tls_pem(), self.world.certificates[name])

    def stub_with(self, key: bytes | None, certificate: bytes | None) -> rpc.ExchangeStub:
        credentials = grpc.ssl_channel_credentials(self.ca, key, certificate)
        return rpc.ExchangeStub(grpc.secure_channel(self.exchange_address, credentials))

    def enrolment_stub(self) -> rpc.EnrolmentStub:
        credentials = grpc.ssl_channel_credentials(self.ca)
        return rpc.EnrolmentStub(grpc.secure_channel(self.enrolment_address, credentials))


@contextmanager
def serving(home: Path, *names: str, pace: Pace | None = None, limits: Limits | None = None) -> Iterator[Served]:
    """A world that these parties have joined, with its services listening."""
    world = World(home, clock=ManualClock(utc_now()))  # TLS looks at the real clock
    for name in names:
        world.join(name)
    made = Served(world, pace, limits)
    try:
        yield made
    finally:
        for server in made.servers:
            server.stop(None).wait(TIMEOUT_S)


def refused(call: object, *arguments: object) -> grpc.RpcError:
    """The error of a call that must fail, with one line of details."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=TIMEOUT_S)  # type: ignore[operator]  # any stub's method
    assert "\n" not in (caught.value.details() or "")
    return caught.value


def chunks(upload: str, files: dict[str, bytes], size: int = 4096) -> Iterator[pb.Chunk]:
    """Files as an upload's messages."""
    for name, data in files.items():
        for offset in range(0, len(data), size):
            yield pb.Chunk(upload=upload, name=name, offset=offset, data=data[offset : offset + size])
