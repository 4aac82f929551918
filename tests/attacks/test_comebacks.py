"""What was removed, ended or revoked does not come back: by a handover, or while its removal runs."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from coordinator.federation import World, quiet, shard_files
from coordinator.served import Served

from severable_coordinator.adapters.handover import import_shards
from severable_coordinator.adapters.handover_out import export_shards
from severable_coordinator.adapters.sql.shards import SqlShardStore
from severable_coordinator.errors import ConfigError, NotFoundError, RefusedError
from severable_coordinator.ports import ShardRecord, ShardState
from severable_trust.contract import ContractState
from severable_trust.digest import FileDigest
from severable_trust.envelope import Envelope
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified, sign_statement

Files = dict[str, bytes]


def remove(world: World, name: str) -> None:
    contract = world.coordinator.contracts.contracts(name)[0].id
    request = world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract))
    world.coordinator.removal.run(request, quiet)


def shipped(world: World, name: str) -> tuple[Envelope, Files]:
    world.agree(name)
    files = shard_files(name)
    claim = world.claim(name, files)
    assert world.upload(name, claim, files).admitted
    return claim, files


def resigned(world: World, claim: Envelope, files: Files, **changes: object) -> Envelope:
    """The party's own new signature over files that were removed, under the old task."""
    honest = read_unverified(claim, ShardClaim)
    listed = tuple(FileDigest.of(name, data) for name, data in sorted(files.items()))
    return sign_statement(replace(honest, files=listed, **changes), world.owners["archive"].signer)  # type: ignore[arg-type]  # the claim's fields


def test_a_shard_that_is_being_admitted_while_its_removal_runs_does_not_survive_it(served: Served) -> None:
    """Verified under a contract in force; the removal plans, erases and is done; then the shard is kept."""
    world = served.world
    world.agree("archive")

    class AfterTheRemoval(SqlShardStore):
        def add(self, record: ShardRecord) -> None:
            remove(world, "archive")
            super().add(record)

    files = shard_files("archive")
    claim = world.claim("archive", files)
    admission = replace(world.coordinator.admission, shards=AfterTheRemoval(world.coordinator.database))
    upload = admission.open("archive", claim.to_bytes())
    for name, data in files.items():
        admission.take(upload, name, 0, data)
    verdict = admission.finish(upload)
    assert not verdict.admitted
    assert "became terminated while the shard was being admitted" in verdict.reason
    assert world.coordinator.vault.names("archive") == []
    assert world.coordinator.shards.shard(verdict.shard).state is ShardState.ERASED
    with pytest.raises(NotFoundError):
        world.coordinator.log.body(verdict.shard)


@pytest.fixture
def handover(served: Served, tmp_path: Path) -> Path:
    """What another coordinator was handed: archive's shard, exported while its contract was in force."""
    shipped(served.world, "archive")
    out = tmp_path / "handover"
    export_shards(served.world.coordinator, out)
    return out


def importing(served: Served, handover: Path) -> None:
    import_shards(served.world.coordinator, handover, served.world.coordinator.layout.trust_root)


def test_a_removed_shard_does_not_come_back_by_import(served: Served, handover: Path) -> None:
    """The exporter's copy is well signed and was once ours; neither its weights nor its contract revive."""
    world = served.world
    contract = world.coordinator.contracts.contracts("archive")[0].id
    remove(world, "archive")
    with pytest.raises(RefusedError, match="was removed and does not come back"):
        importing(served, handover)
    assert world.coordinator.contracts.contract(contract).state is ContractState.TERMINATED
    assert world.coordinator.vault.names("archive") == []
    assert world.coordinator.shards.shards() == []


def test_a_contract_that_ended_here_is_not_revived_by_another_shard_under_it(
    served: Served, handover: Path, tmp_path: Path
) -> None:
    other = World(tmp_path / "other", name="other", clock=served.world.clock)
    import_shards(other.coordinator, handover, served.world.coordinator.layout.trust_root)
    record = other.coordinator.contracts.contracts("archive")[0]
    other.coordinator.contracts.put(replace(record, state=ContractState.TERMINATED))
    claim = Envelope.parse((handover / "archive/claim.dsse.json").read_bytes())
    files = shard_files("archive")
    (handover / "archive/claim.dsse.json").write_bytes(resigned(served.world, claim, files, loss=0.25).to_bytes())
    with pytest.raises(RefusedError, match="an import does not bring it back"):
        import_shards(other.coordinator, handover, served.world.coordinator.layout.trust_root)
    assert other.coordinator.contracts.contract(record.id).state is ContractState.TERMINATED


def test_a_party_that_was_revoked_here_does_not_come_back_by_import(
    served: Served, handover: Path, tmp_path: Path
) -> None:
    other = World(tmp_path / "other", name="other", clock=served.world.clock)
    token, _ = other.enrolment.invite("archive", approved=True)
    other.enrolment.join(token, other.facts(served.world.owners["archive"]))
    other.standing.revoke("archive")
    with pytest.raises(RefusedError, match="is revoked here"):
        import_shards(other.coordinator, handover, served.world.coordinator.layout.trust_root)
    assert other.coordinator.shards.shards() == []


def link_the_weights(folder: Path) -> None:
    target = folder.parent.parent / "elsewhere"
    (folder / "model.safetensors").rename(target)
    (folder / "model.safetensors").symlink_to(target)


def endless_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/dev/zero")


def piped_claim(folder: Path) -> None:
    (folder / "claim.dsse.json").unlink()
    os.mkfifo(folder / "claim.dsse.json")


def linked_folder(folder: Path) -> None:
    folder.rename(folder.parent.parent / "moved")
    folder.symlink_to(folder.parent.parent / "moved")


def huge_claim(folder: Path) -> None:
    with (folder / "claim.dsse.json").open("wb") as stream:
        stream.truncate(1 << 40)


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (link_the_weights, "a link or a special file"),
        (endless_weights, "a link or a special file"),
        (piped_claim, "a link or a special file"),
        (linked_folder, "a link or a special file"),
        (huge_claim, "longer than"),
    ],
)
def test_a_handover_of_links_pipes_or_endless_files_is_refused_unread(
    served: Served, handover: Path, tmp_path: Path, attack: Callable[[Path], None], reason: str
) -> None:
    attack(handover / "archive")
    other = World(tmp_path / "other", name="other", clock=served.world.clock)
    with pytest.raises(ConfigError, match=reason):
        import_shards(other.coordinator, handover, served.world.coordinator.layout.trust_root)


def recipe_of_giant_channels(folder: Path) -> None:
    path = folder / "recipe.json"
    path.write_bytes(re.sub(rb'"block_out_channels":\[[0-9,]+\]', b'"block_out_channels":[1048576]', path.read_bytes()))


def test_a_handover_with_a_recipe_of_giant_channels_is_one_line(served: Served, handover: Path, tmp_path: Path) -> None:
    recipe_of_giant_channels(handover / "archive")
    other = World(tmp_path / "other", name="other", clock=served.world.clock)
    with pytest.raises(ConfigError, match=r"recipe\.json: recipe field architecture"):
        import_shards(other.coordinator, handover, served.world.coordinator.layout.trust_root)
