"""The operator's command line: what it prints, and the one line it gives to bad input."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from coordinator.command_line import Cli
from coordinator.federation import REPOSITORY, ManualClock, Owner, World, quiet

from severable_coordinator.adapters.cli.train import Pace
from severable_coordinator.adapters.serving import home_lock
from severable_coordinator.dispatch import JobReport, JobState
from severable_coordinator.stores import utc_now
from severable_trust.bundle import verify_receipt
from severable_trust.note import cosign

RECIPE = REPOSITORY / "deploy/severable_demo/recipes/tiny.json"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home", clock=ManualClock(utc_now()))
    made.join("archive")
    return made


def names(folder: Path) -> list[str]:
    """What lies in a folder; SQLite's side files come and go with connections."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(("-shm", "-wal")))


def test_init_makes_a_home_once(cli: Cli, tmp_path: Path) -> None:
    home = str(tmp_path / "new")
    assert "made in" in cli("init", "--id", "fed", "--home", home)
    before = names(Path(home))
    assert "not empty" in cli.refused("init", "--id", "fed", "--home", home)
    assert names(Path(home)) == before
    assert all(path.stat().st_mode & 0o077 == 0 for path in (Path(home) / "keys").iterdir())


def test_init_with_an_impossible_port_makes_nothing(cli: Cli, tmp_path: Path) -> None:
    assert "70000" in cli.refused("init", "--id", "fed", "--home", str(tmp_path / "new"), "--fleet-port", "70000")
    assert not (tmp_path / "new").exists()


def test_init_without_the_flower_app_makes_nothing(cli: Cli, tmp_path: Path) -> None:
    said = cli.refused("init", "--id", "fed", "--home", str(tmp_path / "new"), "--app", str(tmp_path))
    assert "pyproject.toml" in said
    assert not (tmp_path / "new").exists()


def test_a_directory_that_is_no_home_is_named(cli: Cli, tmp_path: Path) -> None:
    assert str(tmp_path) in cli.refused("status", "--home", str(tmp_path))


@pytest.mark.parametrize("text", ["id: x", "][", "id: a\nlegal_name: b\nhost: c\nports: {enrolment: zero}"])
def test_a_broken_configuration_is_named(cli: Cli, world: World, text: str) -> None:
    world.coordinator.layout.config.write_text(text)
    assert "config.yaml" in cli.refused("status", "--home", str(world.home))


def test_a_coordinator_that_is_up_keeps_a_second_one_off_its_directory(cli: Cli, world: World) -> None:
    with home_lock(world.coordinator.layout):
        assert "running on this directory" in cli.refused("up", "--home", str(world.home))


def test_a_port_in_use_is_named_and_nothing_is_left_running(cli: Cli, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        home = str(tmp_path / "new")
        cli("init", "--id", "fed", "--home", home, "--exchange-port", port)
        assert port in cli.refused("up", "--home", home)


def test_listings_are_tables_for_people_and_json_for_programs(cli: Cli, world: World) -> None:
    home = ("--home", str(world.home))
    assert "archive" in cli("party", "list", *home)
    assert [row["party"] for row in json.loads(cli("party", "list", "--format", "json", *home))] == ["archive"]
    listings = (
        ("contract", "list"),
        ("shards", "list"),
        ("remove", "--list"),
        ("log",),
        ("ledger",),
        ("recall", "list"),
        ("recipient", "list"),
        ("recipient", "exports"),
        ("removals",),
        ("notices",),
    )
    for listing in listings:
        assert isinstance(json.loads(cli(*listing, "--format", "json", *home)), list)
    assert json.loads(cli("status", "--format", "json", *home))["parties"] == 1


def test_a_contract_is_offered_listed_and_shown_in_sentences(cli: Cli, world: World) -> None:
    home = ("--home", str(world.home))
    cli("contract", "offer", "archive", "--recipe", str(RECIPE), *home)
    row = json.loads(cli("contract", "list", "--format", "json", *home))[0]
    assert (row["party"], row["state"]) == ("archive", "offered")
    assert "archive" in cli("contract", "show", str(row["id"])[:20], *home)


def test_a_contract_is_suspended_and_resumed_by_the_beginning_of_its_id(cli: Cli, world: World) -> None:
    home, contract = ("--home", str(world.home)), str(world.agree("archive"))
    assert "`contract resume`" in cli("contract", "suspend", contract[:20], *home)
    assert json.loads(cli("contract", "list", "--format", "json", *home))[0]["state"] == "suspended"
    assert "in force again" in cli("contract", "resume", contract[:20], *home)
    assert json.loads(cli("contract", "list", "--format", "json", *home))[0]["state"] == "active"


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "not JSON"), ("[]", "JSON object"), ('{"name": "x", "evil": 1}', "recipe.json"), (None, "cannot be read")],
)
def test_a_recipe_that_cannot_be_used_is_named_with_its_file(
    cli: Cli, world: World, tmp_path: Path, content: str | None, reason: str
) -> None:
    path = tmp_path / "recipe.json"
    if content is not None:
        path.write_text(content)
    said = cli.refused("contract", "offer", "archive", "--recipe", str(path), "--home", str(world.home))
    assert "recipe.json" in said
    assert reason in said
    assert world.coordinator.contracts.contracts() == []


