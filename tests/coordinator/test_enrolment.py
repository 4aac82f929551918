"""Invites and joining: the token says who you are, and says it once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from coordinator.federation import Owner, World
from cryptography import x509
from cryptography.x509.oid import NameOID

from severable_coordinator.enrolment import PICKUP_TERM, Joined, Waiting
from severable_coordinator.errors import ConfigError, ConflictError, NotFoundError, RefusedError
from severable_coordinator.membership import JoinFacts
from severable_trust.errors import StatementError
from severable_trust.note import KeyType, LogSigner
from severable_trust.roster import PartyStatus, Roster
from severable_trust.statement import Kind, open_statement


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
    token, _ = world.enrolment.invite("archive", approved=True)
    facts = world.facts(owner)
    sly = JoinFacts(
        request_pem=owner.request_pem("federation"),
        statement_key=facts.statement_key,
        node_key=facts.node_key,
        legal_name=facts.legal_name,
    )
    joined = world.enrolment.join(token, sly)
    assert isinstance(joined, Joined)
    subject = x509.load_pem_x509_certificate(joined.certificate).subject
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["archive"]


def test_a_key_that_is_in_the_roster_already_is_refused(world: World) -> None:
    owner = world.join("archive")
    token, _ = world.enrolment.invite("clinic")
    with pytest.raises(ConflictError, match="in the roster already"):
        world.enrolment.join(token, replace(world.facts(owner), witness=""))


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


def test_an_owner_waits_until_the_operator_approves_and_asks_again_with_the_same_keys(world: World) -> None:
    owner = Owner.make("archive")
    token, _ = world.enrolment.invite("archive")
    facts = world.facts(owner)
    assert world.enrolment.join(token, facts) == Waiting(party="archive")
    assert world.enrolment.join(token, facts) == Waiting(party="archive")
    assert world.nodes == {}
    with pytest.raises(StatementError, match="no party"):
        world.coordinator.logbook.roster().value.party("archive")
    world.enrolment.approve("archive")
    joined = world.enrolment.join(token, facts)
    assert isinstance(joined, Joined)
    assert joined == world.enrolment.join(token, facts)
    entry = world.coordinator.logbook.roster().value.party("archive")
    assert (entry.statement_key, entry.witness) == (owner.signer.public_key, owner.witness.vkey)
    assert world.nodes == {"archive": owner.node_key}


def test_a_token_that_waits_is_of_no_use_to_whoever_stole_it(world: World) -> None:
    token, _ = world.enrolment.invite("archive")
    world.enrolment.join(token, world.facts(Owner.make("archive")))
    with pytest.raises(RefusedError, match="used already, with other keys"):
        world.enrolment.join(token, world.facts(Owner.make("archive")))


def test_a_party_that_was_turned_away_stays_out(world: World) -> None:
    token, _ = world.enrolment.invite("archive")
    facts = world.facts(Owner.make("archive"))
    world.enrolment.join(token, facts)
    world.enrolment.decline("archive")
    with pytest.raises(RefusedError, match="used already"):
        world.enrolment.join(token, facts)
    with pytest.raises(NotFoundError, match="nobody waits"):
        world.enrolment.approve("archive")
    with pytest.raises(NotFoundError, match="nobody waits"):
        world.enrolment.decline("archive")


def test_an_approval_is_given_once_and_not_taken_back_by_declining(world: World) -> None:
    world.join("archive")
    with pytest.raises(ConflictError, match="was let in"):
        world.enrolment.approve("archive")
    with pytest.raises(ConflictError, match="party revoke"):
        world.enrolment.decline("archive")


def test_an_approval_that_was_interrupted_before_the_roster_is_finished_by_another(world: World) -> None:
    token, _ = world.enrolment.invite("archive")
    facts = world.facts(Owner.make("archive"))
    world.enrolment.join(token, facts)
    crashing = replace(world.enrolment, logbook=replace(world.coordinator.logbook, log=Crashing()))
    with pytest.raises(KeyboardInterrupt):
        crashing.approve("archive")
    with pytest.raises(StatementError, match="no party"):
        world.enrolment.join(token, facts)
    world.enrolment.approve("archive")
    assert isinstance(world.enrolment.join(token, facts), Joined)


class Crashing:
    """A log whose process is ended at the first question."""

    def __getattr__(self, name: str) -> Any:
        raise KeyboardInterrupt(name)


def test_a_certificate_is_picked_up_within_a_week(world: World) -> None:
    token, _ = world.enrolment.invite("archive", approved=True)
    facts = world.facts(Owner.make("archive"))
    world.enrolment.join(token, facts)
    world.clock.now += PICKUP_TERM
    with pytest.raises(RefusedError, match="not picked up in time"):
        world.enrolment.join(token, facts)


@pytest.mark.parametrize("witness", ["", "garbage", "another's", "a log's"])
def test_a_witness_key_is_the_partys_own_cosignature_key_or_none(world: World, witness: str) -> None:
    vkeys = {
        "another's": LogSigner.generate("clinic", KeyType.COSIGNATURE).vkey,
        "a log's": LogSigner.generate("archive").vkey,
    }
    token, _ = world.enrolment.invite("archive")
    facts = replace(world.facts(Owner.make("archive")), witness=vkeys.get(witness, witness))
    if not witness:
        assert world.enrolment.join(token, facts) == Waiting(party="archive")
        return
    with pytest.raises(RefusedError, match="witness key"):
        world.enrolment.join(token, facts)


def test_every_join_issues_the_next_version_of_the_roster(world: World) -> None:
    versions = [world.coordinator.logbook.roster().value.version]
    for name in ("archive", "clinic"):
        world.join(name)
        versions.append(world.coordinator.logbook.roster().value.version)
    assert versions == [1, 2, 3]


def test_revoking_issues_a_roster_that_says_so_and_is_done_once(world: World) -> None:
    world.join("archive")
    before = world.coordinator.logbook.roster().value.version
    world.standing.revoke("archive")
    roster = world.coordinator.logbook.roster().value
    assert roster.version == before + 1
    assert roster.find("archive").status is PartyStatus.REVOKED
    with pytest.raises(ConflictError, match="revoked already"):
        world.standing.revoke("archive")
    with pytest.raises(NotFoundError, match="no party"):
        world.standing.revoke("nobody")


def test_a_revoked_partys_certificate_is_not_renewed(world: World) -> None:
    owner = world.join("archive")
    world.standing.revoke("archive")
    with pytest.raises(StatementError, match="revoked"):
        world.enrolment.renew("archive", owner.request_pem())


def test_parties_that_join_at_the_same_moment_are_all_in_the_newest_roster(world: World) -> None:
    names = [f"owner-{number}" for number in range(8)]
    tokens = {name: world.enrolment.invite(name, approved=True)[0] for name in names}
    facts = {name: world.facts(Owner.make(name)) for name in names}
    enrolments = {name: replace(world.enrolment, logbook=world.reopened().logbook) for name in names}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: enrolments[name].join(tokens[name], facts[name]), names))
    log = world.coordinator.log
    rosters = [
        open_statement(log.body(s), Roster, [world.coordinator.logbook.key]).value for s in log.statements(Kind.ROSTER)
    ]
    assert [roster.version for roster in rosters] == list(range(1, 10))
    assert [party.id for party in rosters[-1].parties] == names
