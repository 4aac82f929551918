"""An owner with three sub-shards erases one record: real daemon, SuperLink and coordinator, every command as typed.

Exactly one shard is replaced, the others keep their bytes, and no trail anywhere names the record.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from severable_demo.data import write_folders
from severable_demo.federation import Federation
from severable_demo.processes import Processes
from severable_trust.bundle import verify_receipt
from severable_trust.trust_root import TrustRoot

pytestmark = [pytest.mark.integration, pytest.mark.soak]  # eleven processes that load torch

RECIPE = Path(__file__).resolve().parents[2] / "deploy/severable_demo/recipes/tiny.json"
OWNER, COUNT = "archive", 3
PATIENCE_S = 600.0  # on a busy machine


@dataclass(frozen=True)
class Walked:
    """A federation before and after an erasure."""

    federation: Federation
    out: Path
    record: str
    image: Path
    dry: dict[str, object]
    said: dict[str, object]
    before: list[dict[str, object]]
    after: list[dict[str, object]]
    files: dict[str, str]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    out = tmp_path_factory.mktemp("erasure")
    folder = write_folders(out / "images", limit=12).owners[OWNER]
    record, image = named(folder)
    with Processes(out / "logs/commands.log", echo=False) as processes:
        federation = Federation(processes, out / "homes", {OWNER: folder})
        federation.start_coordinator()
        federation.join()
        federation.agree(RECIPE, min_images=2, ceiling=1.0, sub_shards=COUNT)
        federation.await_owners()
        federation.train()
        before = federation.listing("shards", "list")
        federation.compose(out / "before")
        files = stored(federation)
        dry = federation.erase(OWNER, record, "--dry-run")
        said = federation.erase(OWNER, record, "--yes")
        federation.remove(OWNER, out / "receipt.json")
        until(lambda: len(live(federation.listing("shards", "list"))) == COUNT)
        after = federation.listing("shards", "list")
        federation.compose(out / "after")
        yield Walked(federation, out, record, image, dry, said, before, after, files)


def named(folder: Path) -> tuple[str, Path]:
    """Give every image a record id that is personal data; returns one of them and its image."""
    images = sorted(folder.rglob("*.png"))
    ids = {image: f"patient-{number:04d}-miller" for number, image in enumerate(images)}
    rows = "".join(f"{image.relative_to(folder).as_posix()},{record}\n" for image, record in ids.items())
    (folder / "metadata.csv").write_text(f"file_name,record_id\n{rows}", encoding="utf-8")
    return ids[images[7]], images[7]


def stored(federation: Federation) -> dict[str, str]:
    """SHA-256 of every file of the owner's shards in the coordinator's store."""
    root = federation.coordinator / "store/files" / OWNER
    paths = [path for path in root.rglob("*") if path.is_file() and "shards" in path.parts]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def live(rows: list[dict[str, object]]) -> dict[str, dict[str, object]]:
    return {str(row["id"]): row for row in rows if row["state"] == "live"}


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(3.0)


def effect(said: dict[str, object]) -> dict[str, object]:
    contracts = said["contracts"]
    assert isinstance(contracts, list)
    (found,) = contracts
    return dict(found)


def test_every_sub_shard_was_trained_on_its_own_part(walked: Walked) -> None:
    rows = live(walked.before).values()
    assert sorted(int(str(row["sub_shard"])) for row in rows) == [0, 1, 2]
    assert sum(int(str(row["images"])) for row in rows) == 48


def test_exactly_the_shard_that_held_the_record_is_replaced(walked: Walked) -> None:
    before, after = live(walked.before), live(walked.after)
    (gone,), (new,) = before.keys() - after.keys(), after.keys() - before.keys()
    assert effect(walked.dry)["shards"] == effect(walked.said)["shards"] == [gone]
    assert [row["state"] for row in walked.after if row["id"] == gone] == ["erased"]
    assert after[new]["sub_shard"] == before[gone]["sub_shard"]
    assert int(str(after[new]["images"])) == int(str(before[gone]["images"])) - 1


def test_the_other_shards_keep_their_bytes(walked: Walked) -> None:
    stayed = [shard.removeprefix("sha256:") for shard in live(walked.before).keys() & live(walked.after).keys()]
    assert len(stayed) == COUNT - 1
    now = stored(walked.federation)
    for shard in stayed:
        kept = {name: digest for name, digest in walked.files.items() if shard in name}
        assert kept
        assert {name: now.get(name) for name in kept} == kept


def test_the_contract_stays_and_the_composite_has_the_replacement(walked: Walked) -> None:
    (contract,) = walked.federation.listing("contract", "list")
    assert contract["state"] == "active"
    members = {path.name for path in (walked.out / "after/shards").iterdir() if path.is_dir()}
    assert members == {shard.removeprefix("sha256:") for shard in live(walked.after)}


def test_the_receipt_is_of_that_shard_alone(walked: Walked) -> None:
    root = TrustRoot.parse((walked.federation.coordinator / "trust-root.json").read_bytes())
    verified = verify_receipt((walked.out / "receipt.json").read_bytes(), root)
    assert [str(subject) for subject in verified.receipt.value.subjects] == effect(walked.said)["shards"]
    assert verified.request.value.clause == "record-erasure"
    assert verified.request.value.reason == ""


def test_the_trail_of_the_erasure_names_neither_record_nor_file(walked: Walked) -> None:
    assert walked.said["files_to_delete"] == [str(walked.image)]
    words = [walked.record.encode(), walked.image.name.encode()]
    logs = [walked.out / "logs" / f"{name}.log" for name in (OWNER, "coordinator")]
    homes = [*walked.federation.home(OWNER).rglob("*"), *walked.federation.coordinator.rglob("*")]
    looked = [path for path in (*homes, *logs) if path.is_file()]
    assert any(path.name == "journal.jsonl" for path in looked)
    assert any(path.name == "daemon.jsonl" for path in looked)
    for path in looked:
        data = path.read_bytes()
        assert not any(word in data or word in path.name.encode() for word in words), path
    (entry,) = [line for line in journal(walked) if "records erased" in line["what"]]
    assert entry["what"] == "records erased: 1"


def journal(walked: Walked) -> list[dict[str, str]]:
    lines = (walked.federation.home(OWNER) / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_image_is_still_the_owners_to_delete(walked: Walked) -> None:
    assert walked.image.is_file()