def test_what_is_not_there_yet_is_said_with_what_to_do(cli: Cli, world: World, tmp_path: Path) -> None:
    home = ("--home", str(world.home))
    assert "party list" in cli.refused("contract", "offer", "nobody", "--recipe", str(RECIPE), *home)
    assert "contract offer" in cli.refused("train", *home)
    assert "shards list" in cli.refused("assemble", *home)
    assert "assemble" in cli.refused("sample", "--out", str(tmp_path / "s"), *home)
    assert "contract terminate" in cli.refused("remove", "archive", *home)
    assert "shards list" in cli.refused("shards", "export", "--out", str(tmp_path / "x"), *home)
    assert not (tmp_path / "x").exists()


def test_training_without_a_running_superlink_says_so(cli: Cli, world: World) -> None:
    world.agree("archive")
    assert "SuperLink" in cli.refused("train", "--home", str(world.home))


def test_every_command_has_an_example_in_its_help() -> None:
    commands = [
        "init", "up", "status", "party invite", "party approve", "party decline", "party certify", "party revoke",
        "party list", "certificate renew", "receipt", "contract offer", "contract list", "contract show",
        "train", "shards list", "shards export", "shards import", "router build", "assemble", "sample", "remove", "log",
        "log export", "evaluate", "ledger", "readiness", "prove", "recall list", "recall show", "recall export",
        "recall acknowledge", "recipient add", "recipient list", "recipient exports", "report", "removals",
        "remove order", "remove deny", "remove carry-out", "notices", "contract breach", "party exit",
    ]  # fmt: skip
    script = "import sys; from severable_coordinator.adapters.cli.app import app\n" + "\n".join(
        f"print('##', {command!r}); app({[*command.split(), '--help']!r}, standalone_mode=False)"
        for command in commands
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    pages = done.stdout.split("## ")[1:]
    assert len(pages) == len(commands)
    assert [
        page.split("\n")[0] for page in pages if "Example: severable-coordinator" not in " ".join(page.split())
    ] == []


def test_the_time_left_is_that_of_the_slowest_party() -> None:
    pace = Pace()
    training = JobState.TRAINING
    assert pace.left_s({"a": JobReport(state=training, step=10, steps=100)}, 0.0) is None
    reports = {
        "a": JobReport(state=training, step=20, steps=100),
        "b": JobReport(state=JobState.SHIPPED, step=100, steps=100),
    }
    assert pace.left_s(reports, 1.0) == pytest.approx(8.0)


def test_a_party_that_waits_is_listed_approved_by_its_key_or_turned_away(cli: Cli, world: World) -> None:
    home = ("--home", str(world.home))
    owner = Owner.make("agency")
    token, _ = world.enrolment.invite("agency")
    world.enrolment.join(token, world.facts(owner))
    key = owner.signer.public_key.key_id
    rows = {row["party"]: row for row in json.loads(cli("party", "list", "--format", "json", *home))}
    assert rows["agency"]["status"] == "waiting for `party approve`"
    assert rows["agency"]["statement_key"] == key[:16]
    for wrong in ("0" * 16, key[:4]):
        assert "do not let it in" in cli.refused("party", "approve", "agency", "--key", wrong, *home)
    assert "is turned away" in cli("party", "decline", "agency", *home)
    assert "nobody waits" in cli.refused("party", "approve", "agency", "--key", key[:8], *home)


def test_a_receipt_is_handed_out_once_there_is_one_and_never_over_a_file(
    cli: Cli, world: World, tmp_path: Path
) -> None:
    home, out = ("--home", str(world.home)), tmp_path / "receipt.json"
    assert "no removal of archive" in cli.refused("receipt", "archive", "--out", str(out), *home)
    contract = world.agree("archive")
    record = world.coordinator.requests.receive("archive", world.ask_for_erasure("archive", contract))
    world.coordinator.removal.run(record, quiet)
    world.standing.cosign(
        "archive", cosign(world.coordinator.log.checkpoint()[1], world.owners["archive"].witness, world.clock())
    )
    assert "cosigned by archive" in cli("receipt", "archive", "--out", str(out), *home)
    assert verify_receipt(out.read_bytes(), world.coordinator.trust_root).cosigners[0][0] == "archive"
    assert "exists already" in cli.refused("receipt", "archive", "--out", str(out), *home)


def test_the_servers_certificate_is_renewed_by_hand(cli: Cli, world: World) -> None:
    before = world.coordinator.server
    assert "renewed for 90 days" in cli("certificate", "renew", "--home", str(world.home))
    assert world.coordinator.server.certificate != before.certificate
    assert world.coordinator.server.private_key == before.private_key
