"""Children: real processes, started, started again, and all of them ended."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from severable_client.adapters.leftovers import Leftovers, start_time
from severable_client.adapters.lock import held, holder
from severable_client.adapters.supervisor import FIRST_DELAY_S, Child, Perpetual, end_all
from severable_client.errors import BusyError, EngineStartError

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(60)",
]
PARENT = [
    sys.executable,
    "-c",
    """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
child.wait()
""",
]


def child(command: list[str], folder: Path, name: str = "child") -> Child:
    return Child(name, command, os.environ, folder / f"{name}.log", Leftovers(folder / "children"))


def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def wrote(one: Child) -> bool:
    return one.log.is_file() and one.log.stat().st_size > 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ending_takes_a_child_and_everything_below_it(tmp_path: Path) -> None:
    parent = child(PARENT, tmp_path)
    parent.start()
    until(lambda: wrote(parent))
    grandchild = int(parent.log.read_text())
    assert alive(grandchild)
    end_all([parent])
    assert not parent.running()
    until(lambda: not alive(grandchild))


def test_a_child_that_does_not_listen_is_killed_at_the_deadline(tmp_path: Path) -> None:
    deaf = child(DEAF, tmp_path)
    deaf.start()
    until(lambda: wrote(deaf))
    deaf.ask_to_end()
    deaf.end(time.monotonic() + 0.2)
    assert not deaf.running()


def test_a_program_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineStartError, match="cannot be started"):
        child([str(tmp_path / "nothing")], tmp_path).start()


def test_last_words_are_of_this_start_and_not_of_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "child.log").write_text("from an earlier day\n")
    silent = child([sys.executable, "-c", ""], tmp_path)
    silent.start()
    until(lambda: not silent.running())
    assert silent.last_words() == "without a word"
    loud = child([sys.executable, "-c", "print('one'); print('two')"], tmp_path)
    loud.start()
    until(lambda: not loud.running())
    assert loud.last_words() == "two"


def test_last_words_are_the_reason_and_not_what_a_logger_says_after_it(tmp_path: Path) -> None:
    words = "print('\\033[91mERROR\\033[0m: no link'); print('\\033[92mINFO \\033[0m: ending'); print('INFO:  over')"
    talkative = child([sys.executable, "-c", words], tmp_path)
    talkative.start()
    until(lambda: not talkative.running())
    assert talkative.last_words() == "ERROR: no link"


def test_a_child_that_ends_is_started_again_after_a_growing_delay(tmp_path: Path) -> None:
    said: list[str] = []
    mortal = Perpetual(child([sys.executable, "-c", "print('bye'); raise SystemExit(3)"], tmp_path), said.append)
    mortal.tend(now_s=0.0)
    until(lambda: not mortal.child.running())
    mortal.tend(now_s=1.0)
    assert "exit 3" in said[0]
    assert said[0].endswith("bye")
    assert not mortal.child.running()
    mortal.tend(now_s=1.0 + FIRST_DELAY_S)
    assert not mortal.child.running()
    mortal.tend(now_s=1.0 + 2 * FIRST_DELAY_S)
    until(lambda: not mortal.child.running())
    mortal.tend(now_s=5.0)
    assert "again in 4 s" in said[1]
    end_all([mortal.child])


def test_children_of_a_killed_daemon_are_ended_by_the_next(tmp_path: Path) -> None:
    orphan = child(SLEEP, tmp_path)
    orphan.start()
    pid = int((tmp_path / "children").read_text().split()[0])
    assert Leftovers(tmp_path / "children").end_those_of_before() == 1
    until(lambda: not orphan.running())
    assert not alive(pid)
    assert (tmp_path / "children").read_text() == ""


def test_a_process_that_only_has_the_same_id_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEP, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        other_time = str(int(start_time(stranger.pid)) + 1)
        (tmp_path / "children").write_text(f"{stranger.pid} {other_time}\n")
        assert Leftovers(tmp_path / "children").end_those_of_before() == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_home_has_one_daemon_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "up.lock"
    assert holder(path) is None
    with held(path):
        assert holder(path) == os.getpid()
        with pytest.raises(BusyError, match=f"process {os.getpid()}"), held(path):
            pytest.fail("two daemons on one home")
    assert holder(path) is None
    with held(path):
        pass
