"""Clock games: at the exact boundary of a contract's term and a year to either side, at every door."""

from datetime import timedelta
from pathlib import Path

import pytest
from coordinator.federation import GROUP, World, quiet, shard_files

from severable_coordinator.errors import ConflictError
from severable_trust.contract import Action
from severable_trust.errors import ContractError
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified, sign_statement

TERM_DAYS = 365
SECOND = timedelta(seconds=1)
YEAR = timedelta(days=365)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home")
    made.join("archive")
    made.agree("archive", days=TERM_DAYS)
    return made


def outside(world: World) -> tuple[timedelta, ...]:
    """Moments out of the term, from its first second."""
    assert world.coordinator.contracting.in_force(Action.TRAIN)
    term = timedelta(days=TERM_DAYS)
    return (-SECOND, -YEAR, term, term + SECOND, term + YEAR)


def test_training_is_asked_for_within_the_term_alone(world: World) -> None:
    begins = world.clock.now
    for offset in outside(world):
        world.clock.now = begins + offset
        with pytest.raises(ConflictError, match="nobody to train"):
            world.coordinator.training.open_batch(world.recipe.digest, frozenset())
    world.clock.now = begins + timedelta(days=TERM_DAYS) - SECOND
    assert len(world.coordinator.training.open_batch(world.recipe.digest, frozenset())[1]) == 1


def test_a_shard_is_admitted_within_the_term_alone(world: World) -> None:
    begins, files = world.clock.now, shard_files("archive")
    first = read_unverified(world.claim("archive", files), ShardClaim)
    for images, offset in enumerate(outside(world), 100):
        world.clock.now = begins
        nonce, contract = world.task("archive")
        claim = world.claim("archive", files, nonce=nonce, contract=first.contract, images=images)
        assert str(first.contract) == contract
        world.clock.now = begins + offset
        verdict = world.upload("archive", claim, files)
        assert not verdict.admitted
        assert "4 contract" in verdict.reason or "2 signature" in verdict.reason  # the roster may have run out first
    world.clock.now = begins
    claim = world.claim("archive", files)
    world.clock.now = begins + timedelta(days=TERM_DAYS) - SECOND
    assert world.upload("archive", claim, files).admitted


def test_composing_sampling_and_exporting_end_with_the_term(world: World, tmp_path: Path) -> None:
    begins = world.clock.now
    world.ship("archive")
    record, _ = world.coordinator.building.assemble(GROUP, quiet)
    for offset in outside(world):
        world.clock.now = begins + offset
        with pytest.raises(ConflictError, match="no live shard may be composed"):
            world.coordinator.building.assemble(GROUP, quiet)
        with pytest.raises(ContractError, match="out of term"):
            world.coordinator.building.require(record, Action.INFER)
        with pytest.raises(ContractError, match="out of term"):
            world.coordinator.exporting.export(record, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_claims_own_words_about_time_count_for_nothing(world: World) -> None:
    """A shard's statement has no time of its own: the coordinator's clock is asked once, at the admission."""
    claim = read_unverified(world.claim("archive", shard_files("archive")), ShardClaim)
    assert not any("time" in name or name in {"at", "issued", "created"} for name in claim.to_predicate())
    envelope = sign_statement(claim, world.owners["archive"].signer)
    world.clock.advance(days=TERM_DAYS)
    assert not world.upload("archive", envelope, shard_files("archive")).admitted
