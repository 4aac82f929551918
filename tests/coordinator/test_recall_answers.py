"""Answers to recalls: from whom they must come, which of them counts, and what becomes of them in the log."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from coordinator.command_line import Cli
from coordinator.federation import GROUP, ManualClock, World
from coordinator.recalled import answer, recalled, remove

from severable_coordinator.errors import ConflictError, RefusedError
from severable_coordinator.log_export import bundle_of
from severable_coordinator.recalls import RecallRecord, Recipient, Standing
from severable_coordinator.stores import utc_now
from severable_trust.bundle import verify_receipt
from severable_trust.errors import SignatureError, StatementError, TrustError
from severable_trust.keys import PemSigner
from severable_trust.log_bundle import verify_log_bundle
from severable_trust.recall import Answer
from severable_trust.recall_bundle import verify_recall
from severable_trust.statement import Kind, sign_statement

PARTIES = ("archive", "clinic", "agency")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path / "home", *PARTIES)


def test_a_recipient_that_never_answers_is_overdue_for_ever_and_holds_no_receipt_up(
    world: World, tmp_path: Path
) -> None:
    receipt = recalled(world, tmp_path, "museum")
    assert receipt.outcome == "fulfilled"
    (record,) = world.coordinator.recalls.recalls()
    recalling = world.coordinator.recalling
    assert record.said.answer_by == world.clock() + timedelta(days=7)  # as the contract's deletion duty
    assert recalling.overdue(record.said.answer_by - timedelta(seconds=1)) == []
    for days in (7, 70, 7000):
        assert [one.id for one in recalling.overdue(world.clock() + timedelta(days=days))] == [record.id]


def test_a_recipient_with_a_key_signs_its_answer_and_nobody_else_answers_for_it(world: World, tmp_path: Path) -> None:
    recalled(world, tmp_path, "museum")
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
    recalled(world, tmp_path, "museum")
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
    recalled(world, tmp_path, "museum")
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
    recalled(world, tmp_path, "museum")
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
    recalled(world, tmp_path, "museum", "gallery")
    first = {one.said.recipient: one for one in world.coordinator.recalls.recalls()}
    world.clock.advance(hours=1)
    world.coordinator.recalling.enter_answer(first["museum"], Answer.ERASED, "Ada", world.clock(), "")
    remove(world, "clinic")
    newer = [
        one.said.recipient for one in world.coordinator.recalls.recalls() if one.removal != first["museum"].removal
    ]
    assert newer == ["gallery"]


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
    recalled(world, tmp_path, "museum")
    (record,) = world.coordinator.recalls.recalls()
    world.coordinator.recalling.enter_answer(record, Answer.ERASED, "Ada", world.clock(), "")
    verified = verify_log_bundle(bundle_of(world.coordinator.log).to_bytes(), world.coordinator.trust_root)
    tallies = dict(verified.tallies)
    assert (tallies[Kind.RECALL].verified, tallies[Kind.RECALL_ANSWER].verified) == (1, 1)
    with pytest.raises(TrustError):
        verify_recall(b"{}", world.coordinator.trust_root)
