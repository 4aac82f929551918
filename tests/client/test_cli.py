"""The command line: what people see."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from client.exchange_service import Service
from client.samples import RECIPE_BYTES, Federation
from client.terminal import Terminal, refused

from severable_client.bootstrap import open_home
from severable_client.contracts import open_contract
from severable_protos.v1 import exchange_pb2 as wire
from severable_trust.contract import Action, ContractState
from severable_trust.statement import sign_statement, statement_id


def test_every_command_explains_itself_with_an_example(run: Terminal) -> None:
    commands = [["join"], ["up"], ["status"], ["doctor"]]
    commands += [["contract", name] for name in ("list", "review", "sign", "terminate")]
    commands += [
        ["data", "check"],
        ["key", "show"],
        ["key", "rotate"],
        ["report"],
        ["release"],
        ["withhold"],
        ["erase"],
    ]
    commands += [["certificate", name] for name in ("renew", "request", "install")]
    commands += [["approve"], ["refuse"], ["approvals"]]
    commands += [["journal", name] for name in ("show", "verify", "restore")]
    for command in commands:
        assert run(*command, "--help") == 0
        assert f"Example: severable-client {' '.join(command)}" in run.out


def test_an_offer_is_reviewed_in_plain_words_and_signed(run: Terminal, home: Path) -> None:
    assert run("contract", "review", "--home", home) == 0
    assert "may train, compose; nothing else" in run.out
    assert "8x8 grey images" in run.out
    assert "To sign it: severable-client contract sign" in run.out
    assert run("contract", "sign", "--home", home, "--yes") == 0
    assert "is active" in run.out
    (record,) = open_home(home).contracts.all()
    assert record.state is ContractState.ACTIVE


def test_an_amendment_is_reviewed_with_what_it_changes(
    run: Terminal, home: Path, federation: Federation, service: Service
) -> None:
    run("contract", "sign", "--home", home, "--yes")
    opened = open_home(home)
    (record,) = opened.contracts.all()
    first = open_contract(record.envelope, opened.sides)
    second = replace(first.value, version=2, previous=first.id, notice_days=30, permissions=(Action.TRAIN,))
    offer = sign_statement(second, federation.coordinator)
    name, data = str(statement_id(offer)), offer.to_bytes()
    service.contracts.append(wire.ContractItem(id=name, envelope=data, state="offered", recipes=[RECIPE_BYTES]))
    assert run("contract", "review", "--home", home) == 0
    assert "Version 2 against version 1:" in run.out
    assert "WIDER for the coordinator: notice days: 0 becomes 30." in run.out
    assert "narrower for the coordinator: permissions: train, compose becomes train." in run.out
    assert run("contract", "review", "--home", home, "--format", "json") == 0
    assert [change["field"] for change in json.loads(run.out)["changes"]] == ["permissions", "notice_days"]


def test_the_keys_are_shown_to_be_compared(run: Terminal, home: Path) -> None:
    assert run("key", "show", "--home", home) == 0
    assert open_home(home).sides.own.key_id in run.out
    assert run("key", "show", "--home", home, "--format", "json") == 0
    assert json.loads(run.out)["former_keys"] == []


def test_signing_without_yes_asks_and_takes_no_answer_for_no(
    run: Terminal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run("contract", "sign", "--home", home) == 1
    assert "Sign this contract as Owner A?" in run.out
    (record,) = open_home(home).contracts.all()
    assert record.state is ContractState.OFFERED


def test_listings_are_json_when_asked(run: Terminal, home: Path) -> None:
    assert run("contract", "list", "--home", home, "--format", "json") == 0
    (row,) = json.loads(run.out)
    assert row["state"] == "offered"
    assert run("contract", "review", "--home", home, "--format", "json") == 0
    assert json.loads(run.out)["contract"]["target"] == "digits"
    assert run("status", "--home", home, "--format", "json") == 0
    facts = json.loads(run.out)
    assert facts["daemon"] is None
    assert [entry["what"] for entry in facts["left_this_machine"]] == ["public keys, legal name"]


def test_status_tells_contracts_and_what_left(run: Terminal, home: Path) -> None:
    run("contract", "sign", "--home", home, "--yes")
    assert run("status", "--home", home) == 0
    assert "no daemon runs" in run.out
    assert "active" in run.out
    assert "signed contract" in run.out


@pytest.mark.integration
def test_doctor_finds_nothing_wrong_with_a_whole_home(run: Terminal, home: Path) -> None:
    run("contract", "sign", "--home", home, "--yes")
    assert run("doctor", "--home", home, "--format", "json") == 0
    findings = json.loads(run.out)
    assert all(finding["ok"] for finding in findings)
    assert sorted({finding["code"] for finding in findings}) == list(range(10, 25))


@pytest.mark.integration
def test_doctor_names_what_is_wrong_with_what_to_do_and_exits_with_the_first_ones_number(
    run: Terminal, home: Path
) -> None:
    run("contract", "list", "--home", home)
    open_home(home).layout.tls_key.chmod(0o644)
    (Path(open_home(home).config.data) / "000.png").write_bytes(b"no picture")
    assert run("doctor", "--home", home) == 11
    lines = run.out.splitlines()
    failed = [(line, lines[place + 1]) for place, line in enumerate(lines) if line.startswith("FAIL")]
    assert len(failed) == 2
    assert "chmod go-rwx" in failed[0][1]
    assert "exit code 11" in failed[0][1]
    assert "000.png" in failed[1][0]
    assert "exit code 22" in failed[1][1]


def test_the_journal_is_shown_verified_and_restored(run: Terminal, home: Path, tmp_path: Path) -> None:
    run("contract", "sign", "--home", home, "--yes")
    assert run("journal", "show", "--home", home) == 0
    assert "signed contract" in run.out
    assert run("journal", "show", "--home", home, "--format", "json") == 0
    assert [row["number"] for row in json.loads(run.out)] == [1, 2]
    assert run("journal", "verify", "--home", home, "--format", "json") == 0
    head = json.loads(run.out)["head"]
    assert run("status", "--home", home) == 0
    assert f"journal's head: {head}" in run.out
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((home / "journal.jsonl").read_bytes())
    assert run("journal", "verify", "--file", copy, "--head", head) == 0
    copy.write_bytes(copy.read_bytes().splitlines(keepends=True)[0])
    assert "cut off" in refused(run, "journal", "verify", "--file", copy, "--head", head)
    (home / "journal.jsonl").write_bytes(copy.read_bytes())
    assert "cut off" in refused(run, "journal", "verify", "--home", home)
    assert run("journal", "restore", "--home", home, "--yes") == 0
    assert run("journal", "verify", "--home", home, "--head", head) == 0
    assert "no head" in refused(run, "journal", "verify", "--home", home, "--head", "7")
