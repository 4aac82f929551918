"""Joining makes a whole home or none."""

import stat
from pathlib import Path
from typing import Any

import pytest
from client.samples import NOON, Federation, MemoryEnrolment, make_home, write_images

from severable_client.adapters.config import read_config
from severable_client.adapters.founding import join
from severable_client.adapters.keys import PublicHalves, loose_permissions
from severable_client.bootstrap import open_home
from severable_client.errors import (
    AnswerError,
    ClientError,
    DataFolderError,
    HomeError,
    InviteError,
    NotApprovedError,
    UnreachableError,
)
from severable_client.exchange import Application, Enrolment, Membership
from severable_client.home import Layout
from severable_client.invite import Invite
from severable_client.joining import Wishes
from severable_trust.keys import PemSigner


def wishes_in(root: Path, legal_name: str = "Owner A") -> Wishes:
    return Wishes(home=root / "home", data=write_images(root / "images"), legal_name=legal_name)


def test_a_home_has_what_the_roster_and_the_contract_need(federation: Federation, tmp_path: Path) -> None:
    enrolment = MemoryEnrolment(federation)
    wishes = wishes_in(tmp_path)
    config = join(federation.invite(), wishes, lambda _: enrolment, NOON)
    home = open_home(wishes.home)
    assert home.config == config
    assert home.sides.own.pem == enrolment.applications[0].statement_key_pem
    assert home.sides.coordinator == federation.coordinator.public_key
    assert [entry.what for entry in home.journal.all()] == ["public keys, legal name"]


def test_private_keys_can_be_read_by_their_owner_only(federation: Federation, tmp_path: Path) -> None:
    layout = Layout(make_home(federation, tmp_path))
    assert loose_permissions(layout) == ()
    assert layout.statement_key.stat().st_mode & 0o777 == 0o600
    layout.tls_key.chmod(0o640)
    assert loose_permissions(layout) == (layout.tls_key,)


def test_nothing_private_is_sent(federation: Federation, tmp_path: Path) -> None:
    enrolment = MemoryEnrolment(federation)
    wishes = wishes_in(tmp_path)
    join(federation.invite(), wishes, lambda _: enrolment, NOON)
    (sent,) = enrolment.applications
    assert b"PRIVATE" not in sent.certificate_request_pem + sent.statement_key_pem.encode() + sent.node_key.encode()
    assert sent.node_key.startswith("ecdsa-sha2-nistp384 ")


def test_a_home_is_not_joined_twice(federation: Federation, tmp_path: Path) -> None:
    home = make_home(federation, tmp_path)
    before = read_config(home / "config.yaml")
    enrolment = MemoryEnrolment(federation)
    with pytest.raises(HomeError, match="has joined already"):
        join(federation.invite(), wishes_in(tmp_path), lambda _: enrolment, NOON)
    assert enrolment.applications == []
    assert read_config(home / "config.yaml") == before


def test_a_folder_in_use_for_something_else_is_left_alone(federation: Federation, tmp_path: Path) -> None:
    wishes = wishes_in(tmp_path)
    wishes.home.mkdir()
    (wishes.home / "thesis.tex").write_text("precious")
    with pytest.raises(HomeError, match="something else"):
        join(federation.invite(), wishes, lambda _: MemoryEnrolment(federation), NOON)
    assert [path.name for path in wishes.home.iterdir()] == ["thesis.tex"]


def lying(federation: Federation, lie: str) -> MemoryEnrolment:
    stranger = Federation.make()
    lies: dict[str, dict[str, Any]] = {
        "another party": {"party": "owner-b"},
        "another key in the roster": {"roster": federation.roster(PemSigner.generate().public_key).to_bytes()},
        "a roster by a stranger": {"roster": stranger.roster(federation.owner.public_key).to_bytes()},
        "a broken trust root": {"trust_root": b"{}"},
        "somebody else's certificate": {"certificate_pem": federation.authority.server()[1]},
        "no address": {"fleet_address": "nowhere"},
    }
    return MemoryEnrolment(federation, **lies[lie])


