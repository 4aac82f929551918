"""The owner's daemon as a process: it comes up, holds its home, and a signal ends all that it started.

Nobody answers at the coordinator's addresses here: a daemon must come up before the coordinator does, and wait.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from client.samples import Federation, make_home

pytestmark = pytest.mark.integration

PATIENCE_S = 90.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(Federation.make(), tmp_path, "127.0.0.1:9")


@pytest.fixture
def daemon(home: Path) -> Iterator[subprocess.Popen[str]]:
    process = up(home)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


def up(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-c", "from severable_client.adapters.cli import main; main()"]
    return subprocess.Popen(
        [*command, "up", "--home", str(home)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(line: str, process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    said: list[str] = []
    watchdog = threading.Timer(PATIENCE_S, process.kill)  # reading has no time limit of its own
    watchdog.start()
    try:
        for told in process.stdout:
            said.append(told)
            if line in told:
                return
    finally:
        watchdog.cancel()
    pytest.fail(f"{line!r} was never said, but {said}")


def children(home: Path) -> list[int]:
    note = home / "up.children"
    return [int(line.split()[0]) for line in note.read_text().splitlines()] if note.is_file() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(true: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_ctrl_c_ends_the_daemon_and_all_that_it_started(daemon: subprocess.Popen[str], home: Path) -> None:
    wait_for("owner owner-a is up", daemon)
    started = children(home)
    assert len(started) == 2
    assert all(map(alive, started))
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait(20) == 0
    assert not any(map(alive, started))
    assert children(home) == []


def test_a_second_daemon_is_refused_and_the_first_goes_on(daemon: subprocess.Popen[str], home: Path) -> None:
    wait_for("is starting", daemon)
    second = up(home)
    output, _ = second.communicate(timeout=30)
    assert second.returncode == 1
    assert f"process {daemon.pid}" in output
    assert len(output.splitlines()) == 1
    assert daemon.poll() is None


def test_children_of_a_killed_daemon_are_ended_by_the_next(daemon: subprocess.Popen[str], home: Path) -> None:
    wait_for("is up", daemon)
    orphans = children(home)
    daemon.kill()
    daemon.wait(10)
    assert all(map(alive, orphans))
    following = up(home)
    try:
        wait_for("left behind", following)
        until(lambda: not any(map(alive, orphans)), within_s=5)
    finally:
        following.terminate()
        following.communicate(timeout=20)
    assert following.returncode == 0
    assert children(home) == []
