"""Shipping over a bad network to a real coordinator: gRPC with mutual TLS, encrypted store, SQLite, admission.

Whatever breaks, there is one admission, nothing is lost, and what is sent again begins where the coordinator stood.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from coordinator.federation import ManualClock, World
from coordinator.served import Served, free_address
from coordinator.shipment import CLAIM, lay_out
from integration.link import Link
from trust_layer import write_weights

from severable_client.adapters.exchange_grpc import GrpcExchange
from severable_client.exchange import FileChunk, Upload, Verdict
from severable_client.home import Layout
from severable_client.shipping import Parcel, Patience, ship
from severable_coordinator.adapters.stream_watch import Pace
from severable_coordinator.dispatch import JobState
from severable_coordinator.stores import utc_now
from severable_trust.envelope import Envelope
from severable_trust.shard import WEIGHTS, ShardClaim
from severable_trust.statement import Kind, read_unverified, statement_id

pytestmark = pytest.mark.integration

PARTY = "archive"
SIZE = 12 << 20  # bytes of weights: twelve chunks, of which three at most are lost with a killed coordinator
LASTING = 3 << 20  # bytes on the disk of which at least one whole segment can be read back
DEEP = 48 << 20  # bytes: more than any buffer on the way holds
PATIENT = Patience(tries=10_000, first_s=0.1, longest_s=0.5)
PATIENCE_S = 600.0
QUIET_S = 3.0  # without another chunk being read, a stream stands still
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Watched(GrpcExchange):
    """The owner's exchange, with every opening and every chunk of every stream written down."""

    address: str
    layout: Layout
    held: list[int] = field(default_factory=list)
    streams: list[list[tuple[str, int, int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.address, self.layout)

    def open_upload(self, claim: bytes) -> Upload:
        upload = super().open_upload(claim)
        self.held.append(upload.offsets.get(WEIGHTS, 0))
        return upload

    def send(self, upload: str, chunks: Iterator[FileChunk]) -> Mapping[str, int]:
        self.streams.append([])
        return super().send(upload, self._noted(chunks, self.streams[-1]))

    @staticmethod
    def _noted(chunks: Iterator[FileChunk], stream: list[tuple[str, int, int]]) -> Iterator[FileChunk]:
        for chunk in chunks:
            stream.append((chunk.name, chunk.offset, len(chunk.data)))
            yield chunk


@dataclass
class Shipment:
    """A coordinator's world and one party's shard that is to be shipped to it."""

    world: World
    folder: Path

    def shipped(
        self, address: str, on_progress: Callable[[int, int], None] = lambda _done, _total: None
    ) -> tuple[Verdict, Watched]:
        envelope = (self.folder / CLAIM).read_bytes()
        sizes = {file.name: file.size for file in read_unverified(envelope, ShardClaim).files}
        shard = str(statement_id(Envelope.parse(envelope)))
        parcel = Parcel(claim=envelope, shard=shard, sizes=sizes, open=lambda name: (self.folder / name).open("rb"))
        with Watched(address, Layout(self.folder / "home")) as exchange:
            verdict = ship(parcel, exchange, patience=PATIENT, sleep=time.sleep, on_progress=on_progress)
        return verdict, exchange

    def require_one_whole_admission(self) -> None:
        seen = self.world.reopened()
        (shard,) = seen.shards.shards()
        assert seen.logbook.log.statements(Kind.SHARD) == [shard.id]
        assert [status.report.state for status in seen.tasks.all()] == [JobState.SHIPPED]
        weights = (self.folder / WEIGHTS).read_bytes()
        assert seen.vault.read(PARTY, f"shards/{shard.id.hex}/{WEIGHTS}") == weights
        assert [name for name in seen.vault.names(PARTY) if name.startswith("incoming/")] == []


def require_resumed_where_it_stood(exchange: Watched) -> None:
    """Every stream begins where the coordinator stood when it was asked, and goes on without a hole or a repetition."""
    assert len(exchange.streams) >= 2
    assert exchange.held == sorted(exchange.held)
    assert exchange.held[-1] > 0  # something was kept of what was sent before the break
    for held, stream in zip(exchange.held[-len(exchange.streams) :], exchange.streams, strict=True):
        position = held
        for _, offset, length in (sent for sent in stream if sent[0] == WEIGHTS):
            assert offset == position
            position += length


def shipment(root: Path, size: int) -> Shipment:
    weights = root / "weights"
    tensors = write_weights(weights, size)
    world = World(root / "coordinator", clock=ManualClock(utc_now()))
    lay_out(world, PARTY, root / PARTY, weights, tensors)
    return Shipment(world, root / PARTY)


@pytest.fixture
def ready(tmp_path: Path) -> Shipment:
    return shipment(tmp_path, SIZE)


@pytest.fixture
def link(ready: Shipment) -> Iterator[Link]:
    with linked(ready) as made:
        yield made


@contextmanager
def linked(ready: Shipment) -> Iterator[Link]:
    served = Served(ready.world, Pace(idle_s=600.0))  # a busy machine is no slow sender
    with Link(int(served.exchange_address.rpartition(":")[2])) as made:
        yield made
    for server in served.servers:
        server.stop(None).wait(10)


def until_some_is_held(ready: Shipment) -> None:
    """Wait until the coordinator has a part of the weights on its disk that outlives it."""
    deadline = time.monotonic() + PATIENCE_S
    store = ready.world.coordinator.layout.store
    while not any(file.stat().st_size > LASTING for file in store.rglob(f"{WEIGHTS}.growing")):
        assert time.monotonic() < deadline, "nothing arrived"
        time.sleep(0.05)


@contextmanager
def broken_half_way(ready: Shipment, link: Link, source: str = "127.0.0.1") -> Iterator[None]:
    """Break the link's connections once, half-way; the far end sees the next ones come from `source`."""
    link.stall_after(SIZE // 2)

    def break_it() -> None:
        if link.stalled.wait(PATIENCE_S):
            until_some_is_held(ready)
            link.source = source
            link.cut()
            link.flow()

    breaker = threading.Thread(target=break_it)
    breaker.start()
    yield
    breaker.join()


def test_a_link_that_is_cut_mid_upload_costs_nothing_but_what_was_under_way(ready: Shipment, link: Link) -> None:
    with broken_half_way(ready, link):
        verdict, exchange = ready.shipped(link.address)
    assert verdict.admitted, verdict.reason
    require_resumed_where_it_stood(exchange)
    ready.require_one_whole_admission()


def test_an_owner_whose_address_changes_mid_upload_goes_on_from_the_new_one(ready: Shipment, link: Link) -> None:
    with broken_half_way(ready, link, source="127.0.0.2"):
        verdict, exchange = ready.shipped(link.address)
    assert verdict.admitted, verdict.reason
    assert link.sources == {"127.0.0.1", "127.0.0.2"}
    require_resumed_where_it_stood(exchange)
    ready.require_one_whole_admission()


def test_a_coordinator_that_is_killed_mid_upload_goes_on_after_its_restart(ready: Shipment) -> None:
    address = free_address()
    running = [coordinator(ready, address)]

    def kill_once(sent: int, total: int) -> None:
        if len(running) == 1 and sent > total // 2:
            until_some_is_held(ready)
            running[0].send_signal(signal.SIGKILL)
            running[0].wait()
            running.append(coordinator(ready, address))

    try:
        verdict, exchange = ready.shipped(address, kill_once)
    finally:
        for process in running:
            process.kill()
            process.communicate()
    assert len(running) == 2
    assert verdict.admitted, verdict.reason
    require_resumed_where_it_stood(exchange)
    ready.require_one_whole_admission()


def coordinator(ready: Shipment, address: str) -> subprocess.Popen[str]:
    """The exchange in a process of its own, listening when this returns."""
    program = REPOSITORY / "benchmarks" / "shipping_ends.py"
    port = address.rpartition(":")[2]
    command = [sys.executable, "-P", str(program), "coordinate", str(ready.world.home), "--port", port]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "ready" in process.stdout.readline()
    return process


def test_a_coordinator_that_does_not_read_holds_the_owner_back(tmp_path: Path) -> None:
    ready = shipment(tmp_path, DEEP)
    stood_at = [0, -1]  # bytes the owner has read: now, and when it was last looked
    with linked(ready) as link:

        def watch(sent: int, _total: int) -> None:
            if not stood_at[0]:
                link.stall()
            stood_at[0] = sent

        def flow_when_it_stands_still() -> None:
            while not stood_at[0] or stood_at[0] != stood_at[1]:
                stood_at[1] = stood_at[0]
                time.sleep(QUIET_S)
            link.flow()

        watcher = threading.Thread(target=flow_when_it_stands_still)
        watcher.start()
        verdict, _ = ready.shipped(link.address, watch)
        watcher.join()
    assert verdict.admitted, verdict.reason
    assert 0 < stood_at[1] < DEEP // 2  # what the owner has read and nobody has taken is bounded
    ready.require_one_whole_admission()
