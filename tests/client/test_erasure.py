"""Erased records: never read again, known by keyed hashes alone, and only what was trained on them is stale."""

import hashlib
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from client.image_sets import png
from client.samples import NONCE, NOON, RECIPE, RECIPE_BYTES, Federation, item, make_home
from hypothesis import given, settings
from hypothesis import strategies as st

from severable_client.adapters.data_folder import open_source
from severable_client.adapters.erased import FileErasedStore, FolderTraces
from severable_client.adapters.keys import read_signer
from severable_client.adapters.prepared_images import look_through, prepare
from severable_client.adapters.salt import data_salt
from severable_client.bootstrap import Home, job_desk, now, open_home
from severable_client.catalogue import Cataloguer, Picture, Trouble, place, record_hash, sub_shard
from severable_client.contracts import receive
from severable_client.erasure import Remaining
from severable_client.errors import ContractProblemError, DataFolderError, HomeError
from severable_client.home import Layout
from severable_client.jobs import job_id, part_of
from severable_client.ports import Job, JobReport, JobRequest, JobState
from severable_client.training import read_recipe
from severable_trust.contract import Limits
from severable_trust.digest import Digest
from severable_trust.shard import SubShard
from severable_trust.statement import sign_statement, statement_id

SALT = b"s" * 32
COUNT = 3


def roots(records: set[str], count: int) -> list[Digest]:
    """The data digest of each sub-shard of records whose image is their own name."""
    cataloguers = [Cataloguer(SALT) for _ in range(count)]
    for record in sorted(records):
        digest = hashlib.sha256(record.encode()).digest()
        cataloguers[sub_shard(SALT, record, count)].add("class", digest)
    return [cataloguer.finish().root for cataloguer in cataloguers]


@given(st.sets(st.text(min_size=1, max_size=12), min_size=1, max_size=40), st.integers(1, 64), st.data())
@settings(max_examples=100, deadline=None)
def test_erasing_a_record_changes_the_digest_of_its_own_sub_shard_and_of_no_other(
    records: set[str], count: int, data: st.DataObject
) -> None:
    erased = data.draw(st.sampled_from(sorted(records)))
    before, after = roots(records, count), roots(records - {erased}, count)
    changed = [index for index in range(count) if before[index] != after[index]]
    assert changed == [sub_shard(SALT, erased, count)]


@given(st.text(), st.integers(1, 64))
def test_the_hash_of_an_erased_record_says_where_it_was(record: str, count: int) -> None:
    assert place(record_hash(SALT, record), count) == sub_shard(SALT, record, count)


def test_without_the_salt_a_hash_says_nothing_of_its_record() -> None:
    assert record_hash(SALT, "patient") != record_hash(b"t" * 32, "patient")
    assert record_hash(SALT, "patient") != hashlib.sha256(b"patient").digest()


def test_erased_records_are_kept_once_in_order_and_for_the_owner_alone(tmp_path: Path) -> None:
    store = FileErasedStore(tmp_path / "erased.txt")
    assert (store.all(), store.count()) == ((), 0)
    first, second, third = (record_hash(SALT, name) for name in "abc")
    assert store.add([second, first, second]) == 2
    assert store.add([first, third]) == 1
    assert FileErasedStore(tmp_path / "erased.txt").all() == (second, first, third)
    assert store.count() == 3
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["00\n", "zz" * 32 + "\n", "00" * 32, "é\n", "00" * 33 + "\n"])
def test_a_damaged_list_is_refused_before_anything_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "erased.txt"
    path.write_text(text)
    with pytest.raises(HomeError, match="is damaged; restore it"):
        FileErasedStore(path).all()
    with pytest.raises(HomeError, match="is damaged"):
        FileErasedStore(path).add([record_hash(SALT, "a")])
    assert path.read_text() == text


