"""A removal while something else goes on: another removal, an upload, a build, a draw, an export, a refusing disk."""

import errno
import os
import threading
from pathlib import Path

import pytest
from coordinator.byte_scan import Secret, found_in, of_key, of_weights
from coordinator.command_line import Cli
from coordinator.federation import GROUP, ManualClock, World, quiet, shard_files
from coordinator.meanwhile import Meanwhile

from severable_coordinator.errors import ConflictError, NotFoundError, RefusedError, WithdrawnError
from severable_coordinator.ports import RemovalRecord, ShardState
from severable_coordinator.stores import utc_now
from severable_trust.bundle import verify_receipt
from severable_trust.statement import Kind

PARTIES = ("archive", "clinic", "agency")
WEIGHTS = "model.safetensors"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home", clock=ManualClock(utc_now()))
    for name in PARTIES:
        made.join(name)
        made.agree(name)
        made.ship(name)
    return made


def asked(world: World, name: str) -> RemovalRecord:
    contract = world.coordinator.contracts.contracts(name)[0].id
    return world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract))


def secrets_of(world: World, name: str) -> list[Secret]:
    """A party's weights and every key that opens something of it, while they are there."""
    shards = [shard.id for shard in world.coordinator.shards.shards(party=name)]
    found = of_weights(name, shard_files(name)[WEIGHTS])
    for key in (name, *world.coordinator.building.compartments(shards)):
        path = world.coordinator.layout.data_keys / f"{key}.json"
        found += of_key(key, path.read_bytes()) if path.is_file() else []
    return found


def gone(world: World, name: str, secrets: list[Secret]) -> None:
    """Nothing of the party is left, and its one receipt verifies."""
    assert {shard.state for shard in world.coordinator.shards.shards(None, name)} <= {ShardState.ERASED}
    assert world.coordinator.vault.names(name) == []
    assert world.coordinator.vault.key_id(name) == ""
    (record,) = [record for record in world.coordinator.removals.removals() if record.party == name]
    verify_receipt(world.coordinator.requests.receipt(record), world.coordinator.trust_root)
    assert found_in(world.home, secrets) == []


def test_two_removals_at_once_are_both_carried_out_one_after_the_other(world: World) -> None:
    shard = world.coordinator.shards.shards(party="clinic")[0].id
    world.coordinator.building.assemble(GROUP, quiet)
    secrets = [secret for name in ("archive", "agency") for secret in secrets_of(world, name)]
    records = [asked(world, "archive"), asked(world, "agency")]
    failures: list[BaseException] = []

    def run(record: RemovalRecord) -> None:
        try:
            own = world.reopened()  # as in another process
            own.removal.run(own.removals.removal(record.request), quiet)
        except BaseException as error:  # noqa: BLE001  # of another thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(record,)) for record in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert world.coordinator.building.live(GROUP).members == (shard,)
    assert len(world.coordinator.log.statements(Kind.RECEIPT)) == 2
    for name in ("archive", "agency"):
        gone(world, name, secrets)


def test_an_upload_that_is_under_way_ends_with_the_removal_and_leaves_nothing(tmp_path: Path) -> None:
    world = World.of(tmp_path / "home", "agency")
    files = shard_files("agency")
    claim = world.claim("agency", files)
    upload = world.coordinator.admission.open("agency", claim.to_bytes())
    world.coordinator.admission.take(upload, "config.json", 0, files["config.json"])
    secrets = secrets_of(world, "agency")
    record = asked(world, "agency")
    world.coordinator.removal.run(record, quiet)
    for name in ("config.json", WEIGHTS):  # the same stream goes on: it has not heard of it
        with pytest.raises((ConflictError, RefusedError)):
            world.coordinator.admission.take(upload, name, 0, files[name])
    verdict = world.coordinator.admission.finish(world.coordinator.admission.uploads.upload(upload.id))
    assert not verdict.admitted
    gone(world, "agency", secrets)


