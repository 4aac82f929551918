"""Manual release: a shard that passed the gate waits for its owner's word, and a withheld one never leaves."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from client.exchange_service import Service
from client.samples import Federation
from client.terminal import Terminal
from client.worker_runs import QUICK, end, queued, served_home, work

from severable_client.adapters.backlog import ATTEMPTS, Backlog
from severable_client.adapters.cli import main
from severable_client.adapters.config import Release
from severable_client.adapters.leftovers import Leftovers
from severable_client.bootstrap import Home
from severable_client.errors import JobStateError, ReleaseError
from severable_client.ports import Job, JobState, JournalKind
from severable_client.release import Verb, find_job, release, withhold
from severable_client.worker import Worker

PATIENCE_S = 600.0


@pytest.fixture
def home(federation: Federation, tmp_path: Path, service: Service) -> Iterator[Home]:
    with served_home(federation, tmp_path, service, release=Release.MANUAL) as opened:
        yield opened


def waiting(home: Home, federation: Federation) -> Job:
    job = queued(home, federation)
    assert work(home, job).state is JobState.UNRELEASED
    return stored(home, job)


def stored(home: Home, job: Job) -> Job:
    found = home.jobs.get(job.id)
    assert found is not None
    return found


def journalled(home: Home) -> list[str]:
    """What was noted about shards, after joining and the recipe's approval."""
    return [entry.what for entry in home.journal.all() if entry.what.startswith("shard")]


def kind_of(home: Home, what: str) -> JournalKind:
    return next(entry.kind for entry in home.journal.all() if entry.what == what)


def test_a_finished_shard_waits_and_is_shipped_once_released(
    home: Home, federation: Federation, service: Service, run: Terminal
) -> None:
    job = waiting(home, federation)
    root, name = home.layout.root, job.id[:12]
    assert service.claims == []
    assert journalled(home) == []
    assert run("status", "--home", root) == 0
    assert f"job {name}: waiting for release, step 6 of 6" in run.out
    assert str(home.layout.jobs / job.id / "gate.html") in run.out
    assert f"severable-client release {name}" in run.out
    assert run("report", name, "--home", root, "--format", "json") == 0
    report = json.loads(run.out)
    assert (report["passed"], report["state"], report["release"]) == (True, "waiting for release", "manual")
    assert run("release", name, "--home", root) == 0
    assert work(home, stored(home, job)).state is JobState.SHIPPED
    assert journalled(home) == ["shard released", "shard, upload begun", "shard, admitted"]
    assert kind_of(home, "shard released") is JournalKind.DECIDED
    assert kind_of(home, "shard, admitted") is JournalKind.SENT
    assert run("status", "--home", root) == 0
    assert "shard released" not in run.out.partition("what left this machine")[2]
    assert len(set(service.claims)) == 1
    assert run("release", name, "--home", root) == 1
    assert "is shipped; only one that waits" in run.err


def test_a_withheld_shard_never_leaves_and_its_job_is_final(
    home: Home, federation: Federation, service: Service, run: Terminal
) -> None:
    job = waiting(home, federation)
    root, name = home.layout.root, job.id[:12]
    assert run("withhold", name, "--reason", "two faces can be told", "--home", root) == 0
    kept = stored(home, job)
    assert kept.report.state is JobState.WITHHELD
    assert kept.report.state.final
    assert "faces" not in kept.report.detail  # the coordinator reads that line
    assert journalled(home) == ["shard withheld: two faces can be told"]
    assert kind_of(home, "shard withheld: two faces can be told") is JournalKind.DECIDED
    assert run("release", name, "--home", root) == 1
    assert run("report", name, "--home", root) == 0
    assert "withheld at " in run.out
    assert "two faces can be told" in run.out
    with pytest.raises(JobStateError):
        Worker(home, kept, lambda: None, QUICK).run()
    assert service.claims == []
    assert service.held == {}


