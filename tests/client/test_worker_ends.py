"""How a worker's job ends when something is in its way: refused, failed in one line, or left open for later."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from client.exchange_service import Service
from client.samples import RECIPE, Federation
from client.worker_runs import QUICK, end, queued, served_home, work
from PIL import Image

from severable_client.bootstrap import Home, job_desk
from severable_client.errors import AbandonedError, StorageError, UnreachableError
from severable_client.ports import JobState
from severable_client.worker import Worker, main


@pytest.fixture
def home(federation: Federation, tmp_path: Path, service: Service) -> Iterator[Home]:
    with served_home(federation, tmp_path, service) as opened:
        yield opened


def test_a_contract_that_ends_during_training_stops_the_job(
    home: Home, federation: Federation, service: Service
) -> None:
    job = queued(home, federation)

    def tether() -> None:
        held = home.jobs.get(job.id)
        if held is not None and held.report.state is JobState.TRAINING:
            end(home)

    report = work(home, job, tether)
    assert report.state is JobState.FAILED
    assert "terminated" in report.detail
    assert service.claims == []


def test_a_shard_that_the_coordinator_refuses_is_a_failed_job_with_its_reason(
    home: Home, federation: Federation, service: Service
) -> None:
    service.refuse_shard = "step 8: tensor 'x' has another shape"
    report = work(home, queued(home, federation))
    assert report.state is JobState.FAILED
    assert "step 8" in report.detail


def test_a_broken_image_folder_is_a_failed_job_that_names_the_file(home: Home, federation: Federation) -> None:
    job = queued(home, federation)
    odd = Path(home.config.data) / "000.png"
    odd.write_bytes(b"no picture")
    report = work(home, job)
    assert report.state is JobState.FAILED
    assert "000.png" in report.detail


def test_a_checkpoint_is_not_taken_up_once_an_image_was_exchanged(
    home: Home, federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    job = queued(home, federation)

    def lost() -> None:
        held = home.jobs.get(job.id)
        if held is not None and held.report.step == 3:
            raise AbandonedError("the daemon has ended")

    with pytest.raises(AbandonedError):
        Worker(home, job, lost, QUICK, report_every_s=0.0).run()
    Image.new("L", (8, 8), 77).save(Path(home.config.data) / "000.png")
    assert work(home, job).state is JobState.SHIPPED
    assert "another recipe, seed or set of images; train from the beginning" in capsys.readouterr().out


def test_a_device_that_is_not_there_is_a_failed_job_that_names_the_field(home: Home, federation: Federation) -> None:
    job = queued(home, federation)
    report = work(replace(home, config=replace(home.config, device="cuda:99")), job)
    assert report.state is JobState.FAILED
    assert "'device' is cuda:99" in report.detail


def test_an_mlflow_that_is_not_installed_is_a_failed_job_that_names_the_field(
    home: Home, federation: Federation
) -> None:
    job = queued(home, federation)
    report = work(replace(home, config=replace(home.config, mlflow="http://127.0.0.1:9")), job)
    assert report.state is JobState.FAILED
    assert "mlflow is not installed here" in report.detail


def test_a_coordinator_that_is_away_for_long_leaves_the_job_open_and_the_shard_is_sent_once_it_answers(
    home: Home, federation: Federation, service: Service
) -> None:
    job = queued(home, federation)
    away = replace(home, config=replace(home.config, exchange="127.0.0.1:9"))
    with pytest.raises(UnreachableError, match="gave up shipping after 2 tries"):
        work(away, job)
    held = home.jobs.get(job.id)
    assert held is not None
    assert held.report.state is JobState.SHIPPING
    weights = (home.layout.jobs / job.id / "model.safetensors").read_bytes()
    assert work(home, held).state is JobState.SHIPPED
    assert service.held["model.safetensors"] == weights


def test_an_admission_is_in_the_journal_once_though_its_worker_ended_before_the_jobs_last_report(
    home: Home, federation: Federation
) -> None:
    job = queued(home, federation)
    with pytest.raises(UnreachableError):
        work(replace(home, config=replace(home.config, exchange="127.0.0.1:9")), job)
    in_the_way = home.layout.jobs / job.id / "training" / "checkpoint.safetensors.part"
    in_the_way.mkdir()  # what is forgotten between the admission and the last report cannot be
    with pytest.raises(StorageError):
        work(home, job)
    in_the_way.rmdir()
    assert work(home, job).state is JobState.SHIPPED
    assert [entry.what for entry in home.journal.all()].count("shard, admitted") == 1


def test_the_command_refuses_a_job_that_is_over_and_one_that_never_was(
    home: Home, federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    job = queued(home, federation)
    work(home, job)
    assert main(["--home", str(home.layout.root), "--job", job.id]) == 1
    assert main(["--home", str(home.layout.root), "--job", "f" * 64]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"job {job.id[:12]} is shipped",
        "job ffffffffffff is unknown",
    ]


def test_a_worker_that_is_asked_to_end_stops_training_and_leaves_the_job_open(
    home: Home, federation: Federation, service: Service
) -> None:
    job = queued(home, federation)
    with pytest.raises(AbandonedError, match="goes on"):
        Worker(home, job, lambda: None, QUICK, ending=lambda: True).run()
    left = home.jobs.get(job.id)
    assert left is not None
    assert not left.report.state.final
    assert service.claims == []


def test_a_worker_that_is_asked_to_end_may_still_finish_its_upload(
    home: Home, federation: Federation, service: Service
) -> None:
    job = queued(home, federation)

    def ending() -> bool:
        held = home.jobs.get(job.id)
        return held is not None and held.report.state in {JobState.GATING, JobState.SHIPPING}

    assert Worker(home, job, lambda: None, QUICK, ending=ending).run().state is JobState.SHIPPED


def test_a_refusal_while_a_recipe_is_trained_ends_the_job(home: Home, federation: Federation, service: Service) -> None:
    job = queued(home, federation)

    def tether() -> None:
        held = home.jobs.get(job.id)
        if held is not None and held.report.state is JobState.TRAINING:
            home.consent.decide(str(RECIPE), granted=False, by="ada")

    report = work(home, job, tether)
    assert report.state is JobState.FAILED
    assert "the owner refused" in report.detail
    assert service.claims == []


def test_the_coordinator_is_not_told_the_name_of_an_image(home: Home, federation: Federation) -> None:
    job = queued(home, federation)
    odd = Path(home.config.data) / "Jane Doe.png"
    odd.write_bytes(b"no picture")
    assert "Jane Doe" in work(home, job).detail  # the owner is, by `status`
    told = job_desk(home.layout.root)(job.request)
    assert told.state is JobState.FAILED
    assert "Jane" not in told.detail
