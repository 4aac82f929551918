from dataclasses import replace
from datetime import timedelta

import pytest
from trust.samples import Keys, make_roster

from severable_trust.errors import StatementError
from severable_trust.keys import PemSigner
from severable_trust.note import KeyType, LogSigner
from severable_trust.roster import PartyStatus, Roster, RosterParty


def altered(roster: Roster, **fields: object) -> Roster:
    """The roster with a changed entry of bob."""
    alice, bob = roster.parties
    return replace(roster, parties=(alice, replace(bob, **fields)))  # type: ignore[arg-type]  # one of bob's fields


def test_a_party_is_found_by_its_id(keys: Keys) -> None:
    assert make_roster(keys).party("alice").statement_key == keys.alice.public_key


def test_the_order_of_parties_does_not_matter(keys: Keys) -> None:
    roster = make_roster(keys)
    assert replace(roster, parties=roster.parties[::-1]) == roster


def test_an_unknown_party_is_refused(keys: Keys) -> None:
    with pytest.raises(StatementError, match="no party 'mallory'"):
        make_roster(keys).party("mallory")


def test_a_revoked_party_is_refused_but_can_be_found(keys: Keys) -> None:
    roster = make_roster(keys, PartyStatus.REVOKED)
    with pytest.raises(StatementError, match="revoked"):
        roster.party("alice")
    assert roster.find("alice").status is PartyStatus.REVOKED


def test_a_key_or_id_under_two_names_is_refused(keys: Keys) -> None:
    roster = make_roster(keys)
    alice = roster.parties[0]
    for fields in (
        {"id": "alice"},
        {"id": "hub"},
        {"statement_key": alice.statement_key},
        {"statement_key": keys.coordinator.public_key},
        {"node_key": alice.node_key},
        {"node_key": "ecdsa-sha2-nistp384 ALICE another comment"},
    ):
        with pytest.raises(StatementError, match="twice"):
            altered(roster, **fields)


def test_several_nodes_may_not_be_known_yet(keys: Keys) -> None:
    roster = make_roster(keys)
    parties = tuple(replace(party, node_key="") for party in roster.parties)
    assert replace(roster, parties=parties).party("bob").node_key == ""


def test_a_roster_counts_until_it_expires(keys: Keys) -> None:
    roster = make_roster(keys)
    roster.require_current(roster.expires - timedelta(seconds=1))
    with pytest.raises(StatementError, match="expired at 2027-06-01T12:00:00Z"):
        roster.require_current(roster.expires)


def test_a_field_out_of_range_is_refused(keys: Keys) -> None:
    roster = make_roster(keys)
    with pytest.raises(StatementError, match="version"):
        replace(roster, version=0)
    with pytest.raises(StatementError, match="status"):
        altered(roster, status="asleep")
    with pytest.raises(StatementError, match="legal_name"):
        altered(roster, legal_name="")


def test_a_status_may_be_given_as_its_text(keys: Keys) -> None:
    key = keys.bob.public_key
    party = RosterParty(id="bob", legal_name="Bob", statement_key=key, node_key="", status="revoked")  # type: ignore[arg-type]  # as text
    assert party.status is PartyStatus.REVOKED


def test_a_former_key_is_nobody_elses_and_a_witness_key_the_partys_own(keys: Keys) -> None:
    roster = make_roster(keys)
    witness = LogSigner.generate("bob", KeyType.COSIGNATURE).vkey
    rotated = altered(roster, former_keys=(PemSigner.generate().public_key,), witness=witness)
    assert rotated.witnesses == (witness,)
    assert rotated.party("bob").keys[0] == keys.bob.public_key
    refused: list[dict[str, object]] = [
        {"former_keys": (keys.alice.public_key,)},
        {"former_keys": (keys.bob.public_key,)},
        {"former_keys": (keys.coordinator.public_key,)},
    ]
    for fields in refused:
        with pytest.raises(StatementError, match="twice"):
            altered(roster, **fields)
    log_key, others = LogSigner.generate("bob").vkey, LogSigner.generate("alice", KeyType.COSIGNATURE).vkey
    for vkey in ("garbage", log_key, others):
        with pytest.raises(StatementError, match="witness key of bob"):
            altered(roster, witness=vkey)
