"""Recalls: every recorded copy is asked back, answers are taken from whom they must come, a receipt waits for none."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from coordinator.command_line import Cli
from coordinator.federation import GROUP, ManualClock, World, quiet

from severable_coordinator.adapters.handover_out import export_shards
from severable_coordinator.adapters.sql.recalls import SqlRecallStore
from severable_coordinator.errors import ConflictError, RefusedError
from severable_coordinator.log_export import bundle_of
from severable_coordinator.recalls import RecallRecord, Recipient, Standing
from severable_coordinator.stores import utc_now
from severable_trust.bundle import verify_receipt
from severable_trust.contract import Action
from severable_trust.digest import Digest
from severable_trust.errors import ContractError, SignatureError, StatementError, TrustError
from severable_trust.keys import PemSigner
from severable_trust.log_bundle import verify_log_bundle
from severable_trust.recall import Answer, RecallAnswer
from severable_trust.recall_bundle import verify_recall
from severable_trust.receipt import Receipt
from severable_trust.statement import Kind, sign_statement

PARTIES = ("archive", "clinic", "agency")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path / "home", *PARTIES)


def shipped(world: World) -> dict[str, Digest]:
    return {name: world.ship(name) for name in PARTIES}


def remove(world: World, name: str) -> Receipt:
    """A whole removal; returns what its receipt says."""
    contract = world.coordinator.contracts.contracts(name)[0].id
    record = world.coordinator.requests.receive(name, world.ask_for_erasure(name, contract))
    done = world.coordinator.removal.run(record, quiet)
    return verify_receipt(done.bundle, world.coordinator.trust_root).receipt.value


def exported(world: World, out: Path, *recipients: str) -> Digest:
    """The composite of now, handed to each of these recipients; returns its digest."""
    record, _ = world.coordinator.building.assemble(GROUP, quiet)
    for recipient in recipients:
        world.coordinator.exporting.export(record, out / f"{recipient}-{record.id.hex[:8]}", recipient)
    return record.id


def answer(world: World, record: RecallRecord, **changes: object) -> RecallAnswer:
    usual: dict[str, object] = {
        "recall": record.id,
        "recipient": record.said.recipient,
        "answer": Answer.ERASED,
        "answered": world.clock(),
        "note": "",
    }
    return RecallAnswer(**(usual | changes))  # type: ignore[arg-type]  # the usual ones have the fields' types


def test_every_recorded_copy_of_a_removed_shard_is_recalled_and_the_receipt_names_no_recipient(
    world: World, tmp_path: Path
) -> None:
    shards = shipped(world)
    before = exported(world, tmp_path, "museum", "gallery")
    receipt = remove(world, "agency")
    recalls = world.coordinator.recalls.recalls()
    assert [(one.said.recipient, one.said.recalled) for one in recalls] == [("museum", before), ("gallery", before)]
    assert receipt.recalls is not None
    assert [notice.recall for notice in receipt.recalls] == [record.id for record in recalls]
    after = world.coordinator.building.live(GROUP).id
    assert {one.said.replacement for one in recalls} == {after}
    assert {one.said.shards for one in recalls} == {(shards["agency"],)}
    assert any("2, named under" in one.what for one in receipt.residual)
    assert any("consistent with cryptographic erase" in action.method for action in receipt.actions)
    said = json.dumps(receipt.to_predicate())
    assert "museum" not in said
    assert "gallery" not in said


def test_a_recall_is_verified_by_its_recipient_with_the_trust_root_alone(world: World, tmp_path: Path) -> None:
    shipped(world)
    exported(world, tmp_path, "museum")
    remove(world, "agency")
    (record,) = world.coordinator.recalls.recalls()
    verified = verify_recall(world.coordinator.recalling.bundle(record), world.coordinator.trust_root)
    assert verified.recall.value.recipient == "museum"
    assert verified.recall.id == record.id


def test_what_was_exported_before_and_is_retired_now_is_recalled_too_and_what_never_held_it_is_not(
    world: World, tmp_path: Path
) -> None:
    world.ship("archive")
    without = exported(world, tmp_path, "museum")
    world.ship("agency")
    first = exported(world, tmp_path, "museum")
    world.ship("clinic")
    second = exported(world, tmp_path, "museum")
    remove(world, "agency")
    recalled = {one.said.recalled for one in world.coordinator.recalls.recalls()}
    assert recalled == {first, second}
    assert without not in recalled


def test_a_handover_of_shards_to_another_coordinator_is_recalled_there(world: World, tmp_path: Path) -> None:
    shards = shipped(world)
    export_shards(world.coordinator, tmp_path / "handover", "witness")
    remove(world, "agency")
    (record,) = world.coordinator.recalls.recalls()
    assert (record.said.recipient, record.said.artifact, record.said.replacement) == ("witness", "shards", None)
    assert record.said.shards == (shards["agency"],)


def test_where_nothing_was_handed_out_a_receipt_says_nothing_of_recalls(world: World) -> None:
    shipped(world)
    receipt = remove(world, "agency")
    assert receipt.recalls is None
    assert not any("acknowledged" in one.what for one in receipt.residual)


def test_an_export_that_a_contract_does_not_permit_is_neither_made_nor_recorded(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    world.join("archive")
    world.agree("archive", permissions=(Action.TRAIN, Action.COMPOSE, Action.INFER))
    world.ship("archive")
    record, _ = world.coordinator.building.assemble(GROUP, quiet)
    with pytest.raises(ContractError, match="distribute"):
        world.coordinator.exporting.export(record, tmp_path / "out")
    with pytest.raises(StatementError, match="recipient"):
        world.coordinator.exporting.export(record, tmp_path / "out", "<script>")
    assert not (tmp_path / "out").exists()
    assert world.coordinator.recalls.exports() == []


def test_a_recipient_that_never_answers_is_overdue_for_ever_and_holds_no_receipt_up(
    world: World, tmp_path: Path
) -> None:
    shipped(world)
    exported(world, tmp_path, "museum")
    receipt = remove(world, "agency")
    assert receipt.outcome == "fulfilled"
    (record,) = world.coordinator.recalls.recalls()
    recalling = world.coordinator.recalling
    assert record.said.answer_by == world.clock() + timedelta(days=7)  # as the contract's deletion duty
    assert recalling.overdue(record.said.answer_by - timedelta(seconds=1)) == []
    for days in (7, 70, 7000):
        assert [one.id for one in recalling.overdue(world.clock() + timedelta(days=days))] == [record.id]


def test_a_recipient_with_a_key_signs_its_answer_and_nobody_else_answers_for_it(world: World, tmp_path: Path) -> None:
    shipped(world)
    exported(world, tmp_path, "museum")
    remove(world, "agency")
    (record,) = world.coordinator.recalls.recalls()
    recalling, museum = world.coordinator.recalling, PemSigner.generate()
    signed = sign_statement(answer(world, record), museum).to_bytes()
    with pytest.raises(RefusedError, match="no key on record"):
        recalling.take_answer(record, signed)
    recalling.add_recipient(Recipient(id="museum", key=museum.public_key))
    for forged in (
        sign_statement(answer(world, record), PemSigner.generate()),
        sign_statement(answer(world, record), world.coordinator.logbook.signer),
    ):
        with pytest.raises(SignatureError):
            recalling.take_answer(record, forged.to_bytes())
    with pytest.raises(ConflictError, match="signs its answer"):
        recalling.enter_answer(record, Answer.ERASED, "somebody", world.clock(), "")
    assert recalling.take_answer(record, signed).answer is Answer.ERASED
    (kept,) = world.coordinator.recalls.recalls()
    assert kept.standing(world.clock() + timedelta(days=99)) is Standing.ANSWERED
    assert len(world.coordinator.log.statements(Kind.RECALL_ANSWER)) == 1


def test_an_answer_that_the_operator_enters_says_who_said_it_and_when(world: World, tmp_path: Path) -> None:
    shipped(world)
    exported(world, tmp_path, "museum")
    remove(world, "agency")
    (record,) = world.coordinator.recalls.recalls()
    recalling = world.coordinator.recalling
    with pytest.raises(RefusedError, match="later than now"):
        recalling.enter_answer(record, Answer.ERASED, "Ada", world.clock() + timedelta(days=1), "")
    with pytest.raises(StatementError, match="earlier than the recall"):
        recalling.enter_answer(record, Answer.ERASED, "Ada", world.clock() - timedelta(days=1), "")
    with pytest.raises(StatementError, match="said_by"):
        recalling.enter_answer(record, Answer.ERASED, "", world.clock(), "")
    said = recalling.enter_answer(record, Answer.KEPT, "Ada", world.clock(), "a court order")
    assert (said.said_by, said.answered) == ("Ada", world.clock())
    assert world.coordinator.recalls.recalls()[0].standing(world.clock()) is Standing.KEPT


def test_the_newest_answer_counts_and_an_older_one_does_not_come_back(world: World, tmp_path: Path) -> None:
    shipped(world)
    exported(world, tmp_path, "museum")
    remove(world, "agency")
    museum, recalling = PemSigner.generate(), world.coordinator.recalling
    recalling.add_recipient(Recipient(id="museum", key=museum.public_key))

    def recall() -> RecallRecord:
        return world.coordinator.recalls.recalls()[0]

    kept = sign_statement(answer(world, recall(), answer=Answer.KEPT), museum).to_bytes()
    recalling.take_answer(recall(), kept)
    recalling.take_answer(recall(), kept)  # sent twice
    world.clock.advance(days=2)
    recalling.take_answer(recall(), sign_statement(answer(world, recall()), museum).to_bytes())
    with pytest.raises(RefusedError, match="later than that already"):
        recalling.take_answer(recall(), kept)
    assert recall().standing(world.clock()) is Standing.ANSWERED
    assert len(world.coordinator.log.statements(Kind.RECALL_ANSWER)) == 2


def test_an_answer_after_the_receipt_changes_no_receipt_and_is_found_in_the_log(world: World, tmp_path: Path) -> None:
    shipped(world)
    exported(world, tmp_path, "museum")
    remove(world, "agency")
    (removal,) = world.coordinator.removals.removals()
    receipt = world.coordinator.requests.receipt(removal)
    (record,) = world.coordinator.recalls.recalls()
    world.coordinator.recalling.enter_answer(record, Answer.NOT_HELD, "Ada", world.clock(), "")
    again = verify_receipt(world.coordinator.requests.receipt(removal), world.coordinator.trust_root).receipt
    assert again == verify_receipt(receipt, world.coordinator.trust_root).receipt
    (logged,) = world.coordinator.log.statements(Kind.RECALL_ANSWER)
    assert world.coordinator.log.body(logged)


def test_a_copy_that_its_recipient_said_is_gone_is_not_recalled_again_unless_it_got_another(
    world: World, tmp_path: Path
) -> None:
    shipped(world)
    exported(world, tmp_path, "museum", "gallery")
    remove(world, "agency")
    first = {one.said.recipient: one for one in world.coordinator.recalls.recalls()}
    world.clock.advance(hours=1)
    world.coordinator.recalling.enter_answer(first["museum"], Answer.ERASED, "Ada", world.clock(), "")
    remove(world, "clinic")
    newer = [
        one.said.recipient for one in world.coordinator.recalls.recalls() if one.removal != first["museum"].removal
    ]
    assert newer == ["gallery"]


@pytest.mark.parametrize("method", ["add_recall", "recalls"])
def test_a_crash_in_the_midst_of_recalling_recalls_nothing_twice(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    shipped(world)
    exported(world, tmp_path, "museum", "gallery")
    contract = world.coordinator.contracts.contracts("agency")[0].id
    request = world.coordinator.requests.receive("agency", world.ask_for_erasure("agency", contract)).request
    real = getattr(SqlRecallStore, method)

    def then_crash(*arguments: object) -> object:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as power_cut:
        power_cut.setattr(SqlRecallStore, method, then_crash)
        with pytest.raises(KeyboardInterrupt):
            world.coordinator.removal.run(world.coordinator.removals.removal(request), quiet)
    again = world.reopened()
    done = again.removal.run(again.removals.removal(request), quiet)
    assert len(again.recalls.recalls()) == 2
    assert sorted(again.log.statements(Kind.RECALL)) == sorted(one.id for one in again.recalls.recalls())
    assert len(verify_receipt(done.bundle, again.trust_root).receipt.value.recalls or ()) == 2


def test_a_key_is_one_recipients_alone_and_is_not_exchanged(world: World) -> None:
    recalling, museum = world.coordinator.recalling, PemSigner.generate().public_key
    recalling.add_recipient(Recipient(id="museum", key=museum))
    recalling.add_recipient(Recipient(id="museum", key=museum))
    for name, key in (
        ("museum", PemSigner.generate().public_key),
        ("gallery", museum),
        ("gallery", world.owners["clinic"].signer.public_key),
        ("clinic", PemSigner.generate().public_key),
        ("federation", PemSigner.generate().public_key),
    ):
        with pytest.raises(ConflictError):
            recalling.add_recipient(Recipient(id=name, key=key))
    assert recalling.key_of("clinic") == world.owners["clinic"].signer.public_key
    assert recalling.key_of("nobody") is None


def test_the_operator_lists_shows_exports_and_takes_answers_by_command(tmp_path: Path, cli: Cli) -> None:
    world = World(tmp_path / "home", clock=ManualClock(utc_now()))
    for name in PARTIES[:2]:
        world.join(name)
        world.agree(name)
        world.ship(name)
    home = ("--home", str(world.home))
    cli("assemble", "--group", GROUP, "--out", str(tmp_path / "copy"), "--recipient", "museum", *home)
    cli("assemble", "--group", GROUP, "--out", str(tmp_path / "copy2"), *home)
    rows = json.loads(cli("recipient", "exports", "--format", "json", *home))
    assert [(row["recipient"], row["what"], row["shards"]) for row in rows] == [
        ("museum", "composite", 2),
        (GROUP, "composite", 2),
    ]
    remove(world, "clinic")
    museum = PemSigner.generate()
    (tmp_path / "museum.pem").write_text(museum.public_key.pem)
    assert "museum signs its answers" in cli("recipient", "add", "museum", "--key", str(tmp_path / "museum.pem"), *home)
    rows = {row["recipient"]: row for row in json.loads(cli("recall", "list", "--format", "json", *home))}
    assert rows["museum"]["standing"] == rows[GROUP]["standing"] == "open"
    out, recall = tmp_path / "museum.recall.json", str(rows["museum"]["id"])
    assert "severable-verify recall" in cli("recall", "export", recall[:20], "--out", str(out), *home)
    assert "exists already" in cli.refused("recall", "export", recall, "--out", str(out), *home)
    record = world.coordinator.recalling.find(recall)
    world.clock.now = utc_now()  # the commands' clock went on
    (tmp_path / "answer.json").write_bytes(sign_statement(answer(world, record), museum).to_bytes())
    said = cli("recall", "acknowledge", recall, "--file", str(tmp_path / "answer.json"), *home)
    assert "museum answered 'erased'" in said
    other = str(rows[GROUP]["id"])
    assert "give --file" in cli.refused("recall", "acknowledge", other, *home)
    assert "said_by" in cli.refused("recall", "acknowledge", other, "--answer", "erased", *home)
    assert "'kept'" in cli("recall", "acknowledge", other, "--answer", "kept", "--said-by", "Ada Berg", *home)
    shown = json.loads(cli("recall", "show", other, "--format", "json", *home))
    assert (shown["standing"], shown["signed_by"]) == ("kept", "Ada Berg, entered by the operator")
    assert "no recall is overdue" in cli("recall", "list", "--overdue", *home)
    assert "begin with" in cli.refused("recall", "show", "sha256:zz", *home)
    assert "museum" in cli("recipient", "list", *home)


def test_an_auditor_verifies_recalls_and_entered_answers_in_the_whole_log(world: World, tmp_path: Path) -> None:
    shipped(world)
    exported(world, tmp_path, "museum")
    remove(world, "agency")
    (record,) = world.coordinator.recalls.recalls()
    world.coordinator.recalling.enter_answer(record, Answer.ERASED, "Ada", world.clock(), "")
    verified = verify_log_bundle(bundle_of(world.coordinator.log).to_bytes(), world.coordinator.trust_root)
    tallies = dict(verified.tallies)
    assert (tallies[Kind.RECALL].verified, tallies[Kind.RECALL_ANSWER].verified) == (1, 1)
    with pytest.raises(TrustError):
        verify_recall(b"{}", world.coordinator.trust_root)
