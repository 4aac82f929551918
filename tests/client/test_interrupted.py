"""A worker process that is killed at random moments, asked to end, or runs out of disk: the shard is the same."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from client.exchange_service import Service
from client.samples import Federation, tiny_recipe
from client.small_disk import require_mountable, small_disk
from client.worker_runs import checkpoint, command, keeping_home, queued, start, uninterrupted

from severable_client.adapters.backlog import Backlog
from severable_client.adapters.leftovers import Leftovers
from severable_client.bootstrap import Home
from severable_client.ending import AGAIN_LATER
from severable_client.ports import Job, JobState

pytestmark = pytest.mark.integration

PATIENCE_S = 900.0
LONG = tiny_recipe(max_steps=500, epochs=100_000, held_out=0.2, check_every=50, patience=100)


@pytest.fixture
def home(federation: Federation, tmp_path: Path, service: Service) -> Iterator[Home]:
    with keeping_home(federation, tmp_path, service) as opened:
        yield opened


@pytest.fixture(name="started")
def starting_workers() -> Iterator[Callable[[Home, Job], subprocess.Popen[str]]]:
    """Starts workers; whichever still runs when the test is over, or has failed, is killed."""
    workers: list[subprocess.Popen[str]] = []

    def begin(home: Home, job: Job) -> subprocess.Popen[str]:
        workers.append(start(home, job))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.kill()
        worker.wait()
        for pipe in (worker.stdout, worker.stderr):
            if pipe is not None:
                pipe.close()


def until(true: Callable[[], bool], worker: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert worker.poll() is None, worker.communicate()
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def test_a_worker_killed_at_random_moments_ships_the_bytes_of_one_that_was_not(
    home: Home, federation: Federation, service: Service, started: Callable[[Home, Job], subprocess.Popen[str]]
) -> None:
    job = queued(home, federation, LONG)
    kept = checkpoint(home, job)
    chance = random.Random(5)  # noqa: S311  # no secret
    for number in (signal.SIGKILL, signal.SIGTERM):  # more of them: benchmarks/resume.py
        worker, before = started(home, job), stamp(kept)
        until(lambda: stamp(kept) != before, worker)  # noqa: B023  # called at once
        time.sleep(chance.uniform(0.0, 0.4))
        worker.send_signal(number)
        said, complained = worker.communicate(timeout=PATIENCE_S)
        assert worker.returncode == (AGAIN_LATER if number is signal.SIGTERM else -number), (said, complained)
        if before:
            assert "goes on after step" in said
    assert len(complained.splitlines()) == 1
    assert "asked to end after step" in complained

    worker = started(home, job)
    said, complained = worker.communicate(timeout=PATIENCE_S)
    assert (worker.returncode, complained) == (0, "")
    assert service.held["model.safetensors"] == uninterrupted(home, job, LONG)
    assert not kept.exists()
    folder = kept.parent
    assert list(folder.glob("samples-*.png"))
    assert len(list(folder.glob("events.out.tfevents.*"))) == 3


def test_the_daemon_begins_a_job_again_later_that_its_worker_left_open_and_counts_no_attempt(
    home: Home, federation: Federation
) -> None:
    job = queued(home, federation, LONG)
    said: list[str] = []
    backlog = Backlog(home, Leftovers(home.layout.children), said.append)
    kept = checkpoint(home, job)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not kept.exists():
            assert time.monotonic() < deadline, said
            backlog.tend()
            time.sleep(0.05)
        assert backlog.worker is not None
        backlog.worker.ask_to_end()
        while backlog.worker is not None:
            assert time.monotonic() < deadline, said
            backlog.tend()
            time.sleep(0.05)
        held = home.jobs.get(job.id)
        assert held is not None
        assert (held.attempts, held.report.state) == (0, JobState.TRAINING)
        assert "asked to end after step" in said[-1]
        backlog.tend()
        assert backlog.worker is None  # not at once: what was in its way is there still
    finally:
        backlog.end()


@pytest.fixture
def mountable(tmp_path: Path) -> None:
    require_mountable(tmp_path)


@pytest.mark.usefixtures("mountable")
@pytest.mark.parametrize(
    "size",
    [
        pytest.param("16k", id="no room for a checkpoint"),
        pytest.param("160k", id="no room for the shard", marks=pytest.mark.soak),
    ],
)
def test_a_full_disk_ends_the_worker_in_one_line_and_the_job_is_taken_up_later(
    home: Home, federation: Federation, service: Service, size: str
) -> None:
    short = tiny_recipe(max_steps=20)
    job = queued(home, federation, short)
    done = subprocess.run(
        [*small_disk(home.layout.jobs, size), *command(home, job)], capture_output=True, text=True, check=False
    )
    assert done.returncode == AGAIN_LATER, done
    assert len(done.stderr.splitlines()) == 1
    assert "the disk is full; free some space" in done.stderr
    held = home.jobs.get(job.id)
    assert held is not None
    assert not held.report.state.final
    again = subprocess.run(command(home, job), capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (0, "")
    assert service.held["model.safetensors"] == uninterrupted(home, job, short)


FILL = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from severable_client.adapters.database import open_database
from severable_client.adapters.journal import SqlJournal
from severable_client.errors import DiskFullError
from severable_client.ports import JournalEntry
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
home = Path(sys.argv[1])
(home / "ballast").write_bytes(bytes(65536))
journal = SqlJournal(open_database(home / "state.db"), home / "journal.jsonl")
try:
    for number in range(100_000):
        journal.note(JournalEntry(at=NOON, what="x" * 10_000, subject="y", bytes=number))
except DiskFullError as error:
    print(error)
    print(len(journal.all()) == number)
(home / "ballast").unlink()
entry = JournalEntry(at=NOON, what="x", subject="y", bytes=0)
journal.note(entry)
# The entry that met the full disk may be there by now: its line was whole, and it errs on the side of telling.
print(journal.all()[-1] == entry, journal.verify().number - number in (1, 2))
"""


@pytest.mark.usefixtures("mountable")
def test_a_full_disk_under_the_journal_is_told_in_one_line_keeps_what_was_written_and_goes_on_later(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [*small_disk(tmp_path, "400k"), sys.executable, "-c", FILL, str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    said, kept, went_on = done.stdout.splitlines()
    assert "the disk is full; free some space" in said
    assert kept == "True"
    assert went_on == "True True"  # file and database are one again
