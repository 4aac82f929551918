"""The worker against a real home and a real exchange with mutual TLS; only the weights are tiny."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from client.exchange_service import Service, serving
from client.samples import RECIPE, Federation, make_home
from client.worker_runs import in_force, queued
from PIL import Image

from severable_client.bootstrap import Home, allowed_bundles, job_desk, open_home
from severable_client.errors import AbandonedError, StorageError, UnreachableError
from severable_client.jobs import remaining_s
from severable_client.ports import Job, JobReport, JobState, JournalKind
from severable_client.shipping import Patience
from severable_client.worker import Worker, main
from severable_trust.contract import Contract, ContractState
from severable_trust.envelope import Envelope
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified, statement_id

QUICK = Patience(tries=2, first_s=0.01)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def address(service: Service, federation: Federation) -> Iterator[str]:
    with serving(service, federation) as served:
        yield served


@pytest.fixture
def home(federation: Federation, tmp_path: Path, address: str, service: Service) -> Home:
    opened = open_home(make_home(federation, tmp_path, address))
    service.owner = opened.sides.own
    return opened


def work(home: Home, job: Job, tether: Callable[[], None] = lambda: None) -> JobReport:
    return Worker(home, job, tether, QUICK).run()


def end(home: Home) -> None:
    (record,) = home.contracts.all()
    home.contracts.put(replace(record, state=ContractState.TERMINATED))


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


def test_a_look_counts_the_images_or_names_what_is_wrong(
    home: Home, federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    in_force(home, federation)
    arguments = ["--home", str(home.layout.root), "--look", str(RECIPE)]
    assert main(arguments) == 0
    assert "16 images" in capsys.readouterr().out
    (Path(home.config.data) / "notes.txt").write_text("no image")
    assert main(arguments) == 1
    assert "notes.txt" in capsys.readouterr().err


def test_a_claim_says_what_the_worker_measured(home: Home, federation: Federation, service: Service) -> None:
    work(home, queued(home, federation))
    claim = read_unverified(service.claims[-1], ShardClaim)
    assert (claim.party, claim.images, claim.gate.images) == ("owner-a", 16, 16)


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
