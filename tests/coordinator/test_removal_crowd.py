"""Two hundred parties, fifty of them leave: states, digests, receipts, and not a byte of those who left."""

from pathlib import Path

import pytest
from coordinator.byte_scan import Secret, found_in, of_key, of_weights
from coordinator.federation import ManualClock, World, quiet, recipe

from severable_coordinator.adapters.handover import import_shards
from severable_coordinator.adapters.handover_out import export_shards
from severable_coordinator.ports import ShardState
from severable_coordinator.stores import utc_now
from severable_diffusion import network
from severable_trust.bundle import verify_receipt
from severable_trust.statement import Kind

_PARTIES, _GROUPS, _LEAVING = 200, 10, 50


def files_of(number: int) -> dict[str, bytes]:
    """A shard that nobody trained: what matters here is how many there are."""
    return {
        "model.safetensors": network.dump(network.build_seeded(recipe(), number).state_dict()),
        "config.json": network.config_bytes(recipe()),
        "manifest.json": b"{}",
    }


def secrets_of(world: World, name: str, files: dict[str, bytes]) -> list[Secret]:
    keyset = (world.coordinator.layout.data_keys / f"{name}.json").read_bytes()
    return of_weights(name, files["model.safetensors"])[::16] + of_key(name, keyset)


@pytest.mark.soak
def test_fifty_of_two_hundred_parties_leave_and_the_rest_is_as_if_they_had_never_been_there(tmp_path: Path) -> None:
    world = World(tmp_path / "home", clock=ManualClock(utc_now()))
    names = [f"party-{number:03d}" for number in range(_PARTIES)]
    secrets: list[Secret] = []
    leaving = names[3::4]
    assert len(leaving) == _LEAVING
    for number, name in enumerate(names):
        world.join(name)
        world.agree(name, recipients=(f"group-{number % _GROUPS}",))
        files = files_of(number)
        assert world.upload(name, world.claim(name, files), files).admitted
        if name in leaving:
            secrets += secrets_of(world, name, files)
    building = world.coordinator.building
    groups = [f"group-{number}" for number in range(_GROUPS)]
    for group in groups:
        building.assemble(group, quiet)
    for name in leaving:
        contract = world.coordinator.contracts.contracts(name)[0].id
        record = world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract))
        verify_receipt(world.coordinator.removal.run(record, quiet).bundle, world.coordinator.trust_root)
        world.clock.advance(minutes=1)

    states = [shard.state for shard in world.coordinator.shards.shards(None)]
    assert (states.count(ShardState.LIVE), states.count(ShardState.ERASED)) == (_PARTIES - _LEAVING, _LEAVING)
    assert len(world.coordinator.log.statements(Kind.RECEIPT)) == _LEAVING
    world.coordinator.database.close()
    assert found_in(world.home, secrets) == []

    out, never = tmp_path / "handover", World(tmp_path / "never", clock=world.clock)
    export_shards(world.coordinator, out)
    import_shards(never.coordinator, out, world.coordinator.layout.trust_root)
    for group in groups:
        assert never.coordinator.building.assemble(group, quiet)[0].id == building.live(group).id
