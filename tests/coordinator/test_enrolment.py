"""Invites and joining: the token says who you are, and says it once."""

from pathlib import Path

import pytest
from coordinator.federation import Owner, World
from cryptography import x509
from cryptography.x509.oid import NameOID

from severable_coordinator.enrolment import JoinFacts
from severable_coordinator.errors import ConfigError, ConflictError, NotFoundError, RefusedError
from severable_trust.errors import StatementError
from severable_trust.roster import PartyStatus


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


def test_an_invite_works_once(world: World) -> None:
    token, _ = world.enrolment.invite("archive")
    world.enrolment.join(token, world.facts(Owner.make("archive")))
    with pytest.raises(RefusedError, match="used already"):
        world.enrolment.join(token, world.facts(Owner.make("archive")))


def test_an_invite_is_good_until_just_before_it_expires(world: World) -> None:
    token, expires = world.enrolment.invite("archive")
    world.clock.now = expires
    with pytest.raises(RefusedError, match="expired"):
        world.enrolment.join(token, world.facts(Owner.make("archive")))


def test_a_new_invite_replaces_the_open_one(world: World) -> None:
    old, _ = world.enrolment.invite("archive")
    world.enrolment.invite("archive")
    with pytest.raises(RefusedError, match="used already or never issued"):
        world.enrolment.join(old, world.facts(Owner.make("archive")))


def test_the_certificate_names_the_invited_party_whatever_the_request_asks(world: World) -> None:
    owner = Owner.make("archive")
    token, _ = world.enrolment.invite("archive")
    facts = world.facts(owner)
    sly = JoinFacts(
        request_pem=owner.request_pem("federation"),
        statement_key=facts.statement_key,
        node_key=facts.node_key,
        legal_name=facts.legal_name,
    )
    joined = world.enrolment.join(token, sly)
    subject = x509.load_pem_x509_certificate(joined.certificate).subject
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["archive"]


def test_a_key_that_is_in_the_roster_already_is_refused(world: World) -> None:
    owner = world.join("archive")
    token, _ = world.enrolment.invite("clinic")
    with pytest.raises(ConflictError, match="in the roster already"):
        world.enrolment.join(token, world.facts(owner))


@pytest.mark.parametrize("name", ["", "Archive", "../etc", "a b", "x" * 33, "-a"])
def test_a_name_that_could_not_be_a_folder_is_refused(world: World, name: str) -> None:
    with pytest.raises(ConfigError, match="party name"):
        world.enrolment.invite(name)


def test_a_party_that_has_joined_is_not_invited_again(world: World) -> None:
    world.join("archive")
    with pytest.raises(ConflictError, match="joined already"):
        world.enrolment.invite("archive")


def test_a_garbled_certificate_request_is_refused(world: World) -> None:
    owner = Owner.make("archive")
    token, _ = world.enrolment.invite("archive")
    facts = JoinFacts(
        request_pem=b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        statement_key=owner.signer.public_key,
        node_key=owner.node_key,
        legal_name="archive",
    )
    with pytest.raises(RefusedError, match="certificate request"):
        world.enrolment.join(token, facts)


def test_only_the_hash_of_a_token_is_kept(world: World) -> None:
    token, _ = world.enrolment.invite("archive")
    world.coordinator.database.scrub()
    assert token.encode() not in world.coordinator.layout.database.read_bytes()


def test_every_join_issues_the_next_version_of_the_roster(world: World) -> None:
    versions = [world.coordinator.logbook.roster().value.version]
    for name in ("archive", "clinic"):
        world.join(name)
        versions.append(world.coordinator.logbook.roster().value.version)
    assert versions == [1, 2, 3]


def test_revoking_issues_a_roster_that_says_so_and_is_done_once(world: World) -> None:
    world.join("archive")
    before = world.coordinator.logbook.roster().value.version
    world.enrolment.revoke("archive")
    roster = world.coordinator.logbook.roster().value
    assert roster.version == before + 1
    assert roster.find("archive").status is PartyStatus.REVOKED
    with pytest.raises(ConflictError, match="revoked already"):
        world.enrolment.revoke("archive")
    with pytest.raises(NotFoundError, match="no party"):
        world.enrolment.revoke("nobody")


def test_a_revoked_partys_certificate_is_not_renewed(world: World) -> None:
    owner = world.join("archive")
    world.enrolment.revoke("archive")
    with pytest.raises(StatementError, match="revoked"):
        world.enrolment.renew("archive", owner.request_pem())
