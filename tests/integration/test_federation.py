"""A whole federation with tiny shards: the real SuperLink and SuperNodes over TLS, every command as a user types it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from severable_demo.data import write_folders
from severable_demo.demo import differing
from severable_demo.federation import Federation
from severable_demo.isolation import make_stranger
from severable_demo.processes import Processes
from severable_diffusion.pipeline import CompositePipeline
from severable_trust.bundle import verify_receipt
from severable_trust.trust_root import TrustRoot

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # diffusers' loading
]

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = REPOSITORY / "deploy/severable_demo/recipes/tiny.json"
LEAVER = "agency"


@dataclass(frozen=True)
class Walked:
    """A federation that has lived its whole life, and what it said."""

    federation: Federation
    out: Path
    shards: list[dict[str, object]]
    before: str
    after: str
    status: dict[str, dict[str, object]]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    out = tmp_path_factory.mktemp("federation")
    folders = write_folders(out / "images", limit=12)
    with Processes(out / "logs/commands.log", echo=False) as processes:
        federation = Federation(processes, out / "homes", folders.owners)
        federation.start_coordinator()
        federation.join()
        federation.agree(RECIPE, min_images=8, ceiling=1.0)
        federation.await_owners()
        federation.train()
        shards = federation.listing("shards", "list")
        before = federation.compose(out / "before")
        federation.terminate(LEAVER, "consent withdrawn")
        after = federation.remove(LEAVER, out / "receipt.json")
        shutil.copytree(federation.assembled(after), out / "after")
        status = {
            owner: json.loads(
                processes.run("severable-client", "status", "--format", "json", "--home", str(federation.home(owner)))
            )
            for owner in federation.owners
        }
        yield Walked(federation, out, shards, before, after, status)


def test_every_owner_trained_and_shipped_one_shard(walked: Walked) -> None:
    assert sorted(str(row["party"]) for row in walked.shards) == ["agency", "archive", "clinic"]
    assert {row["state"] for row in walked.shards} == {"live"}


@pytest.mark.soak  # in `make test`: tests/coordinator/test_proving.py, tests/attacks/test_handover.py
def test_a_second_coordinator_arrives_at_the_same_composite(walked: Walked) -> None:
    again = walked.federation.reproduce(walked.federation.hand_over(), walked.out / "again")
    assert walked.after == again
    assert differing(walked.out / "after", walked.out / "again") == []


def test_the_composite_is_another_one_without_the_party_that_left(walked: Walked) -> None:
    assert walked.after != walked.before
    members = {path.name for path in (walked.out / "after/shards").iterdir() if path.is_dir()}
    gone = {str(row["id"]).removeprefix("sha256:") for row in walked.shards if row["party"] == LEAVER}
    assert len(members) == 2
    assert not members & gone


def test_the_composite_loads_through_diffusers_and_samples(walked: Walked) -> None:
    pipeline = CompositePipeline.from_pretrained(walked.out / "after")
    pipeline.set_progress_bar_config(disable=True)
    assert len(pipeline.shards.shard_ids) == 2
    images, _ = pipeline(batch_size=3, return_dict=False)
    assert len(images) == 3


def test_a_stranger_with_the_trust_package_alone_verifies_the_receipt_and_refuses_an_altered_one(
    walked: Walked,
) -> None:
    stranger = make_stranger(walked.out / "stranger")
    root = walked.federation.coordinator / "trust-root.json"
    receipt = walked.out / "receipt.json"
    assert stranger.importable() == []
    assert stranger.verify("receipt", str(receipt), "--trust-root", str(root)).status == 0
    assert stranger.verify("composite", str(walked.out / "after"), "--trust-root", str(root)).status == 0
    altered = walked.out / "altered.json"
    altered.write_bytes(receipt.read_bytes().replace(b"a", b"b", 1))
    refused = stranger.verify("receipt", str(altered), "--trust-root", str(root))
    assert refused.status == 1
    assert refused.text
    verified = verify_receipt(receipt.read_bytes(), TrustRoot.parse(root.read_bytes()))
    assert verified.receipt.value.party == LEAVER


def test_nothing_of_the_removed_party_is_left_in_the_coordinators_store(walked: Walked) -> None:
    home = walked.federation.coordinator
    assert not (home / "store/files" / LEAVER).exists()
    assert not (home / "keys/data" / f"{LEAVER}.json").exists()
    assert [row["state"] for row in walked.federation.listing("shards", "list") if row["party"] == LEAVER] == ["erased"]


def test_the_coordinator_never_had_an_owners_image(walked: Walked) -> None:
    image = next((walked.out / "images/archive").rglob("*.png")).read_bytes()
    for path in walked.federation.coordinator.rglob("*"):
        assert path.suffix != ".png" or path.read_bytes() != image


def test_private_keys_stayed_with_their_owners(walked: Walked) -> None:
    key = (walked.federation.home("archive") / "keys/statement.pem").read_bytes()
    for home in (walked.federation.coordinator, walked.federation.home("clinic"), walked.federation.witness):
        for path in home.rglob("*"):
            assert not path.is_file() or key not in path.read_bytes()


def test_every_daemon_is_still_up_and_an_owners_status_says_what_left(walked: Walked) -> None:
    assert sorted(walked.federation.processes.alive()) == ["agency", "archive", "clinic", "coordinator"]
    assert "shipped" in json.dumps(walked.status["archive"])


def test_training_again_finds_nobody_left_to_train(walked: Walked) -> None:
    home = str(walked.federation.coordinator)
    walked.federation.processes.run("severable-coordinator", "train", "--home", home, expect=1)


@pytest.mark.soak
def test_a_demo_that_is_interrupted_ends_every_process_that_it_started(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "deploy")}
    command = [sys.executable, "-P", "-m", "severable_demo", "--out", str(out), "--recipe", str(RECIPE)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in a shell's background inherit that it is ignored
    with (tmp_path / "said").open("wb") as said, subprocess.Popen(
        command, env=environment, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
    ) as demo:  # fmt: skip
        for _ in range(900):
            if "is up; Ctrl-C" in (tmp_path / "said").read_text(errors="replace"):
                break
            time.sleep(0.1)
        started = processes_naming(out)
        demo.send_signal(signal.SIGINT)
        status = demo.wait(60)
    assert len(started) >= 3  # coordinator, SuperLink, executor
    assert status == 130
    assert "interrupted" in (tmp_path / "said").read_text()
    assert processes_naming(out) == []


def processes_naming(directory: Path) -> list[str]:
    """Command lines of the processes that name a directory, our own demo command left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
        if str(directory) in line and "severable_demo" not in line:
            found.append(line)
    return found
