"""A coordinator whose statement key is in a token: it issues, logs and is verified like any other."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from coordinator.federation import REPOSITORY, START
from tokens import PIN, Token, soft_token

from severable_coordinator.adapters.founding import found_home
from severable_coordinator.bootstrap import open_home
from severable_coordinator.config import Config, Layout, Ports
from severable_coordinator.errors import ConfigError
from severable_trust.errors import SignerError
from severable_trust.trust_root import open_roster

APP = REPOSITORY / "deploy/flower-app"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    with soft_token(tmp_path_factory.mktemp("token"), 2) as made:
        yield made


@pytest.fixture
def config(token: Token) -> Config:
    ports = Ports(enrolment=1, exchange=2, fleet=3, control=4)
    return Config(id="hub", legal_name="Hub", host="127.0.0.1", ports=ports, statement_key=token.uri(2))


def test_a_home_founded_on_a_token_holds_no_statement_key_and_signs_with_the_tokens(
    token: Token, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEVERABLE_KEY_PIN", PIN)
    layout = Layout(tmp_path / "home")
    found_home(layout, config, APP, START, token.keys[2])
    assert not (layout.keys / "statement.pem").exists()
    coordinator = open_home(layout.home)
    assert coordinator.config == config
    roster = open_roster(coordinator.logbook.issue_roster(), coordinator.trust_root)
    assert roster.signers == (token.keys[2].key_id,)


def test_the_pin_may_lie_in_a_file_that_only_its_owner_can_read(
    token: Token, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEVERABLE_KEY_PIN", PIN)
    layout = Layout(tmp_path / "home")
    found_home(layout, config, APP, START, token.keys[2])
    monkeypatch.delenv("SEVERABLE_KEY_PIN")
    with pytest.raises(SignerError, match="wants a PIN"):
        _ = open_home(layout.home).logbook
    pin = layout.keys / "statement.pin"
    pin.write_text(f"{PIN}\n")
    pin.chmod(0o644)
    with pytest.raises(SignerError, match="others can read it"):
        _ = open_home(layout.home).logbook
    pin.chmod(0o600)
    assert open_home(layout.home).logbook.key == token.keys[2]


def test_a_key_that_cannot_be_used_founds_no_home(
    token: Token, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEVERABLE_KEY_PIN", "0815")
    layout = Layout(tmp_path / "home")
    with pytest.raises(SignerError, match="PinIncorrect"):
        found_home(layout, config, APP, START, token.keys[2])
    assert not layout.home.exists()


def test_an_empty_uri_in_the_configuration_is_refused(tmp_path: Path, config: Config) -> None:
    layout = Layout(tmp_path / "home")
    found_home(layout, replace(config, statement_key=""), APP, START)
    layout.config.write_text(layout.config.read_text() + "statement_key: ''\n")
    with pytest.raises(ConfigError, match="statement_key must be text"):
        open_home(layout.home)
