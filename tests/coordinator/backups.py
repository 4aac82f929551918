"""What the tests of backup and restore share: a federation of three, and the steps of taking and restoring."""

from pathlib import Path

from coordinator.federation import ManualClock, World, quiet

from severable_coordinator.adapters.backup import back_up
from severable_coordinator.adapters.restore import Evidence, restore
from severable_coordinator.backup_manifest import BackupManifest
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.log_export import bundle_of
from severable_coordinator.ports import RemovalRecord
from severable_coordinator.replay import Replayed
from severable_coordinator.stores import utc_now
from severable_trust.digest import Digest

PARTIES = ("archive", "clinic", "agency")
WORDS = "correct horse battery staple"


def of_three(home: Path) -> World:
    """A coordinator with three parties under contract."""
    made = World(home, clock=ManualClock(utc_now()))
    for name in PARTIES:
        made.join(name)
        made.agree(name)
    return made


def taken(world: World, out: Path) -> BackupManifest:
    return back_up(world.coordinator.layout, world.coordinator.config.id, out, world.clock())


def restored(
    world: World, out: Path, keys: Path | None = None, log: Path | None = None, checkpoints: tuple[Path, ...] = ()
) -> tuple[Coordinator, Replayed]:
    home = world.home.parent / "again"
    kept = keys or world.coordinator.layout.keys
    _, replayed = restore(out, kept, home, Evidence(log=log, checkpoints=checkpoints), world.clock)
    opened = open_home(home)
    return Coordinator(opened.layout, opened.config, world.clock), replayed


def request_removal(world: World, name: str) -> RemovalRecord:
    contract = world.coordinator.contracts.contracts(name)[0].id
    return world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract))


def remove(world: World, name: str) -> RemovalRecord:
    return world.coordinator.removal.run(request_removal(world, name), quiet)


def exported(world: World) -> Path:
    path = world.home.parent / f"log-{len(world.coordinator.log.entries())}.json"
    path.write_bytes(bundle_of(world.coordinator.log).to_bytes())
    return path


def weights_of(coordinator: Coordinator, name: str, shard: Digest) -> bytes:
    return coordinator.vault.read(name, f"shards/{shard.hex}/model.safetensors")