@pytest.mark.parametrize(
    "lie",
    [
        "another party",
        "another key in the roster",
        "a roster by a stranger",
        "a broken trust root",
        "somebody else's certificate",
        "no address",
    ],
)
def test_an_answer_that_does_not_hold_leaves_nothing_behind(federation: Federation, tmp_path: Path, lie: str) -> None:
    wishes = wishes_in(tmp_path)
    with pytest.raises(AnswerError):
        join(federation.invite(), wishes, lambda _: lying(federation, lie), NOON)
    assert {path.name for path in tmp_path.iterdir()} == {"images"}


class Silent:
    def join(self, application: Application) -> Membership:
        assert application.token
        raise UnreachableError("no answer")


def silent(_invite: Invite) -> Enrolment:
    return Silent()


def test_after_a_lost_answer_the_same_command_goes_on_with_the_same_keys(
    federation: Federation, tmp_path: Path
) -> None:
    wishes, enrolment = wishes_in(tmp_path), MemoryEnrolment(federation)
    with pytest.raises(UnreachableError):
        join(federation.invite(), wishes, silent, NOON)
    assert not wishes.home.exists()
    (kept,) = [path for path in tmp_path.iterdir() if path.name != "images"]
    key = (kept / "keys/statement.pem").read_bytes()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    join(federation.invite(), wishes, lambda _: enrolment, NOON)
    assert (wishes.home / "keys/statement.pem").read_bytes() == key
    assert {path.name for path in tmp_path.iterdir()} == {"images", "home"}


class Undecided(MemoryEnrolment):
    """Approves at the third asking."""

    def join(self, application: Application) -> Membership | None:
        membership = super().join(application)
        return membership if len(self.applications) >= 3 else None


def test_an_owner_waits_for_approval_and_asks_with_the_very_same_words(federation: Federation, tmp_path: Path) -> None:
    enrolment, told = Undecided(federation), list[PublicHalves]()

    def pause(halves: PublicHalves) -> bool:
        told.append(halves)
        return True

    join(federation.invite(), wishes_in(tmp_path), lambda _: enrolment, NOON, pause)
    assert len(told) == 2
    assert len(set(enrolment.applications)) == 1
    assert {halves.statement_pem for halves in told} == {enrolment.applications[0].statement_key_pem}


def test_an_owner_that_stops_waiting_goes_on_later_even_after_the_invites_expiry(
    federation: Federation, tmp_path: Path
) -> None:
    enrolment, wishes = Undecided(federation), wishes_in(tmp_path)
    invite = federation.invite(expires="2026-06-01T12:00:01Z")
    for _ in range(2):
        with pytest.raises(NotApprovedError, match="run the same command again"):
            join(invite, wishes, lambda _: enrolment, NOON)
        assert not wishes.home.exists()
    join(invite, wishes, lambda _: enrolment, NOON.replace(day=5))
    assert len(set(enrolment.applications)) == 1


def refused_before_asking(federation: Federation, wishes: Wishes, error: type[ClientError], says: str) -> None:
    enrolment = MemoryEnrolment(federation)
    with pytest.raises(error, match=says):
        join(federation.invite(), wishes, lambda _: enrolment, NOON)
    assert enrolment.applications == []  # the one-time token is still good
    assert not wishes.home.exists()


def test_a_wrong_data_folder_does_not_use_up_the_invite(federation: Federation, tmp_path: Path) -> None:
    empty, file = tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    file.write_text("no folder")
    cases = ((tmp_path / "none", "does not exist"), (file, "is not a folder"), (empty, "holds no images"))
    for folder, says in cases:
        wishes = Wishes(home=tmp_path / "home", data=folder, legal_name="Owner A")
        refused_before_asking(federation, wishes, DataFolderError, says)


def test_a_wrong_fingerprint_or_name_does_not_use_up_the_invite(federation: Federation, tmp_path: Path) -> None:
    data = write_images(tmp_path / "images")
    wishes = Wishes(home=tmp_path / "home", data=data, legal_name="Owner A", fingerprint="00" * 32)
    refused_before_asking(federation, wishes, InviteError, "do not join")
    refused_before_asking(federation, wishes_in(tmp_path, legal_name="a\nb"), InviteError, "legal-name")
