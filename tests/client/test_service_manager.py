"""The protocol of sd_notify(3) over a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from severable_client.adapters.service_manager import ServiceManager


@pytest.fixture
def manager_socket(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_states_are_sent_as_systemd_wants_them(manager_socket: socket.socket) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": manager_socket.getsockname()}, os.getpid())
    manager.ready()
    manager.status("training\nstep 3")
    manager.status("training step 3")  # the same as before: not sent again
    manager.reloading()
    manager.stopping()
    said = [manager_socket.recv(4096).decode() for _ in range(4)]
    assert said[0] == "READY=1"
    assert said[1] == "STATUS=training step 3"
    assert said[2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert said[3] == "STOPPING=1"


def test_the_watchdog_is_fed_within_half_its_time(manager_socket: socket.socket) -> None:
    told = {"NOTIFY_SOCKET": manager_socket.getsockname(), "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}
    manager = ServiceManager(told, process=7)
    manager.alive()
    manager.alive()
    assert manager_socket.recv(4096) == b"WATCHDOG=1"
    manager_socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager_socket.recv(4096)


@pytest.mark.parametrize("told", [{"WATCHDOG_PID": "8"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}])
def test_a_watchdog_for_another_process_or_without_a_time_is_not_fed(
    manager_socket: socket.socket, told: dict[str, str]
) -> None:
    given = {"NOTIFY_SOCKET": manager_socket.getsockname(), "WATCHDOG_USEC": "10", "WATCHDOG_PID": "7"} | told
    ServiceManager(given, process=7).alive()
    manager_socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager_socket.recv(4096)


def test_an_abstract_socket_is_reached_by_its_name() -> None:
    name = f"severable-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}, os.getpid()).ready()
        assert listening.recv(4096) == b"READY=1"


def test_children_inherit_no_line_to_the_manager() -> None:
    environment = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/x"}
    ServiceManager(environment, os.getpid())
    assert environment == {"HOME": "/x"}


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/to/be/found", "@nobody-listens-here"])
def test_a_manager_that_is_not_there_changes_nothing(address: str) -> None:
    ServiceManager({"NOTIFY_SOCKET": address}, os.getpid()).ready()
