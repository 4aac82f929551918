"""The worker against a real home and a real exchange with mutual TLS; only the weights are tiny."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from client.exchange_service import Service
from client.samples import Federation
from client.worker_runs import QUICK, end, in_force, queued, served_home, work

from severable_client.bootstrap import Home, allowed_bundles, job_desk
from severable_client.errors import AbandonedError
from severable_client.jobs import remaining_s
from severable_client.ports import Job, JobState, JournalKind
from severable_client.worker import Worker
from severable_trust.contract import Contract
from severable_trust.envelope import Envelope
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified, statement_id


@pytest.fixture
def home(federation: Federation, tmp_path: Path, service: Service) -> Iterator[Home]:
    with served_home(federation, tmp_path, service) as opened:
        yield opened


def test_a_job_ends_shipped_with_the_shards_id_and_a_journal(
    home: Home, federation: Federation, service: Service
) -> None:
    report = work(home, queued(home, federation))
    assert report.state is JobState.SHIPPED
    assert report.detail == str(statement_id(Envelope.parse(service.claims[-1])))
    assert (report.step, report.steps) == (6, 6)
    sent = [entry.what for entry in home.journal.all() if entry.kind is JournalKind.SENT]
    assert sent[1:] == [
        "shard, upload begun",
        "shard, admitted",
    ]
    assert sorted(service.held) == ["config.json", "manifest.json", "model.safetensors"]


def test_only_the_three_files_and_the_claim_are_kept_and_nothing_else_was_sent(
    home: Home, federation: Federation, service: Service
) -> None:
    job = queued(home, federation)
    work(home, job)
    folder = home.layout.jobs / job.id
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["training"]
    assert {path.stat().st_mode & 0o077 for path in (folder, folder / "training")} == {0}
    assert {kept.pop(name)[:1] for name in ("gate.json", "gate.html")} == {b"{", b"<"}  # the owner's own
    assert kept == service.held | {"claim.dsse.json": service.claims[-1]}


def test_a_worker_that_is_started_again_while_shipping_sends_the_same_claim(
    home: Home, federation: Federation, service: Service
) -> None:
    job = queued(home, federation)

    def lost() -> None:
        if service.streams == 1:  # the second opening finds the daemon gone
            raise AbandonedError("the daemon has ended")

    service.cut_after = 5000
    with pytest.raises(AbandonedError):
        Worker(home, job, lost, QUICK, report_every_s=0.0).run()
    again = home.jobs.get(job.id)
    assert again is not None
    assert again.report.state is JobState.SHIPPING
    assert work(home, again).state is JobState.SHIPPED
    assert len(service.claims) > 1
    assert len(set(service.claims)) == 1


def test_of_a_training_pictures_and_figures_stay_and_the_checkpoint_goes(
    home: Home, federation: Federation, service: Service
) -> None:
    job = queued(home, federation)
    work(home, job)
    names = sorted(path.name for path in (home.layout.jobs / job.id / "training").iterdir())
    assert [name.partition(".")[0] for name in names] == ["events", "samples-00000006"]


def test_a_worker_that_is_started_again_while_training_goes_on_and_counts_the_earlier_sitting_in(
    home: Home, federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    job = queued(home, federation)
    seen: list[Job] = []

    def lost() -> None:
        held = home.jobs.get(job.id)
        if held is not None and held.report.step == 3:
            raise AbandonedError("the daemon has ended")

    def watch() -> None:
        held = home.jobs.get(job.id)
        seen.extend([] if held is None else [held])

    with pytest.raises(AbandonedError):
        Worker(home, job, lost, QUICK, report_every_s=0.0).run()
    assert Worker(home, job, watch, QUICK, report_every_s=0.0).run().state is JobState.SHIPPED
    assert "goes on after step 4 of 6" in capsys.readouterr().out
    (resumed,) = (held for held in seen if "going on from the checkpoint after step 4" in held.report.detail)
    assert (resumed.report.step, resumed.report.steps) == (4, 6)
    assert resumed.started is not None
    assert resumed.started <= resumed.updated
    assert remaining_s(resumed, resumed.updated) == pytest.approx(
        (resumed.updated - resumed.started).total_seconds() / 4 * 2
    )


def test_the_desk_answers_for_a_job_that_another_process_finished(home: Home, federation: Federation) -> None:
    job = queued(home, federation)
    work(home, job)
    assert job_desk(home.layout.root)(job.request).state is JobState.SHIPPED


def test_bundles_are_allowed_while_the_contract_is_in_force(home: Home, federation: Federation) -> None:
    allowed = allowed_bundles(home.layout.root)
    assert allowed() == frozenset()
    envelope = in_force(home, federation)
    assert allowed() == {digest.hex for digest in read_unverified(envelope, Contract).apps}
    end(home)
    assert allowed() == frozenset()


def test_a_claim_says_what_the_worker_measured(home: Home, federation: Federation, service: Service) -> None:
    work(home, queued(home, federation))
    claim = read_unverified(service.claims[-1], ShardClaim)
    assert (claim.party, claim.images, claim.gate.images) == ("owner-a", 16, 16)