def test_the_first_decision_stands_even_if_the_job_was_not_marked_in_time(home: Home, federation: Federation) -> None:
    job = waiting(home, federation)
    withhold(job, "sha256:" + "ab" * 32, "no", home.release_desk)
    with pytest.raises(ReleaseError, match="was withheld at"):  # another process still saw it waiting
        release(job, "sha256:" + "ab" * 32, home.release_desk)


def test_a_decision_about_another_shard_does_not_let_this_one_leave(
    home: Home, federation: Federation, service: Service
) -> None:
    job = waiting(home, federation)
    release(job, "sha256:" + "ab" * 32, home.release_desk)
    assert work(home, stored(home, job)).state is JobState.UNRELEASED
    assert service.claims == []


def test_files_that_changed_while_they_waited_are_not_what_leaves_and_the_shard_is_trained_again(
    home: Home, federation: Federation, service: Service, run: Terminal
) -> None:
    job = waiting(home, federation)
    weights = home.layout.jobs / job.id / "model.safetensors"
    trained = weights.read_bytes()
    weights.write_bytes(bytes(len(trained)))
    assert run("release", job.id[:12], "--home", home.layout.root) == 1
    assert "holds no whole shard" in run.err
    assert home.release_desk.decisions.of(job.id) == ()
    assert service.claims == []
    assert stored(home, job).report.state is JobState.QUEUED
    assert work(home, stored(home, job)).state is JobState.UNRELEASED
    assert weights.read_bytes() == trained


def test_a_contract_that_ended_while_a_shard_waited_keeps_it_at_home(
    home: Home, federation: Federation, service: Service, run: Terminal
) -> None:
    job = waiting(home, federation)
    end(home)
    assert run("release", "--home", home.layout.root) == 0
    report = work(home, stored(home, job))
    assert report.state is JobState.FAILED
    assert "terminated" in report.detail
    assert service.claims == []


@pytest.mark.integration
def test_the_daemons_own_worker_waits_for_the_release_and_then_ships(
    home: Home, federation: Federation, service: Service
) -> None:
    job = queued(home, federation)
    said: list[str] = []
    backlog = Backlog(home, Leftovers(home.layout.children), said.append)
    for _ in range(ATTEMPTS - 1):  # even on its last attempt
        home.jobs.attempt(job.id, job.created)

    def tended_until(state: JobState) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while stored(home, job).report.state is not state or backlog.worker is not None:
            assert time.monotonic() < deadline, said
            backlog.tend()
            time.sleep(0.1)

    tended_until(JobState.UNRELEASED)
    assert service.claims == []
    backlog.tend()
    assert backlog.worker is None  # it is not started for a shard that waits
    assert any("waiting for release" in line and "severable-client report" in line for line in said)
    command = ["severable-client", "release", job.id[:12], "--home", str(home.layout.root)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    tended_until(JobState.SHIPPED)
    assert sorted(service.held) == ["config.json", "manifest.json", "model.safetensors"]


def test_a_job_is_found_by_its_first_digits_or_as_the_only_one_that_waits(home: Home, federation: Federation) -> None:
    job = waiting(home, federation)
    assert find_job(job.id[:6], [job]) == find_job("", [job]) == job
    for given, jobs in (("", []), ("zz", [job]), (job.id[:6], [job, job])):
        with pytest.raises(JobStateError):
            find_job(given, jobs)


@pytest.mark.parametrize("reason", ["", "   ", "two\nlines", "x" * 301])
def test_a_reason_of_the_wrong_form_decides_nothing(home: Home, federation: Federation, reason: str) -> None:
    job = queued(home, federation)
    with pytest.raises(ReleaseError, match="one line of 1 to 300"):
        withhold(job, "sha256:" + "ab" * 32, reason, home.release_desk)
    assert home.release_desk.decisions.of(job.id) == ()


def test_a_job_that_does_not_wait_cannot_be_decided_about(home: Home, federation: Federation) -> None:
    job = queued(home, federation)
    with pytest.raises(JobStateError, match="is queued; only one that waits"):
        release(job, "sha256:" + "ab" * 32, home.release_desk)
    assert Verb.RELEASED not in {decision.verb for decision in home.release_desk.decisions.of(job.id)}
