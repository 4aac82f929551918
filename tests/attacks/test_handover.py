"""Attacks by way of a directory of shards that another coordinator is said to have exported."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from coordinator.federation import World

from severable_coordinator.adapters.handover import import_shards
from severable_coordinator.adapters.handover_out import export_shards
from severable_coordinator.errors import CoordinatorError
from severable_trust.errors import TrustError

WEIGHTS = "archive/model.safetensors"


@pytest.fixture
def worlds(tmp_path: Path) -> tuple[World, World]:
    giving = World(tmp_path / "giving")
    giving.join("archive")
    giving.agree("archive")
    giving.ship("archive")
    return giving, World(tmp_path / "taking", name="other")


def altered_weights(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(data))


def a_link_to_something_else(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/etc/hostname")


def another_partys_name(folder: Path) -> None:
    (folder / "archive").rename(folder / "mallory")


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def a_roster_of_ones_own(folder: Path) -> None:
    stranger = World(folder.parent / "stranger")
    stranger.join("archive")
    (folder / "roster.dsse.json").write_bytes(stranger.coordinator.logbook.roster().envelope.to_bytes())


@pytest.mark.parametrize(
    "attack", [altered_weights, a_link_to_something_else, another_partys_name, no_weights, a_roster_of_ones_own]
)
def test_a_handover_that_was_touched_is_refused_and_nothing_of_it_kept(
    worlds: tuple[World, World], tmp_path: Path, attack: Callable[[Path], None]
) -> None:
    giving, taking = worlds
    export_shards(giving.coordinator, tmp_path / "out")
    shutil.copyfile(giving.coordinator.layout.trust_root, tmp_path / "root.json")
    attack(tmp_path / "out")
    with pytest.raises((TrustError, CoordinatorError)) as refused:
        import_shards(taking.coordinator, tmp_path / "out", tmp_path / "root.json")
    assert "\n" not in str(refused.value)
    assert taking.coordinator.shards.shards(None) == []
    assert taking.coordinator.vault.names("archive") == []


def test_an_untouched_handover_is_taken_in(worlds: tuple[World, World], tmp_path: Path) -> None:
    giving, taking = worlds
    export_shards(giving.coordinator, tmp_path / "out")
    import_shards(taking.coordinator, tmp_path / "out", giving.coordinator.layout.trust_root)
    assert [shard.party for shard in taking.coordinator.shards.shards()] == ["archive"]
