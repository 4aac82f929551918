"""The command line: what people see, and that bad input is one clear line, exit code 1, and nothing changed."""

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from client.exchange_service import Service, serving
from client.fleet_service import fleet_port
from client.samples import NONCE, RECIPE, RECIPE_BYTES, Federation, make_home, write_images

from severable_client.adapters.cli import main
from severable_client.adapters.config import read_config, write_config
from severable_client.adapters.lock import held
from severable_client.bootstrap import job_desk, now, open_home
from severable_client.consent import Rule
from severable_client.contracts import open_contract
from severable_client.ports import JobRequest, JobState
from severable_protos.v1 import exchange_pb2 as wire
from severable_trust.contract import Action, ContractState
from severable_trust.statement import sign_statement, statement_id


class Terminal:
    """Runs the command line in this process, as the installed script would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: object) -> int:
        self._monkeypatch.setattr(sys, "argv", ["severable-client", *map(str, arguments)])
        self._monkeypatch.setenv("COLUMNS", "200")
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        self.out, self.err = self._capsys.readouterr()
        if isinstance(code, str):  # what the interpreter would print
            self.err, code = f"{self.err}{code}\n", 1
        return int(str(code or 0))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.delenv("SEVERABLE_HOME", raising=False)
    return Terminal(monkeypatch, capsys)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def home(federation: Federation, tmp_path: Path, service: Service) -> Iterator[Path]:
    with serving(service, federation) as address, fleet_port(federation.authority) as fleet:
        made = make_home(federation, tmp_path, address)
        path = made / "config.yaml"
        write_config(path, replace(read_config(path), fleet=fleet))
        contract = federation.contract(owner=open_home(made).sides.own, begins=now())
        offer = sign_statement(contract, federation.coordinator)
        service.contracts.append(
            wire.ContractItem(
                id=str(statement_id(offer)), envelope=offer.to_bytes(), state="offered", recipes=[RECIPE_BYTES]
            )
        )
        yield made


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


def refused(run: Terminal, *arguments: object) -> str:
    """The one line with which a command refuses."""
    assert run(*arguments) == 1
    (line,) = run.err.splitlines()
    assert line.startswith("severable-client: ")
    return line


def test_there_is_no_home_yet(run: Terminal, tmp_path: Path) -> None:
    for command in (["status"], ["up"], ["doctor"], ["contract", "list"]):
        assert "severable-client join" in refused(run, *command, "--home", tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["no-such-file.invite", "severable-invite-v1.garbled"])
def test_an_invite_that_is_none_makes_no_home(run: Terminal, tmp_path: Path, what: str) -> None:
    refused(run, "join", what, "--data", write_images(tmp_path / "images"), "--home", tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_an_expired_invite_makes_no_home(run: Terminal, federation: Federation, tmp_path: Path) -> None:
    invite = tmp_path / "invite.txt"
    invite.write_text(federation.invite_text(expires="2020-01-01T00:00:00Z"))
    line = refused(run, "join", invite, "--data", write_images(tmp_path / "images"), "--home", tmp_path / "home")
    assert "expired at 2020-01-01" in line
    assert not (tmp_path / "home").exists()


def test_a_coordinator_that_does_not_answer_makes_no_home(
    run: Terminal, federation: Federation, tmp_path: Path
) -> None:
    data = write_images(tmp_path / "images")
    invite = federation.invite_text(coordinator="127.0.0.1:9")
    assert "127.0.0.1:9 does not answer" in refused(run, "join", invite, "--data", data, "--home", tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_an_unknown_contract_is_refused(run: Terminal, home: Path) -> None:
    for command in ("review", "sign"):
        assert "no such contract" in refused(run, "contract", command, "0000", "--home", home)


def test_what_was_never_signed_cannot_be_terminated(run: Terminal, home: Path) -> None:
    run("contract", "list", "--home", home)
    assert "no contract is in force" in refused(run, "contract", "terminate", "--reason", "x", "--home", home)


def test_a_refused_termination_changes_nothing(run: Terminal, home: Path) -> None:
    run("contract", "sign", "--home", home, "--yes")
    line = refused(run, "contract", "terminate", "--reason", "x", "--home", home, "--yes")
    assert "shard is not yours" in line
    (record,) = open_home(home).contracts.all()
    assert record.state is ContractState.ACTIVE
    assert open_home(home).removals.all() == ()


def test_a_second_daemon_is_refused(run: Terminal, home: Path) -> None:
    with held(open_home(home).layout.lock):
        assert "has a daemon already" in refused(run, "up", "--home", home)


def test_a_listing_is_as_last_known_when_nobody_answers(run: Terminal, federation: Federation, tmp_path: Path) -> None:
    home = make_home(federation, tmp_path, "127.0.0.1:9")
    assert run("contract", "list", "--home", home) == 0
    assert "as last known" in run.err
    assert "no contract yet" in run.out


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


def asking(home: Path) -> Path:
    path = home / "config.yaml"
    write_config(path, replace(read_config(path), approve=Rule.ASK))
    return home


def waiting_job(home: Path) -> str:
    """A job that the coordinator asked for and that waits for the owner; returns its id."""
    (record,) = open_home(home).contracts.all()
    request = JobRequest(task="t", nonce=NONCE, contract=record.id, recipe=str(RECIPE))
    assert job_desk(home)(request).state is JobState.UNAPPROVED
    return open_home(home).jobs.all()[0].id


def test_an_owner_sees_a_recipe_in_plain_words_and_approves_it(
    run: Terminal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("contract", "sign", "--home", asking(home), "--yes")
    job = waiting_job(home)
    assert run("status", "--home", home) == 0
    assert f"severable-client approve {RECIPE.hex[:12]}" in run.out
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert run("approve", job[:8], "--home", home) == 0
    assert "8x8 grey images" in run.out
    assert "is approved; 1 jobs had waited" in run.out
    assert open_home(home).jobs.all()[0].report.state is JobState.QUEUED
    assert run("approvals", "--home", home, "--format", "json") == 0
    (row,) = json.loads(run.out)
    assert (row["recipe"], row["decision"], row["jobs_waiting"]) == (str(RECIPE), "approved", "0")
    assert row["by"]
    assert row["at"].endswith("Z")
    assert open_home(home).journal.all()[-1].what.startswith("recipe approved by")


def test_an_owner_refuses_a_recipe_and_its_job_is_over(run: Terminal, home: Path) -> None:
    run("contract", "sign", "--home", asking(home), "--yes")
    waiting_job(home)
    assert run("approvals", "--home", home) == 0
    assert "not decided" in run.out
    assert run("refuse", "--home", home, "--yes", "--format", "json") == 0
    assert json.loads(run.out)["decision"] == "refuse"
    assert open_home(home).jobs.all()[0].report.state is JobState.REFUSED


def test_no_answer_to_the_question_is_no_approval(run: Terminal, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("contract", "sign", "--home", asking(home), "--yes")
    waiting_job(home)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run("approve", "--home", home) == 1
    assert open_home(home).jobs.all()[0].report.state is JobState.UNAPPROVED


@pytest.mark.parametrize("what", ["", "ab", "0000", "sha256:zzzz"])
def test_what_names_no_recipe_is_not_approved(run: Terminal, home: Path, what: str) -> None:
    assert "severable-client" in refused(run, "approve", what, "--home", home, "--yes")
    assert open_home(home).approvals.all() == ()
