"""Every trigger through every status: open, in progress, fulfilled; denied; expired."""

from dataclasses import replace
from pathlib import Path

import pytest
from coordinator.federation import World, quiet, terms
from coordinator.removals import DAYS, NOTICE_DAYS, PARTY, WAYS, agreed, ordered, records_erased

from severable_coordinator.adapters.handover import import_shards
from severable_coordinator.adapters.handover_out import export_shards
from severable_coordinator.errors import ConflictError, RefusedError, StorageError
from severable_coordinator.orders import Cause, Orders
from severable_coordinator.ports import ContractRecord, RemovalRecord, ShardState
from severable_trust.bundle import verify_receipt
from severable_trust.contract import ContractState
from severable_trust.denial import Denial, DenialReason
from severable_trust.digest import Digest
from severable_trust.errors import ContractError, StatementError
from severable_trust.order import OrderClause, OrderReason, RemovalOrder
from severable_trust.statement import Kind, open_statement

BREACH = Cause(clause=OrderClause.BREACH, code=OrderReason.TERMS_NOT_KEPT, evidence="seen")
EXPIRY = Cause(clause=OrderClause.EXPIRY, code=OrderReason.CONTRACT_EXPIRED)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


def due(world: World) -> list[Digest]:
    return [record.request for record in world.coordinator.enforcement.due(world.clock())]


def denied_as(world: World, record: RemovalRecord) -> Denial:
    return open_statement(record.denial, Denial, [world.coordinator.logbook.key]).value


@pytest.mark.parametrize("trigger", WAYS)
def test_every_trigger_goes_from_open_over_in_progress_to_fulfilled(world: World, trigger: str) -> None:
    way, contract = WAYS[trigger], agreed(world)
    record = way.start(world, contract)
    assert record.state == "open"
    assert world.coordinator.contracts.contract(contract).state is way.ends
    assert world.coordinator.requests.due(record) == world.clock() + way.waits
    world.clock.now += way.waits
    assert due(world) == [record.request]

    def crash(what: str, _done: int, _total: int) -> None:
        if what == "removal: erase":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.coordinator.removal.run(record, crash)
    begun = world.reopened().removals.removal(record.request)
    assert begun.state == "in_progress"
    assert world.coordinator.enforcement.due(None) == [begun]  # what has begun goes on whatever the clock says
    with pytest.raises(ConflictError, match="only an open one can be denied"):
        world.coordinator.orders.deny(begun, DenialReason.RETAINED_BY_LAW, "too late")

    done = world.coordinator.removal.run(begun, quiet)
    assert (done.state, due(world)) == ("fulfilled", [])
    verified = verify_receipt(done.bundle, world.coordinator.trust_root)
    assert isinstance(verified.request.value, RemovalOrder) is way.ordered
    assert len(verified.receipt.value.subjects) == 1
    assert [shard.state for shard in world.coordinator.shards.shards(None)] == [ShardState.ERASED]
    assert len(world.coordinator.log.statements(Kind.REMOVAL_ORDER)) == way.ordered


@pytest.mark.parametrize("trigger", WAYS)
def test_every_trigger_can_be_denied_while_it_is_open_and_stays_so(world: World, trigger: str) -> None:
    contract = agreed(world, ship=trigger == "record-erasure")
    record = WAYS[trigger].start(world, contract)
    denied = world.coordinator.orders.deny(record, DenialReason.RETAINED_BY_LAW, "a court ordered it kept")
    assert denied.state == "denied"
    said = denied_as(world, denied)
    assert (said.request, said.party, said.reason_code) == (record.request, PARTY, DenialReason.RETAINED_BY_LAW)
    world.clock.advance(days=2 * NOTICE_DAYS)
    assert due(world) == []
    assert world.coordinator.removal.run(denied, quiet) == denied
    with pytest.raises(ConflictError, match="is denied"):
        world.coordinator.orders.deny(denied, DenialReason.OTHER, "again")
    assert len(world.coordinator.log.statements(Kind.DENIAL)) == 1


