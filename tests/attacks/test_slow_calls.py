"""Calls that are begun and never say anything: ended, counted, and no hindrance to the others."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from coordinator.served import TIMEOUT_S, Served, serving

from severable_coordinator.adapters.call_limits import Limits
from severable_protos.v1 import exchange_pb2 as pb

LIMITS = Limits(wait_s=0.4, calls=3)
EXHAUSTED, CANCELLED = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED


@pytest.fixture
def hurried(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "home", "archive", "clinic", limits=LIMITS) as made:
        yield made


def half_open(channel: grpc.Channel, method: str, forever: threading.Event) -> Any:
    """A call that is begun and whose message never comes; to be asked for its code, which waits for its end."""

    def nothing() -> Iterator[Any]:
        forever.wait(TIMEOUT_S)
        yield from ()

    call: Any = channel.stream_unary(f"/severable.v1.{method}")
    return call.future(nothing(), timeout=TIMEOUT_S)


def channel(served: Served, method: str) -> grpc.Channel:
    """As archive to the exchange, as nobody to the enrolment."""
    if method.startswith("Enrolment"):
        return grpc.secure_channel(served.enrolment_address, grpc.ssl_channel_credentials(served.ca))
    key, certificate = served.world.owners["archive"].tls_pem(), served.world.certificates["archive"]
    return grpc.secure_channel(served.exchange_address, grpc.ssl_channel_credentials(served.ca, key, certificate))


def answered(served: Served, name: str) -> bool:
    return bool(served.stub(name).ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S).roster)


@pytest.mark.parametrize("method", ["Exchange/ListContracts", "Exchange/FinishUpload", "Enrolment/Join"])
def test_a_call_whose_message_never_comes_is_ended(hurried: Served, method: str) -> None:
    forever, begun = threading.Event(), time.monotonic()
    with channel(hurried, method) as opened:
        assert half_open(opened, method, forever).code() is CANCELLED
        assert time.monotonic() - begun < TIMEOUT_S / 2
        forever.set()


@pytest.mark.parametrize("method", ["Exchange/ListContracts", "Enrolment/Join"])
def test_a_caller_with_many_calls_is_refused_at_once_beyond_its_share(hurried: Served, method: str) -> None:
    forever = threading.Event()
    with channel(hurried, method) as opened:
        calls = [half_open(opened, method, forever) for _ in range(40)]
        assert answered(hurried, "clinic")
        codes = [call.code() for call in calls]  # waits for the end of each
        forever.set()
        words = {str(call.details()) for call, code in zip(calls, codes, strict=True) if code is EXHAUSTED}
    assert set(codes) == {EXHAUSTED, CANCELLED}
    assert codes.count(EXHAUSTED) > len(calls) / 2
    assert words == {f"more than {LIMITS.calls} calls at a time; wait until one of them is over"}
    assert answered(hurried, "archive")


def test_more_calls_than_there_is_room_for_are_refused_at_once_and_soon_there_is_room_again(tmp_path: Path) -> None:
    with serving(tmp_path / "home", "archive", "clinic", limits=Limits(wait_s=1.0, calls=1000)) as served:
        forever = threading.Event()
        with channel(served, "Exchange/ListContracts") as opened:
            calls = [half_open(opened, "Exchange/ListContracts", forever) for _ in range(200)]
            codes = {call.code() for call in calls}
            forever.set()
        assert codes == {EXHAUSTED, CANCELLED}
        assert answered(served, "clinic")
