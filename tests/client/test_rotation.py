"""A new statement key: announced under both keys, put in place once the roster names it, at any interruption whole."""

import stat
from pathlib import Path

import pytest
from client.samples import NONCE, NOON, RECIPE, Federation, make_home

from severable_client.adapters.keys import read_former, read_public, read_signer
from severable_client.adapters.rotation import require_idle, rotate
from severable_client.bootstrap import Home, now, open_home
from severable_client.errors import AnswerError, JobStateError, UnreachableError
from severable_client.ports import Job, JobReport, JobRequest, JobState
from severable_trust.keys import PublicKey
from severable_trust.rotation import KeyRotation
from severable_trust.statement import open_statement, read_unverified, sign_statement


class Coordinator:
    """Answers a rotation with a roster; `says` is another key than the one announced."""

    def __init__(self, federation: Federation, says: PublicKey | None = None) -> None:
        self._federation = federation
        self._says = says
        self.rotations: list[bytes] = []

    def rotate_key(self, envelope: bytes) -> bytes:
        self.rotations.append(envelope)
        named = self._says or read_unverified(envelope, KeyRotation).next
        return self._federation.roster(named).to_bytes()


@pytest.fixture
def home(federation: Federation, tmp_path: Path) -> Home:
    return open_home(make_home(federation, tmp_path))


def turn(home: Home, coordinator: Coordinator) -> PublicKey:
    return rotate(home.layout, home.config.party, home.trust_root, coordinator, NOON)


def test_the_new_key_signs_and_the_old_one_is_remembered(federation: Federation, home: Home) -> None:
    before, coordinator = read_public(home.layout), Coordinator(federation)
    key = turn(home, coordinator)
    assert key != before
    assert read_public(home.layout) == read_signer(home.layout).public_key == key
    assert read_former(home.layout) == (before,)
    assert stat.S_IMODE(home.layout.statement_key.stat().st_mode) == 0o600
    assert not home.layout.statement_next.exists()
    proven = open_statement(coordinator.rotations[0], KeyRotation, [before, key], threshold=2)
    assert (proven.value.previous, proven.value.next) == (before, key)


def test_a_contract_signed_before_the_rotation_stays_this_partys(federation: Federation, home: Home) -> None:
    contract = federation.contract(owner=home.sides.own)
    signed = sign_statement(contract, federation.coordinator).countersigned(read_signer(home.layout))
    turn(home, Coordinator(federation))
    turn(home, Coordinator(federation))
    sides = open_home(home.layout.root).sides
    assert len(sides.former) == 2
    proven = open_statement(signed, type(contract), [sides.coordinator, sides.own, *sides.former])
    assert sides.signed(proven)


def test_a_lost_answer_is_made_up_for_with_the_same_next_key(federation: Federation, home: Home) -> None:
    class Silent(Coordinator):
        def rotate_key(self, envelope: bytes) -> bytes:
            super().rotate_key(envelope)
            raise UnreachableError("no answer")

    before, silent, coordinator = read_public(home.layout), Silent(federation), Coordinator(federation)
    with pytest.raises(UnreachableError):
        turn(home, silent)
    assert read_signer(home.layout).public_key == before
    key = turn(home, coordinator)
    assert read_unverified(silent.rotations[0], KeyRotation).next == key


def test_a_rotation_cut_off_while_files_were_replaced_is_finished_without_asking(
    federation: Federation, home: Home
) -> None:
    before = home.layout.statement_public.read_bytes()
    key = turn(home, Coordinator(federation))
    home.layout.statement_public.write_bytes(before)  # the private half is in place, the public one is not yet
    home.layout.statement_next.write_bytes(home.layout.statement_key.read_bytes())
    coordinator = Coordinator(federation)
    assert turn(home, coordinator) == key
    assert coordinator.rotations == []
    assert read_public(home.layout) == key
    assert [k.pem.encode() for k in read_former(home.layout)] == [before]


def test_a_roster_that_does_not_name_the_new_key_changes_nothing(federation: Federation, home: Home) -> None:
    before = read_public(home.layout)
    for coordinator in (Coordinator(federation, says=before), Coordinator(Federation.make())):
        with pytest.raises(AnswerError, match="the present key stays"):
            turn(home, coordinator)
        assert read_signer(home.layout).public_key == before


def test_a_shard_on_its_way_holds_a_rotation_up(home: Home) -> None:
    require_idle(home.jobs)
    request = JobRequest(task="t", nonce=NONCE, contract=str(RECIPE), recipe=str(RECIPE))
    report = JobReport(state=JobState.SHIPPING)
    home.jobs.add(Job(id="ab" * 32, request=request, seed=1, report=report, created=now(), updated=now()))
    with pytest.raises(JobStateError, match="being shipped"):
        require_idle(home.jobs)
