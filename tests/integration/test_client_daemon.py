"""The owner's daemon as a process: it comes up, holds its home, and a signal ends all that it started.

Nobody answers at the coordinator's addresses here: a daemon must come up before the coordinator does, and wait.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from client.samples import NONCE, Federation, item, make_home, tiny_recipe

from severable_client.adapters.config import read_config, write_config
from severable_client.adapters.keys import read_signer
from severable_client.adapters.training_folder import CHECKPOINT
from severable_client.bootstrap import job_desk, now, open_home
from severable_client.contracts import receive
from severable_client.ports import Job, JobRequest, JobState
from severable_trust.digest import Digest
from severable_trust.statement import sign_statement, statement_id

pytestmark = pytest.mark.integration

PATIENCE_S = 300.0  # on a busy machine; a quiet one needs seconds


@pytest.fixture(scope="module")
def federation() -> Federation:
    return Federation.make()


@pytest.fixture
def home(tmp_path: Path, federation: Federation) -> Path:
    return make_home(federation, tmp_path, "127.0.0.1:9")


@pytest.fixture
def daemon(home: Path) -> Iterator[subprocess.Popen[str]]:
    process = up(home)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()


def up(home: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-c", "from severable_client.adapters.cli import main; main()"]
    return subprocess.Popen(
        [*command, "up", "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
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


def child(home: Path, name: str) -> int:
    """The process id of the child whose command line names it, 0 if none runs."""
    for pid in children(home):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if name in line and alive(pid):
            return pid
    return 0


def long_job(home: Path, federation: Federation) -> Callable[[], Job]:
    """A job under a contract in force that takes far longer than any test; returns how to look at it."""
    opened, recipe = open_home(home), tiny_recipe(max_steps=100_000, epochs=100_000)
    contract = federation.contract(owner=opened.sides.own, begins=now(), recipes=(Digest.of(recipe),))
    signed = sign_statement(contract, federation.coordinator).countersigned(read_signer(opened.layout))
    receive(item(signed, "active", recipe), opened.holdings)
    asked = JobRequest(task="t", nonce=NONCE, contract=str(statement_id(signed)), recipe=str(Digest.of(recipe)))
    assert job_desk(home)(asked).state is JobState.QUEUED
    return lambda: opened.jobs.all()[0]


def trains(job: Job, attempt: int) -> bool:
    return job.report.state is JobState.TRAINING and job.report.step > 0 and job.attempts == attempt


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
    assert daemon.wait(PATIENCE_S) == 0
    assert not any(map(alive, started))
    assert children(home) == []


def test_a_second_daemon_is_refused_and_the_first_goes_on(daemon: subprocess.Popen[str], home: Path) -> None:
    wait_for("is starting", daemon)
    second = up(home)
    output, _ = second.communicate(timeout=PATIENCE_S)
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
        until(lambda: not any(map(alive, orphans)), within_s=PATIENCE_S)
    finally:
        following.terminate()
        following.communicate(timeout=PATIENCE_S)
    assert following.returncode == 0
    assert children(home) == []


def test_a_killed_supernode_is_started_again_and_the_rest_goes_on(daemon: subprocess.Popen[str], home: Path) -> None:
    wait_for("is up", daemon)
    first, executor = child(home, "flower-supernode"), child(home, "flower_executor")
    os.kill(first, signal.SIGKILL)
    wait_for("supernode ended (exit -9), again in", daemon)
    until(lambda: child(home, "flower-supernode") not in {0, first}, within_s=PATIENCE_S)
    assert child(home, "flower_executor") == executor
    assert daemon.poll() is None


def test_a_killed_worker_is_started_again_and_a_drained_one_leaves_its_job_to_the_next_daemon(
    home: Path, federation: Federation
) -> None:
    path = home / "config.yaml"
    write_config(path, replace(read_config(path), grace_s=600))
    job = long_job(home, federation)
    daemon = up(home)
    try:
        until(lambda: trains(job(), attempt=1), within_s=PATIENCE_S)
        os.kill(child(home, "severable_client.worker"), signal.SIGKILL)
        reached = job().report.step  # is told until the next worker has made a step of its own
        until(lambda: trains(job(), attempt=2) and job().report.step != reached, within_s=PATIENCE_S)
        worker = child(home, "severable_client.worker")
    finally:
        daemon.terminate()
        said, _ = daemon.communicate(timeout=PATIENCE_S)
    assert daemon.returncode == 0
    assert "the worker ended (exit -9)" in said
    assert "is ending; the worker has 600 s to come to a good place" in said
    assert "the worker has ended; the job goes on at the next start" in said
    assert not alive(worker)
    assert children(home) == []
    assert not job().report.state.final
    assert job().attempts == 1  # the killed one counts, the drained one does not
    assert (home / "jobs" / job().id / "training" / CHECKPOINT).is_file()
    assert "asked to end after step" in (home / "logs/worker.log").read_text()


def test_a_second_signal_ends_a_daemon_without_its_grace(home: Path, federation: Federation) -> None:
    path = home / "config.yaml"
    write_config(path, replace(read_config(path), grace_s=3000))
    job = long_job(home, federation)
    daemon = up(home)
    try:
        until(lambda: trains(job(), attempt=1), within_s=PATIENCE_S)
        worker = child(home, "severable_client.worker")
        os.kill(worker, signal.SIGSTOP)  # a worker that does not come to a good place
        daemon.terminate()
        wait_for("the worker has 3000 s", daemon)
        daemon.send_signal(signal.SIGINT)
        assert daemon.wait(PATIENCE_S) == 0
    finally:
        daemon.kill()
        daemon.communicate(timeout=PATIENCE_S)
    assert not alive(worker)
    assert job().attempts == 0


def test_systemd_is_told_that_the_daemon_is_up_lives_reloads_and_ends(home: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        daemon = up(home, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="1000000")

        def told(state: str) -> None:
            while state not in manager.recv(4096).decode().splitlines():
                pass

        try:
            told("STATUS=starting")
            told("READY=1")
            told("STATUS=idle, 0 jobs wait for the owner")
            told("WATCHDOG=1")
            told("WATCHDOG=1")
            daemon.send_signal(signal.SIGHUP)
            told("RELOADING=1")
            told("READY=1")
            for pid in children(home):
                assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()
            daemon.terminate()
            told("STOPPING=1")
        finally:
            daemon.terminate()
            daemon.communicate(timeout=PATIENCE_S)
    assert daemon.returncode == 0


def test_sighup_takes_a_good_configuration_and_keeps_the_old_one_against_a_bad(
    daemon: subprocess.Popen[str], home: Path
) -> None:
    path = home / "config.yaml"
    wait_for("is up", daemon)
    good = path.read_text()
    path.write_text(good.replace("threads: 1", "threads: 2"))
    daemon.send_signal(signal.SIGHUP)
    wait_for("threads changed", daemon)
    path.write_text(good.replace("threads: 1", "threads: none"))
    daemon.send_signal(signal.SIGHUP)
    wait_for("config.yaml is refused, the old one stays in force", daemon)
    executor = child(home, "flower_executor")
    path.write_text(good.replace("approve: contract", "approve: ask"))
    daemon.send_signal(signal.SIGHUP)
    wait_for("threads, approve changed", daemon)
    assert child(home, "flower_executor") not in {0, executor}
    lines = [json.loads(line) for line in (home / "logs/daemon.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines if line["event"].startswith("reload")] == [
        "reloaded", "reload refused", "reloaded",
    ]  # fmt: skip
