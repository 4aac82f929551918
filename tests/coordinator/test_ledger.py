"""The ledger: every draw counted, summed by party; an erased shard's lines become one total for its contract."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from coordinator.federation import GROUP, START, World, quiet

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.ledger import SqlLedgerStore
from severable_coordinator.adapters.sql.shards import SqlShardStore
from severable_coordinator.ledger import LedgerLine, LedgerTotal, PartyAccount, accounts
from severable_coordinator.ports import ShardRecord, ShardState
from severable_trust.bundle import verify_receipt
from severable_trust.contract import Action
from severable_trust.digest import Digest
from severable_trust.errors import ContractError

PARTIES = ("archive", "clinic")


@pytest.fixture(params=["memory", "file"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    made = Database(None if request.param == "memory" else tmp_path / "test.db")
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path / "home", *PARTIES)


def digest(word: str) -> Digest:
    return Digest.of(word.encode())


def line(shard: str, credit: float, *, images: int = 4, group: str = GROUP, days: int = 0) -> LedgerLine:
    """A line of a shard that is named by its party, a dash and whatever tells it from that party's others."""
    party = shard.split("-", maxsplit=1)[0]
    return LedgerLine(
        composite=digest("composite"),
        group=group,
        shard=digest(shard),
        party=party,
        contract=digest(f"contract of {party}"),
        images=images,
        credit=credit,
        drawn=START + timedelta(days=days),
    )


def total(party: str, images: int, credit: float) -> LedgerTotal:
    return LedgerTotal(party=party, contract=digest(f"contract of {party}"), images=images, credit=credit)


def by_contract(totals: list[LedgerTotal]) -> list[LedgerTotal]:
    return sorted(totals, key=lambda one: one.contract)


def test_draws_are_summed_by_contract_and_an_image_counts_once_for_it(database: Database) -> None:
    store = SqlLedgerStore(database)
    draws = [[line("archive-1", 1.0), line("archive-2", 0.5), line("clinic-1", 2.5)], [line("clinic-1", 4.0)]]
    for draw in draws:
        store.add(draw)
    assert store.lines() == [one for draw in draws for one in draw]
    assert store.lines([digest("archive-2")]) == [line("archive-2", 0.5)]
    assert store.sums() == by_contract([total("archive", 4, 1.5), total("clinic", 8, 6.5)])
    assert accounts(store.sums()) == [
        PartyAccount(party="clinic", images=8, credit=6.5, share=0.8125),
        PartyAccount(party="archive", images=4, credit=1.5, share=0.1875),
    ]


def test_sums_are_narrowed_to_a_group_and_to_a_day_and_later(database: Database) -> None:
    store = SqlLedgerStore(database)
    for draw in (line("archive-1", 1.0), line("archive-1", 2.0, group="press"), line("archive-1", 4.0, days=3)):
        store.add([draw])
    assert store.sums(group="press") == [total("archive", 4, 2.0)]
    assert store.sums(since=START + timedelta(days=3)) == [total("archive", 4, 4.0)]
    assert store.sums(group="press", since=START + timedelta(days=1)) == []


def test_an_erased_shards_lines_become_one_total_and_nothing_is_counted_twice(database: Database) -> None:
    store = SqlLedgerStore(database)
    store.add([line("archive-1", 1.0), line("archive-2", 0.5), line("clinic-1", 2.5)])
    store.add([line("archive-1", 3.0), line("clinic-1", 1.0)])
    before = accounts(store.sums())
    assert [store.erase([digest("archive-1")]) for _ in range(2)] == [2, 0]
    assert store.totals() == [total("archive", 4, 4.0)]  # the other shard's line still counts the first draw's images
    assert accounts([*store.sums(), *store.totals()]) == before
    assert store.erase([digest("archive-2"), digest("clinic-1")]) == 3
    assert store.lines() == []
    assert store.totals() == by_contract([total("archive", 8, 4.5), total("clinic", 8, 3.5)])
    assert accounts(store.totals()) == before


def test_a_draw_that_ends_after_its_shard_was_erased_leaves_a_total_only(database: Database) -> None:
    store, shards = SqlLedgerStore(database), SqlShardStore(database)
    shards.add(
        ShardRecord(
            id=digest("archive-1"), party="archive", contract=digest("contract of archive"), recipe=digest("recipe"),
            claim=b"claim", admitted=START, state=ShardState.LIVE,
        )
    )  # fmt: skip
    shards.set_state(digest("archive-1"), ShardState.ERASED)
    store.add([line("archive-1", 1.0), line("clinic-1", 3.0)])
    assert store.lines() == [line("clinic-1", 3.0)]
    assert store.totals() == [total("archive", 4, 1.0)]


def test_a_draw_is_entered_whole_or_not_at_all(database: Database) -> None:
    store = SqlLedgerStore(database)

    def failing() -> Iterator[LedgerLine]:
        yield line("archive-1", 1.0)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        store.add(failing())
    assert store.lines() == []


def test_nobodys_share_of_nothing_is_nothing() -> None:
    assert accounts([total("archive", 3, 0.0)]) == [PartyAccount(party="archive", images=3, credit=0.0, share=0.0)]


