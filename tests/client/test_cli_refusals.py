"""The command line: bad input is one clear line, exit code 1, and nothing changed."""

from pathlib import Path

import pytest
from client.samples import Federation, make_home, write_images
from client.terminal import Terminal, refused

from severable_client.adapters.lock import held
from severable_client.bootstrap import open_home
from severable_trust.contract import ContractState


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
