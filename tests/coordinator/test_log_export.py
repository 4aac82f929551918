"""The whole log as a file: exported from a real coordinator, verified by a stranger with the trust root alone."""

import json
from pathlib import Path

import pytest
from coordinator.command_line import Cli
from coordinator.federation import World, quiet
from coordinator.test_sql_log import SIGNER, entry, open_log

from severable_coordinator.adapters.new_file import write_new_file
from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.errors import ConfigError, ConflictError, NotFoundError
from severable_coordinator.log_export import bundle_of
from severable_trust.cli import main as severable_verify
from severable_trust.log_bundle import LogBundle, Tally, verify_log_bundle
from severable_trust.note import cosign, open_checkpoint
from severable_trust.statement import Kind


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path / "home", "archive", "agency")


def remove(world: World, name: str) -> None:
    contract = world.coordinator.contracts.contracts(name)[0].id
    request = world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract)).request
    world.coordinator.removal.run(world.coordinator.removals.removal(request), quiet)


def test_the_log_of_a_removal_whose_body_was_erased_is_exported_and_verified(
    world: World, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, gone = world.ship("archive"), world.ship("agency")
    remove(world, "agency")
    world.standing.cosign(
        "archive", cosign(world.coordinator.log.checkpoint()[1], world.owners["archive"].witness, world.clock())
    )
    out = tmp_path / "log.json"
    said = cli("log", "export", "--out", str(out), "--home", str(world.home))
    size, root = out.stat().st_size, world.coordinator.layout.trust_root
    count = len(world.coordinator.log.entries())
    verify = f"severable-verify log {out} --trust-root {root}"
    assert said == f"{out}: {count} entries, {size} bytes; verify it with: {verify}\n"

    found = verify_log_bundle(out.read_bytes(), world.coordinator.trust_root)
    tallies = dict(found.tallies)
    assert found.total == Tally(entries=count, verified=count - 1, erased=1)
    assert tallies[Kind.SHARD] == Tally(entries=2, verified=1, erased=1)
    assert tallies[Kind.RECEIPT] == Tally(entries=1, verified=1)
    assert [name for name, _ in found.cosigners] == ["archive"]
    bodies = {item.entry.statement: item.envelope for item in LogBundle.parse(out.read_bytes()).entries}
    assert bodies[gone] is None
    assert bodies[kept] is not None

    assert severable_verify(verify.split()[1:]) == 0
    assert "bodies erased: 1" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "log.json"]


def test_an_export_leaves_a_file_that_is_there_as_it_is(world: World, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "log.json"
    for taken in (out, tmp_path / "link"):
        taken.write_text("mine") if taken == out else taken.symlink_to(tmp_path / "nowhere")
        assert "exists already" in cli.refused("log", "export", "--out", str(taken), "--home", str(world.home))
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "link", "log.json"]


def test_an_export_that_cannot_be_written_is_named_and_leaves_nothing(world: World, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "missing" / "log.json"
    assert "cannot be written" in cli.refused("log", "export", "--out", str(out), "--home", str(world.home))
    with pytest.raises(ConfigError, match="cannot be written"):
        write_new_file(tmp_path / ("x" * 250), b"")  # the name fits, that of the part does not
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_new_file_is_readable_by_its_owner_alone_and_written_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_new_file(out, b"first")
    with pytest.raises(ConflictError):
        write_new_file(out, b"second")
    assert (out.read_bytes(), out.stat().st_mode & 0o777) == (b"first", 0o600)


def test_the_listing_and_the_checkpoint_are_as_before(world: World, cli: Cli) -> None:
    home = ("--home", str(world.home))
    rows = json.loads(cli("log", "--format", "json", *home))
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert {row["body"] for row in rows} == {"held"}
    assert "contract" in cli("log", *home)
    assert cli("log", "--checkpoint", *home) == world.coordinator.log.checkpoint()[1]


def test_options_before_the_word_export_are_refused_and_not_ignored(world: World, cli: Cli, tmp_path: Path) -> None:
    words = ("log", "--home", str(world.home), "export", "--out", str(tmp_path / "log.json"))
    cli._call(*words, expect=(2,))
    assert not (tmp_path / "log.json").exists()


def test_a_log_without_a_roster_has_nothing_to_export() -> None:
    log = open_log(Database(None))
    with pytest.raises(NotFoundError, match="roster"):
        bundle_of(log)


def test_a_snapshot_holds_bodies_gaps_and_cosignatures_of_one_moment() -> None:
    log = open_log(Database(None))
    words = ["a", "b", "c"]
    log.append([entry(word) for word in words])
    log.erase_body(entry("b")[0].statement)
    log.cosign(3, "x", "\N{EM DASH} x AAAAAAA=\n")
    note, entries = log.snapshot()
    assert entries == [(entry("a")[0], b"a"), (entry("b")[0], None), (entry("c")[0], b"c")]
    assert note == log.checkpoint_of(3)
    assert note.endswith("\N{EM DASH} x AAAAAAA=\n")
    assert open_checkpoint(log.checkpoint()[1], SIGNER.vkey).size == 3