def sampled(world: World, images: int, out: str) -> dict[str, float]:
    """Draw, and return the credits that the attribution beside the pictures says, by shard."""
    path = world.home.parent / out
    world.coordinator.inference.sample(GROUP, path, images=images, seed=1, progress=quiet)
    told = json.loads((path / "attribution.json").read_text())
    return {shard: share * images for shard, share in told["realised"].items()}


def test_every_sample_is_in_the_ledger_with_what_its_attribution_says(world: World) -> None:
    shards = {name: world.ship(name) for name in PARTIES}
    record, _ = world.coordinator.building.assemble(GROUP, quiet)
    told = [sampled(world, images, f"{images}") for images in (6, 10)]
    lines = world.coordinator.ledger.lines()
    assert [(one.composite, one.group, one.images) for one in lines] == [
        (record.id, GROUP, images) for images in (6, 6, 10, 10)
    ]
    for account in accounts(world.coordinator.ledger.sums()):
        assert account.images == 16
        expected = sum(credit[shards[account.party].hex] for credit in told)
        assert account.credit == pytest.approx(expected, abs=1e-4)
    assert sum(one.credit for one in lines) == pytest.approx(16.0, abs=1e-4)


def test_what_a_contract_does_not_permit_is_neither_drawn_nor_counted(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    world.join("archive")
    world.agree("archive", permissions=(Action.TRAIN, Action.COMPOSE))
    world.ship("archive")
    world.coordinator.building.assemble(GROUP, quiet)
    with pytest.raises(ContractError, match="infer"):
        sampled(world, 2, "s")
    assert world.coordinator.ledger.lines() == []
    assert not (tmp_path / "s").exists()


def removal_asked(world: World, name: str) -> Digest:
    contract = world.coordinator.contracts.contracts(name)[0].id
    return world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract)).request


def test_a_removal_leaves_one_total_and_its_receipt_says_so(world: World) -> None:
    shards = {name: world.ship(name) for name in PARTIES}
    world.coordinator.building.assemble(GROUP, quiet)
    for images in (3, 5):
        sampled(world, images, f"{images}")
    before = accounts(world.coordinator.ledger.sums())
    request = removal_asked(world, "clinic")
    removal = world.coordinator.removal
    done = removal.run(world.coordinator.removals.removal(request), quiet)
    ledger = world.coordinator.ledger
    assert ledger.lines([shards["clinic"]]) == []
    assert [(one.party, one.images) for one in ledger.totals()] == [("clinic", 8)]
    assert accounts([*ledger.sums(), *ledger.totals()]) == before
    receipt = verify_receipt(done.bundle, world.coordinator.trust_root).receipt.value
    assert [check.result for check in receipt.checks] == [receipt.checks[0].result, "lines erased: 2; left: 0"]
    assert any("one total for the contract" in kept.what for kept in receipt.retained)
    assert any("ledger lines in backups" in residual.what for residual in receipt.residual)
    assert removal.facts(done, "erase")["ledger_lines"] == 2
    assert receipt.outcome == "fulfilled"


def test_a_receipt_of_a_shard_that_nothing_was_drawn_from_says_nothing_of_the_ledger(world: World) -> None:
    world.ship("clinic")
    done = world.coordinator.removal.run(world.coordinator.removals.removal(removal_asked(world, "clinic")), quiet)
    receipt = verify_receipt(done.bundle, world.coordinator.trust_root).receipt.value
    assert len(receipt.checks) == 1
    assert not any("ledger" in residual.what for residual in receipt.residual)
    assert not any("credit" in kept.what for kept in receipt.retained)


@pytest.mark.parametrize("moment", ["before the lines went", "after the lines went"])
def test_a_removal_that_crashed_around_the_ledger_counts_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    for name in PARTIES:
        world.ship(name)
    world.coordinator.building.assemble(GROUP, quiet)
    sampled(world, 4, "s")
    before = accounts(world.coordinator.ledger.sums())
    request = removal_asked(world, "clinic")
    real = SqlLedgerStore.erase

    def cut_off(store: SqlLedgerStore, shards: list[Digest]) -> int:
        if moment.startswith("after"):
            real(store, shards)
        raise KeyboardInterrupt

    with monkeypatch.context() as power_cut:
        power_cut.setattr(SqlLedgerStore, "erase", cut_off)
        with pytest.raises(KeyboardInterrupt):
            world.coordinator.removal.run(world.coordinator.removals.removal(request), quiet)
    again = world.reopened()
    done = again.removal.run(again.removals.removal(request), quiet)
    assert accounts([*again.ledger.sums(), *again.ledger.totals()]) == before
    assert len(again.ledger.totals()) == 1
    receipt = verify_receipt(done.bundle, again.trust_root).receipt.value
    assert receipt.checks[1].result == "lines erased: 1; left: 0"


def test_no_page_of_the_database_keeps_an_erased_line(world: World) -> None:
    shard = world.ship("clinic")
    record, _ = world.coordinator.building.assemble(GROUP, quiet)
    sampled(world, 2, "s")
    row = f"{record.id}{GROUP}{shard}clinic".encode()  # a row's texts lie in a page one behind another
    database = world.coordinator.layout.database

    def kept() -> bool:
        return any(row in path.read_bytes() for path in database.parent.glob(f"{database.name}*"))

    assert kept()
    request = removal_asked(world, "clinic")
    world.coordinator.removal.run(world.coordinator.removals.removal(request), quiet)
    assert not kept()
