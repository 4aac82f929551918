"""`erase` as its owner types it: what it says, what it keeps, and that no record's name leaves the terminal."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from client.exchange_service import Service, serving
from client.samples import NONCE, RECIPE, RECIPE_BYTES, Federation, item, make_home
from client.terminal import Terminal

from severable_client.adapters.keys import read_signer
from severable_client.adapters.salt import data_salt
from severable_client.adapters.upkeep import settle_erasures
from severable_client.bootstrap import Home, job_desk, now, open_home
from severable_client.catalogue import record_hash, sub_shard
from severable_client.contracts import receive
from severable_client.errors import AbandonedError
from severable_client.ports import Job, JobRequest, JobState, JournalKind
from severable_client.shipping import Patience
from severable_client.worker import Worker
from severable_trust.contract import ContractState, Limits
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.removal import RECORDS
from severable_trust.shard import ShardClaim, SubShard
from severable_trust.statement import read_unverified, sign_statement, statement_id

COUNT = 2
QUICK = Patience(tries=2, first_s=0.01)
NAME = "000.png"


@pytest.fixture
def home(federation: Federation, tmp_path: Path, service: Service) -> Iterator[Home]:
    with serving(service, federation) as address:
        opened = open_home(make_home(federation, tmp_path, address))
        service.owner = opened.sides.own
        service.acknowledges = federation.coordinator
        opened.layout.data_salt.write_bytes(b"s" * 32)  # so that both sub-shards have images
        yield opened


def in_force(home: Home, federation: Federation, count: int | None = COUNT) -> str:
    limits = Limits(min_images=1, memorization_ceiling=1.0, sub_shards=count)
    contract = federation.contract(owner=home.sides.own, begins=now(), limits=limits)
    signed = sign_statement(contract, federation.coordinator).countersigned(read_signer(home.layout))
    receive(item(signed, "active", RECIPE_BYTES), home.holdings)
    return str(statement_id(signed))


def queued(home: Home, contract: str, index: int | None, nonce: str = NONCE) -> Job:
    request = JobRequest(task="t", nonce=nonce, contract=contract, recipe=str(RECIPE), sub_shard=index)
    assert job_desk(home.layout.root)(request).state is JobState.QUEUED
    return next(job for job in home.jobs.all() if job.request == request)


def work(home: Home, job: Job, service: Service) -> JobState:
    service.held.clear()  # it holds one shard
    return Worker(home, job, lambda: None, QUICK).run().state


def hit_and_other(home: Home) -> tuple[int, int]:
    hit = sub_shard(data_salt(home.layout), NAME, COUNT)
    return hit, 1 - hit


def kept(home: Home) -> list[Path]:
    """Every file of the home but the database's own."""
    return sorted(path for path in home.layout.root.rglob("*") if not path.name.startswith("state.db"))


def test_a_claim_states_its_sub_shard_and_the_images_of_it_alone(
    home: Home, federation: Federation, service: Service
) -> None:
    contract = in_force(home, federation)
    images = 0
    for index in range(COUNT):
        assert work(home, queued(home, contract, index, f"{index:064x}"), service) is JobState.SHIPPED
        claim = read_unverified(Envelope.parse(service.claims[-1]), ShardClaim)
        assert claim.sub_shard == SubShard(index=index, count=COUNT)
        images += claim.images
    assert images == 16


def test_records_that_nobody_knows_are_named_in_one_line_and_nothing_changes(home: Home, run: Terminal) -> None:
    before = home.journal.all()
    assert run("erase", NAME, "nobody", "--yes", "--home", home.layout.root) == 1
    assert len(run.err.splitlines()) == 1
    assert "nobody" in run.err
    assert NAME not in run.err.replace(home.config.data, "")
    assert home.erased.count() == 0
    assert home.journal.all() == before


def test_without_a_record_erase_says_how_to_name_one(home: Home, run: Terminal) -> None:
    assert run("erase", "--home", home.layout.root) == 1
    assert run.err.startswith("severable-client: no record is named")