def test_an_order_that_finds_nothing_left_when_it_is_due_expires(world: World) -> None:
    contract = agreed(world, ship=False)
    order = ordered(world, contract)
    own = WAYS["request"].start(world, contract)  # its contract has ended: no notice runs for the party's own
    assert due(world) == [own.request]
    assert not world.coordinator.orders.lapse(order)
    world.coordinator.removal.run(own, quiet)
    world.clock.advance(days=NOTICE_DAYS)
    assert due(world) == [order.request]
    assert world.coordinator.orders.lapse(order)
    ended = world.coordinator.removals.removal(order.request)
    assert (ended.state, denied_as(world, ended).reason_code) == ("expired", DenialReason.OVERTAKEN)
    assert due(world) == []


def test_a_revoked_party_asks_for_nothing_any_more(world: World) -> None:
    contract = agreed(world, ship=False)
    WAYS["revoked key"].start(world, contract)
    with pytest.raises(StatementError, match="revoked"):
        WAYS["request"].start(world, contract)


def test_a_crash_after_a_denial_was_logged_leaves_one_denial(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = ordered(world, agreed(world, ship=False))

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as crash:
        crash.setattr(type(world.coordinator.removals), "deny", power_cut)
        with pytest.raises(KeyboardInterrupt):
            world.coordinator.orders.deny(record, DenialReason.OTHER, "first")
    world.clock.advance(hours=1)
    denied = world.coordinator.orders.deny(record, DenialReason.OTHER, "second")
    assert denied_as(world, denied).reason == "first"
    assert len(world.coordinator.log.statements(Kind.DENIAL)) == 1


def test_a_crash_between_an_order_and_the_end_of_its_contract_is_made_good(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = agreed(world, ship=False)

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as crash:
        crash.setattr(type(world.coordinator.contracts), "put", power_cut)
        with pytest.raises(KeyboardInterrupt):
            world.coordinator.orders.order(contract, BREACH)
    assert world.coordinator.contracts.contract(contract).state is ContractState.ACTIVE
    world.coordinator.enforcement.settle(None)
    assert world.coordinator.contracts.contract(contract).state is ContractState.BREACHED


def test_a_contract_that_names_no_such_trigger_lets_nothing_be_ordered(world: World) -> None:
    contract = agreed(world, ship=False, deletion_triggers=("request",))
    for cause in (BREACH, Cause(clause=OrderClause.TERMINATION, code=OrderReason.LEGAL_ORDER)):
        with pytest.raises(StatementError, match="starts no deletion"):
            world.coordinator.orders.order(contract, cause)
    assert world.coordinator.contracts.contract(contract).state is ContractState.ACTIVE
    world.clock.advance(days=DAYS)
    assert world.coordinator.enforcement.settle(world.clock()) == []
    assert world.coordinator.contracts.contract(contract).state is ContractState.EXPIRED


def test_a_removal_that_is_under_way_is_not_ordered_a_second_time(world: World) -> None:
    contract = agreed(world, ship=False)
    record = WAYS["request"].start(world, contract)
    with pytest.raises(ConflictError, match="is open already"):
        ordered(world, contract)
    world.coordinator.removal.run(record, quiet)
    with pytest.raises(ConflictError, match="nothing is left"):
        ordered(world, contract)


def test_what_was_denied_can_be_ordered_later(world: World) -> None:
    contract = agreed(world, ship=False)
    world.coordinator.orders.deny(ordered(world, contract), DenialReason.RETAINED_BY_LAW, "until the trial ends")
    again = ordered(world, contract)
    assert world.coordinator.requests.due(again) == world.clock()  # its notice has been given before


def test_an_offer_and_a_contract_that_ended_otherwise_are_not_breached(world: World) -> None:
    contract = agreed(world, ship=False)
    WAYS["request"].start(world, contract)
    world.coordinator.orders.deny(world.coordinator.removals.removals()[0], DenialReason.OTHER, "a mistake")
    with pytest.raises(ContractError, match="terminated cannot breach"):
        world.coordinator.orders.order(contract, BREACH)
    world.join("clinic")
    offered = world.coordinator.contracting.offer("clinic", world.recipe, terms())
    with pytest.raises(ConflictError, match="nothing was made under it"):
        world.coordinator.orders.order(Digest.of(offered.payload), BREACH)


def test_an_order_by_expiry_is_not_made_before_the_term_is_over(world: World) -> None:
    contract = agreed(world, ship=False)
    with pytest.raises(StatementError, match="before the contract's term ended"):
        world.coordinator.orders.order(contract, EXPIRY)
    world.clock.advance(days=DAYS, seconds=-1)
    assert world.coordinator.enforcement.settle(world.clock()) == []


def test_notice_ends_with_the_term_at_the_latest(world: World) -> None:
    contract = agreed(world, ship=False, days=40)
    world.clock.advance(days=20)
    record = WAYS["request"].start(world, contract)
    assert (world.coordinator.requests.due(record) - world.clock()).days == 20


def test_an_order_takes_the_shards_of_its_own_contract_alone(world: World) -> None:
    """A party may have agreed on something new by the time that an old contract's removal begins."""
    contract = agreed(world)
    record = WAYS["breach"].start(world, contract)
    newer = world.agree(PARTY)
    nonce, _ = world.task(PARTY)
    kept = world.ship(PARTY, contract=newer, nonce=nonce)
    done = world.coordinator.removal.run(record, quiet)
    assert kept not in verify_receipt(done.bundle, world.coordinator.trust_root).receipt.value.subjects
    assert world.coordinator.shards.shard(kept).state is ShardState.LIVE


def test_a_request_about_shards_that_never_were_here_is_denied_and_the_contract_ends(world: World) -> None:
    contract = agreed(world, ship=False)
    nobodys = (Digest.of(b"nobody's"),)
    record = records_erased(world, contract, clause="termination", subjects=nobodys)
    assert (record.state, denied_as(world, record).reason_code) == ("denied", DenialReason.UNKNOWN_SHARDS)
    assert world.coordinator.contracts.contract(contract).state is ContractState.TERMINATED


def test_a_request_about_erased_shards_is_denied_once_nothing_is_left(world: World) -> None:
    contract = agreed(world)
    shard = world.coordinator.shards.shards()[0].id
    world.coordinator.removal.run(WAYS["breach"].start(world, contract), quiet)
    record = records_erased(world, contract, clause="termination", subjects=(shard,))
    assert (record.state, denied_as(world, record).reason_code) == ("denied", DenialReason.ALREADY_ERASED)
    with pytest.raises(RefusedError, match="only one in force"):
        records_erased(world, contract, subjects=(shard,))


def test_a_revocation_that_a_crash_cut_off_is_finished(world: World) -> None:
    contract = agreed(world, ship=False)
    known = world.coordinator.parties.party(PARTY)
    world.coordinator.parties.put_party(replace(known, status="revoked"))
    assert world.standing.finish_revocations()
    assert not world.standing.finish_revocations()
    assert world.coordinator.contracts.contract(contract).state is ContractState.SUSPENDED
    with pytest.raises(StatementError, match="revoked"):
        world.coordinator.logbook.roster().value.party(PARTY)
    assert world.coordinator.enforcement.undecided() == []  # nothing of it is here, so that there is nothing to decide


def test_by_a_contract_that_is_with_a_peer_nothing_is_ordered_here(world: World, tmp_path: Path) -> None:
    contract = agreed(world)
    export_shards(world.coordinator, tmp_path / "handover")
    other = World(tmp_path / "other", name="other", clock=world.clock)
    import_shards(other.coordinator, tmp_path / "handover", world.coordinator.layout.trust_root)
    with pytest.raises(ConflictError, match="which alone can order by it"):
        ordered(other, contract)
    world.clock.advance(days=DAYS)
    assert other.coordinator.enforcement.settle(world.clock()) == []
    assert other.coordinator.contracts.contract(contract).state is ContractState.EXPIRED


def test_a_contract_that_cannot_be_ended_does_not_hold_the_others_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = agreed(world, ship=False)
    world.join("clinic")
    other = world.agree("clinic", days=DAYS)
    world.clock.advance(days=DAYS)
    real = type(world.coordinator.orders).expire

    def broken(orders: Orders, record: ContractRecord) -> RemovalRecord | None:
        if record.id == contract:
            raise StorageError("no space left")
        return real(orders, record)

    monkeypatch.setattr(type(world.coordinator.orders), "expire", broken)
    with pytest.raises(StorageError, match="no space left"):
        world.coordinator.enforcement.settle(world.clock())
    states = {record.id: record.state for record in world.coordinator.contracts.contracts()}
    assert states == {contract: ContractState.ACTIVE, other: ContractState.EXPIRED}