def test_a_lost_salt_does_not_bring_erased_records_back(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.keys.mkdir()
    FileErasedStore(layout.erased).add([record_hash(data_salt(layout), "a")])
    layout.data_salt.unlink()
    with pytest.raises(HomeError, match="means nothing without it"):
        data_salt(layout)


def folder_of(root: Path, metadata: str = "") -> Path:
    root.mkdir(parents=True)
    for number in range(6):
        (root / f"{number}.png").write_bytes(png(number))
    if metadata:
        (root / "metadata.csv").write_text(metadata)
    return root


def read(folder: Path, choice: Remaining) -> list[str]:
    found = list(open_source(folder, choice).scan())
    assert not [trouble for trouble in found if isinstance(trouble, Trouble)]
    return [picture.record.record for picture in found if isinstance(picture, Picture)]


def test_the_sub_shards_divide_a_folder_and_an_erased_record_is_in_none(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set")
    erased = [record_hash(SALT, "3.png")]
    parts = [read(folder, Remaining(SALT, erased, SubShard(index=i, count=COUNT))) for i in range(COUNT)]
    assert sorted(record for part in parts for record in part) == ["0.png", "1.png", "2.png", "4.png", "5.png"]
    for index, part in enumerate(parts):
        assert all(sub_shard(SALT, record, COUNT) == index for record in part)


def test_a_file_of_an_erased_record_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, opened, real = folder_of(tmp_path / "set"), list[str](), Path.read_bytes

    def watched(path: Path) -> bytes:
        opened.append(path.name)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", watched)
    assert len(read(folder, Remaining(SALT, [record_hash(SALT, "3.png")]))) == 5
    assert opened == ["0.png", "1.png", "2.png", "4.png", "5.png"]


def test_a_row_of_an_erased_record_is_no_trouble_when_its_image_is_gone(tmp_path: Path) -> None:
    rows = "".join(f"{number}.png,p{number // 2}\n" for number in range(6))
    folder = folder_of(tmp_path / "set", f"file_name,record_id\n{rows}")
    for name in ("0.png", "1.png"):
        (folder / name).unlink()
    assert read(folder, Remaining(SALT, [record_hash(SALT, "p0")])) == ["p1", "p1", "p2", "p2"]
    troubles = [str(found) for found in open_source(folder).scan() if isinstance(found, Trouble)]
    assert len(troubles) == 2


def request(contract: str, index: int | None = None, nonce: str = NONCE) -> JobRequest:
    return JobRequest(task="t", nonce=nonce, contract=contract, recipe=str(RECIPE), sub_shard=index)


@pytest.mark.parametrize(("count", "index"), [(None, 0), (3, None), (3, 3), (3, -1)])
def test_a_request_that_does_not_fit_its_contract_is_refused(
    federation: Federation, count: int | None, index: int | None
) -> None:
    contract = federation.contract(limits=Limits(min_images=1, memorization_ceiling=1.0, sub_shards=count))
    with pytest.raises(ContractProblemError, match="divides the records"):
        part_of(request("c", index), contract)


def test_jobs_of_different_sub_shards_are_different_jobs() -> None:
    ids = {job_id(request("c", index)) for index in (None, 0, 1, 2)}
    assert len(ids) == 4


@pytest.fixture
def home(federation: Federation, tmp_path: Path) -> Home:
    opened = open_home(make_home(federation, tmp_path, "127.0.0.1:9"))
    opened.layout.data_salt.write_bytes(SALT)  # so that every sub-shard has images
    return opened


def divided(home: Home, federation: Federation, count: int | None = COUNT) -> str:
    limits = Limits(min_images=1, memorization_ceiling=1.0, sub_shards=count)
    contract = federation.contract(owner=home.sides.own, begins=now(), limits=limits)
    signed = sign_statement(contract, federation.coordinator).countersigned(read_signer(home.layout))
    receive(item(signed, "active", RECIPE_BYTES), home.holdings)
    return str(statement_id(signed))


def test_the_desk_takes_a_job_for_each_sub_shard_of_the_contract(home: Home, federation: Federation) -> None:
    contract, desk = divided(home, federation), job_desk(home.layout.root)
    for index in range(COUNT):
        assert desk(request(contract, index)).state is JobState.QUEUED
        assert desk(request(contract, index)).state is JobState.QUEUED
    assert sorted(str(job.request.sub_shard) for job in home.jobs.all()) == ["0", "1", "2"]
    for other in (None, COUNT):
        assert desk(request(contract, other)).state is JobState.REFUSED


def test_a_home_of_an_earlier_version_gets_the_column_that_it_lacks(home: Home, federation: Federation) -> None:
    contract = divided(home, federation, None)
    assert job_desk(home.layout.root)(request(contract)).state is JobState.QUEUED
    with closing(sqlite3.connect(home.layout.state)) as database:
        database.execute("ALTER TABLE jobs DROP COLUMN sub_shard")
    (job,) = open_home(home.layout.root).jobs.all()
    assert job.request.sub_shard is None


def test_preparing_reads_one_sub_shard_and_no_erased_record(home: Home) -> None:
    salt, recipe = data_salt(home.layout), read_recipe(RECIPE_BYTES)
    names = [f"{number:03d}.png" for number in range(16)]
    part = SubShard(index=1, count=COUNT)
    mine = [name for name in names if sub_shard(salt, name, COUNT) == 1]

    def images(*erased: str) -> int:
        hashes = [record_hash(salt, name) for name in erased]
        return prepare(home, recipe, lambda _done, _total: None, part=part, erased=hashes).data.images

    assert images() == len(mine)
    assert images(mine[0]) == len(mine) - 1
    with pytest.raises(DataFolderError, match=r"sub-shard 1 of 3 holds no images.*--sub-shards 3"):
        images(*mine)
    home.erased.add([record_hash(salt, name) for name in names[:4]])
    assert look_through(home, recipe) == 12


def shipped(home: Home, contract: str, index: int | None, number: int) -> Job:
    job = Job(
        id=f"{number:064x}",
        request=request(contract, index, nonce=f"{number:064x}"),
        seed=1,
        report=JobReport(state=JobState.SHIPPED, detail=str(Digest.of(bytes([number])))),
        created=NOON,
        updated=NOON,
    )
    return home.jobs.add(job)


def test_exactly_the_shards_that_held_a_record_are_to_be_withdrawn(home: Home, federation: Federation) -> None:
    contract = divided(home, federation)
    jobs = [shipped(home, contract, index, index + 1) for index in range(COUNT)]
    salt = data_salt(home.layout)
    assert home.erasures.to_withdraw() == ()
    home.erased.add([record_hash(salt, "000.png")])
    hit = sub_shard(salt, "000.png", COUNT)
    ((record, shards),) = home.erasures.to_withdraw()
    assert record.id == contract
    assert shards == (Digest.parse(jobs[hit].report.detail),)


def test_a_shard_that_was_trained_after_an_erasure_is_not_stale(home: Home, federation: Federation) -> None:
    contract = divided(home, federation, None)
    salt = data_salt(home.layout)
    home.erased.add([record_hash(salt, "000.png")])
    job = shipped(home, contract, None, 1)
    assert home.erasures.stale(job)
    home.traces.note(job.id, home.erased.count())
    assert not home.erasures.stale(job)
    assert home.erasures.to_withdraw() == ()
    home.erased.add([record_hash(salt, "001.png")])
    assert home.erasures.stale(job)


def test_a_contract_that_has_ended_has_nothing_to_replace(home: Home, federation: Federation) -> None:
    contract = divided(home, federation, None)
    shipped(home, contract, None, 1)
    home.erased.add([record_hash(data_salt(home.layout), "000.png")])
    (record,) = home.contracts.all()
    for state in ("terminated", "expired", "breached"):
        home.contracts.put(replace(record, state=type(record.state)(state)))
        assert home.erasures.to_withdraw() == ()


def test_sweeping_removes_what_stale_trainings_left_and_queues_a_waiting_shard_again(
    home: Home, federation: Federation
) -> None:
    contract, traces = divided(home, federation), FolderTraces(home.layout)
    salt = data_salt(home.layout)
    hit = sub_shard(salt, "000.png", COUNT)
    jobs = []
    for index in range(COUNT):
        asked = request(contract, index)
        report = JobReport(state=JobState.UNRELEASED)
        job = Job(id=job_id(asked), request=asked, seed=1, report=report, created=NOON, updated=NOON)
        jobs.append(home.jobs.add(job))
        traces.note(job.id, 0)  # which makes nothing: no note says the same
        (home.layout.jobs / job.id).mkdir()
        (home.layout.jobs / job.id / "model.safetensors").write_bytes(b"weights")
    home.erased.add([record_hash(salt, "000.png")])
    home.erasures.sweep()
    for index, job in enumerate(jobs):
        held = home.jobs.get(job.id)
        assert held is not None
        assert held.report.state is (JobState.QUEUED if index == hit else JobState.UNRELEASED)
        assert (home.layout.jobs / job.id).exists() is (index != hit)