def test_a_dry_run_says_what_would_be_trained_anew_and_changes_nothing(
    home: Home, federation: Federation, service: Service, run: Terminal
) -> None:
    contract = in_force(home, federation)
    hit, _ = hit_and_other(home)
    assert work(home, queued(home, contract, hit), service) is JobState.SHIPPED
    before = kept(home)
    assert run("erase", NAME, "--dry-run", "--format", "json", "--home", home.layout.root) == 0
    said = json.loads(run.out)
    (effect,) = said["contracts"]
    assert (said["records"], said["erased"], effect["retrained"]) == (1, False, [hit])
    assert effect["of_images"] == 15
    assert effect["share"] == effect["images"] / 15 < 1
    assert effect["shards"] == [str(statement_id(Envelope.parse(service.claims[-1])))]
    assert home.erased.count() == 0
    assert kept(home) == before


def test_a_record_is_named_by_its_id_or_its_file_and_a_list_names_many(
    home: Home, run: Terminal, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{home.config.data}/001.png\n\n002.png\n", encoding="utf-8")
    assert run("erase", NAME, "--file", listed, "--yes", "--home", home.layout.root) == 0
    salt = data_salt(home.layout)
    assert set(home.erased.all()) == {record_hash(salt, name) for name in (NAME, "001.png", "002.png")}
    assert "no contract is in force" in run.out
    assert f"{home.config.data}/{NAME}" in run.out  # which files to delete
    assert run("data", "check", "--format", "json", "--home", home.layout.root) == 0
    assert json.loads(run.out)["images"] == 13


def test_one_image_of_a_record_takes_all_of_the_record(home: Home, run: Terminal) -> None:
    folder = Path(home.config.data)
    rows = "".join(f"{number:03d}.png,patient-{number // 4}\n" for number in range(16))
    (folder / "metadata.csv").write_text(f"file_name,record_id\n{rows}", encoding="utf-8")
    assert run("erase", folder / "005.png", "--yes", "--format", "json", "--home", home.layout.root) == 0
    assert len(json.loads(run.out)["files_to_delete"]) == 4
    assert home.erased.all() == (record_hash(data_salt(home.layout), "patient-1"),)


def test_erasing_twice_changes_nothing_more_and_gone_images_are_taken_at_their_word(home: Home, run: Terminal) -> None:
    assert run("erase", NAME, "--yes", "--home", home.layout.root) == 0
    (Path(home.config.data) / NAME).unlink()
    assert run("erase", NAME, "--yes", "--home", home.layout.root) == 0
    assert home.erased.count() == 1
    assert run("erase", "went-before", "--yes", "--home", home.layout.root) == 1
    assert run("erase", "went-before", "--gone", "--yes", "--home", home.layout.root) == 0
    assert home.erased.count() == 2


def test_an_erasure_asks_for_exactly_the_shards_that_held_the_record_and_the_contract_stays(
    home: Home, federation: Federation, service: Service, run: Terminal
) -> None:
    contract = in_force(home, federation)
    hit, other = hit_and_other(home)
    shards = {}
    for index in (hit, other):
        job = queued(home, contract, index, f"{index:064x}")
        assert work(home, job, service) is JobState.SHIPPED
        held = home.jobs.get(job.id)
        assert held is not None
        shards[index] = held
    assert run("erase", NAME, "--yes", "--home", home.layout.root) == 0
    (removal,) = home.removals.all()
    assert removal.says.clause == RECORDS
    assert removal.says.subjects == (Digest.parse(shards[hit].report.detail),)
    assert (removal.says.reason, bool(removal.acknowledgement)) == ("", True)
    (record,) = home.contracts.all()
    assert record.state is ContractState.ACTIVE
    assert not (home.layout.jobs / shards[hit].id).exists()
    assert (home.layout.jobs / shards[other].id / "model.safetensors").exists()
    assert run("erase", NAME, "--yes", "--home", home.layout.root) == 0
    assert len(home.removals.all()) == 1  # asked once


def test_without_the_coordinator_the_request_is_kept_and_the_daemon_sends_the_same_bytes(
    home: Home, federation: Federation, service: Service, run: Terminal
) -> None:
    contract = in_force(home, federation, None)
    assert work(home, queued(home, contract, None), service) is JobState.SHIPPED
    path = home.layout.config
    path.write_text(path.read_text().replace(home.config.exchange, "127.0.0.1:9"))
    assert run("erase", NAME, "--yes", "--home", home.layout.root) == 0
    assert "the request is kept" in run.err
    (removal,) = home.removals.all()
    assert removal.acknowledgement == b""
    assert home.erased.count() == 1
    with home.exchange() as exchange:  # this home was opened before its address was put wrong
        (sent,) = settle_erasures(home, exchange)
        assert settle_erasures(home, exchange) == ()
    assert (sent.request, sent.acknowledgement != b"") == (removal.request, True)
    assert home.removals.all() == (sent,)


def test_a_training_under_way_is_given_up_and_begins_anew_without_the_record(
    home: Home, federation: Federation, service: Service, run: Terminal
) -> None:
    contract = in_force(home, federation, None)
    job = queued(home, contract, None)

    def erase_meanwhile() -> None:
        held = home.jobs.get(job.id)
        if held is not None and held.report.state is JobState.TRAINING and not home.erased.count():
            home.erased.add([record_hash(data_salt(home.layout), NAME)])

    with pytest.raises(AbandonedError, match="trained anew"):
        Worker(home, job, erase_meanwhile, QUICK, report_every_s=0.0).run()
    assert service.claims == []
    assert work(home, job, service) is JobState.SHIPPED
    assert read_unverified(Envelope.parse(service.claims[-1]), ShardClaim).images == 15
    assert home.erasures.to_withdraw() == ()


def test_the_trail_of_an_erasure_names_no_record(
    home: Home, federation: Federation, service: Service, run: Terminal
) -> None:
    folder = Path(home.config.data)
    rows = "".join(f"{number:03d}.png,patient-{number:04d}-secret\n" for number in range(16))
    (folder / "metadata.csv").write_text(f"file_name,record_id\n{rows}", encoding="utf-8")
    contract = in_force(home, federation, None)
    assert work(home, queued(home, contract, None), service) is JobState.SHIPPED
    assert run("erase", "patient-0003-secret", "--yes", "--home", home.layout.root) == 0
    assert work(home, queued(home, contract, None, "6b" * 32), service) is JobState.SHIPPED
    for path in home.layout.root.rglob("*"):
        assert "003.png" not in path.name
        if path.is_file():
            data = path.read_bytes()
            assert b"patient-0003" not in data, path
            assert b"003.png" not in data, path
    told = [entry for entry in home.journal.all() if entry.kind is JournalKind.DECIDED and "erased" in entry.what]
    assert [entry.what for entry in told] == ["records erased: 1"]
    for claim in service.claims:
        assert b"patient" not in claim


def test_data_check_tells_the_sizes_of_sub_shards(home: Home, run: Terminal, tmp_path: Path) -> None:
    assert run("data", "check", "--sub-shards", 4, "--format", "json", "--home", home.layout.root) == 0
    sizes = json.loads(run.out)["sub_shards"]
    assert (len(sizes), sum(sizes)) == (4, 16)
    assert run("data", "check", "--sub-shards", 64, "--home", home.layout.root) == 0
    assert "an empty one cannot be trained" in run.out
    assert run("data", "check", home.config.data, "--sub-shards", 4, "--home", tmp_path / "none") == 1
    assert "join first" in run.err


def test_a_sub_shard_that_is_empty_fails_in_one_line_before_training(
    home: Home, federation: Federation, service: Service
) -> None:
    limits = Limits(min_images=1, memorization_ceiling=1.0, sub_shards=64)
    contract = federation.contract(owner=home.sides.own, begins=now(), limits=limits)
    signed = sign_statement(contract, federation.coordinator).countersigned(read_signer(home.layout))
    receive(item(signed, "active", RECIPE_BYTES), home.holdings)
    salt = data_salt(home.layout)
    empty = next(i for i in range(64) if all(sub_shard(salt, f"{n:03d}.png", 64) != i for n in range(16)))
    job = queued(home, str(statement_id(signed)), empty)
    report = Worker(home, job, lambda: None, QUICK).run()
    assert report.state is JobState.FAILED
    assert f"sub-shard {empty} of 64 holds no images" in report.detail
    assert "\n" not in report.detail
    assert service.claims == []