@pytest.mark.parametrize("call", [1, 2, 4, 6, 8, 10])
def test_a_router_that_is_being_built_from_a_shard_that_goes_is_given_up(world: World, call: int) -> None:
    secrets = secrets_of(world, "agency")
    building = world.coordinator.building
    members = building.members(GROUP)
    meanwhile = Meanwhile(world, "agency", call)
    with pytest.raises(WithdrawnError):
        building.router(members, meanwhile.progress)
    meanwhile.end()
    assert building.compartments(s.id for s in members.shards if s.party == "agency") == []
    gone(world, "agency", secrets)


@pytest.mark.parametrize("call", [1, 4, 10])
def test_a_composite_that_is_being_assembled_with_a_shard_that_goes_is_not_there_after(world: World, call: int) -> None:
    secrets = secrets_of(world, "agency")
    meanwhile = Meanwhile(world, "agency", call)
    with pytest.raises(WithdrawnError):
        world.coordinator.building.assemble(GROUP, meanwhile.progress)
    meanwhile.end()
    assert world.coordinator.composites.composites(None) == []
    gone(world, "agency", secrets)


def test_images_that_are_being_drawn_leave_no_line_and_no_weights_of_a_shard_that_goes(
    world: World, tmp_path: Path
) -> None:
    world.coordinator.building.assemble(GROUP, quiet)
    secrets = secrets_of(world, "agency")
    shard = world.coordinator.shards.shards(party="agency")[0].id
    meanwhile = Meanwhile(world, "agency", 2)
    with pytest.raises(WithdrawnError):
        world.coordinator.inference.sample(GROUP, tmp_path / "out", images=2, seed=1, progress=meanwhile.progress)
    meanwhile.end()
    assert world.coordinator.shards.shard(shard).state is ShardState.ERASED
    assert world.coordinator.ledger.lines([shard]) == []
    gone(world, "agency", secrets)
    assert found_in(tmp_path, secrets) == []


@pytest.mark.parametrize(
    ("refused", "number"),
    [
        ("store/files/agency/shards", errno.EPERM),
        ("store/files/agency/banks", errno.EIO),
        ("keys/data/agency.json", errno.EIO),
        ("scheduler_config.json", errno.EPERM),
    ],
)
def test_a_disk_that_refuses_to_delete_is_one_line_and_no_receipt_and_the_removal_goes_on_later(
    world: World, cli: Cli, monkeypatch: pytest.MonkeyPatch, refused: str, number: int
) -> None:
    world.coordinator.building.assemble(GROUP, quiet)
    secrets = secrets_of(world, "agency")
    asked(world, "agency")
    unlink = os.unlink

    def refuse(path: str | os.PathLike[str], *, dir_fd: int | None = None) -> None:
        if refused in os.fspath(path):
            raise OSError(number, os.strerror(number), os.fspath(path))
        unlink(path, dir_fd=dir_fd)

    command = ("remove", "agency", "--home", str(world.home))
    with monkeypatch.context() as disk:
        disk.setattr(os, "unlink", refuse)
        said = cli.refused(*command)
        assert "cannot be erased" in said
        assert os.strerror(number) in said
        assert world.coordinator.log.statements(Kind.RECEIPT) == []
        with pytest.raises(NotFoundError):
            world.coordinator.building.live(GROUP)
    cli(*command)
    gone(world, "agency", secrets)
    assert len(world.coordinator.log.statements(Kind.RECEIPT)) == 1
    live = world.coordinator.building.directory(world.coordinator.building.live(GROUP))
    assert list(live.parent.iterdir()) == [live]  # nor a part of the old one, whose router knew the shard


def test_the_members_of_a_set_that_nothing_happens_to_stay(world: World) -> None:
    """A look gives nothing up without a reason."""
    members = world.coordinator.building.members(GROUP)
    world.coordinator.building.router(members, quiet)
    assert world.coordinator.building.compartments(shard.id for shard in members.shards) == [members.compartment]
