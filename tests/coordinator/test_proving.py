"""Proofs: what a removal left is built from scratch and compared, file by file; what differs or is gone is said."""

import json
from pathlib import Path
from typing import Any

import pytest
from coordinator.command_line import Cli
from coordinator.federation import GROUP, ManualClock, World, quiet

from severable_coordinator.composite_files import write_files
from severable_coordinator.proving import FOLDER
from severable_coordinator.stores import utc_now
from severable_trust.bundle import verify_receipt
from severable_trust.digest import Digest
from severable_trust.receipt import Check

PARTIES = ("archive", "clinic", "agency", "press")


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home", clock=ManualClock(utc_now()))
    for name in PARTIES:
        made.join(name)
        made.agree(name)
        made.ship(name)
    made.coordinator.building.assemble(GROUP, quiet)
    return made


def removed(world: World, name: str, *, prove: bool) -> Digest:
    contract = world.coordinator.contracts.contracts(name)[0].id
    request = world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract)).request
    world.coordinator.removal.run(world.coordinator.removals.removal(request), quiet, prove=prove)
    return request


def checks(world: World, request: Digest, words: str) -> list[Check]:
    bundle = world.coordinator.removals.removal(request).bundle
    return [
        one for one in verify_receipt(bundle, world.coordinator.trust_root).receipt.value.checks if words in one.check
    ]


def test_a_removal_that_is_asked_for_a_proof_has_it_in_facts_and_receipt(world: World) -> None:
    request = removed(world, "agency", prove=True)
    facts = world.coordinator.removal.facts(world.coordinator.removals.removal(request), "prove")
    after = world.coordinator.building.live(GROUP)
    (one,) = facts["composites"]
    assert facts["equal"]
    assert (one["group"], one["composite"], one["differing"]) == (GROUP, str(after.id), [])
    assert one["composite"] == one["from_scratch"]
    assert (
        one["files"] == sum(1 for path in world.coordinator.building.directory(after).rglob("*") if path.is_file()) - 1
    )
    assert one["environment"] == facts["environment"]
    (check,) = checks(world, request, "equals, file by file")
    assert check.result == f"all {one['files']} files are equal"
    assert not (world.coordinator.layout.work / FOLDER).exists()
    (quality,) = world.coordinator.removal.facts(world.coordinator.removals.removal(request), "quality")["composites"]
    assert {"before", "after", "change", "standard_error", "samples", "seed"} <= quality.keys()


def test_without_being_asked_nothing_is_proved_or_measured(world: World) -> None:
    request = removed(world, "agency", prove=False)
    assert "prove" not in world.coordinator.removals.steps(request)
    assert checks(world, request, "equals, file by file") == []
    assert world.coordinator.removal.facts(world.coordinator.removals.removal(request), "quality")["composites"] == []


def test_a_proof_after_the_receipt_measures_what_nobody_measured_and_the_page_shows_it(cli: Cli, world: World) -> None:
    request = removed(world, "agency", prove=False)
    assert f"what changed for the others in the composite of {GROUP}: FD-" in cli(
        "prove", "agency", "--home", str(world.home)
    )
    (shown,) = world.coordinator.reporting.facts(world.coordinator.removals.removal(request))["quality"]
    assert {"before", "after", "change", "low", "high"} <= shown.keys()
    assert checks(world, request, "what the removal changes for the others") == []


def test_a_proof_uses_nothing_that_was_derived_before(world: World) -> None:
    """Were the kept bank or router the source, an altered one would come out the same."""
    request = removed(world, "agency", prove=False)
    building = world.coordinator.building
    members = building.members(GROUP)
    files = world.coordinator.layout.store / "files"
    for path in [*files.glob("*/banks/*"), *files.glob("set-*/*")]:
        path.write_bytes(b"not what it was")
    told = world.coordinator.removal.prove(world.coordinator.removals.removal(request), quiet)
    assert told["equal"]
    assert building.live(GROUP).members == tuple(shard.id for shard in members.shards)


@pytest.mark.parametrize("name", ["router/diffusion_pytorch_model.safetensors", "stray.txt"])
def test_a_file_that_is_not_the_one_from_scratch_is_named(cli: Cli, world: World, name: str) -> None:
    request = removed(world, "agency", prove=False)
    path = world.coordinator.building.directory(world.coordinator.building.live(GROUP)) / name
    path.write_bytes(path.read_bytes()[:-1] + b"?" if path.exists() else b"?")
    told = world.coordinator.removal.prove(world.coordinator.removals.removal(request), quiet)
    assert not told["equal"]
    assert [one["differing"] for one in told["composites"]] == [[name]]
    assert "the proof failed" in cli.refused("prove", "agency", "--home", str(world.home))


def test_a_composite_that_a_later_removal_took_apart_is_not_compared_and_that_is_said(world: World) -> None:
    first = removed(world, "agency", prove=False)
    removed(world, "press", prove=False)
    told = world.coordinator.removal.prove(world.coordinator.removals.removal(first), quiet)
    assert not told["equal"]
    assert "press's shard, which was removed since" in told["composites"][0]["not_proven"]


def test_what_a_proof_that_was_cut_off_left_is_found_by_the_next_removal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = removed(world, "agency", prove=False)
    shard = world.coordinator.shards.shards(party="press")[0].id

    def cut_off(*arguments: Any) -> None:
        write_files(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as power_cut:
        power_cut.setattr("severable_coordinator.proving.shutil.rmtree", lambda *_a, **_o: None)
        power_cut.setattr("severable_coordinator.proving.write_files", cut_off)
        with pytest.raises(KeyboardInterrupt):
            world.coordinator.removal.prove(world.coordinator.removals.removal(first), quiet)
    assert list((world.coordinator.layout.work / FOLDER).rglob(shard.hex))
    removed(world, "press", prove=False)
    assert [path for path in world.home.rglob("*") if shard.hex in path.name] == []


def test_the_commands_prove_and_keep_the_first_proof(cli: Cli, world: World) -> None:
    home = ("--home", str(world.home))
    assert "no removal of agency is known" in cli.refused("prove", "agency", *home)
    contract = world.coordinator.contracts.contracts("agency")[0].id
    request = world.coordinator.requests.receive("agency", world.ask_for_erasure("agency", contract)).request
    assert "has not rebuilt anything yet" in cli.refused("prove", "agency", *home)
    assert "is fulfilled" in cli("remove", "agency", "--prove", *home)
    told = json.loads(cli("prove", str(request)[:20], "--format", "json", *home))
    assert told["equal"]
    assert "files equal those built from scratch" in cli("prove", "agency", *home)
    kept = world.coordinator.removal.facts(world.coordinator.removals.removal(request), "prove")
    assert kept["composites"] == told["composites"]
