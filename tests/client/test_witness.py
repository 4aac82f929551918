"""The owner's own last view: a log or roster that goes back, forks or is rewritten raises an alarm and is not taken."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from client.exchange_service import Log, Service, serving
from client.samples import Federation, make_home

from severable_client.adapters.checkup import examine
from severable_client.adapters.files import FolderViewStore
from severable_client.bootstrap import Home, open_home
from severable_client.errors import AnswerError, HomeError, LogAlarmError
from severable_trust.keys import PemSigner
from severable_trust.note import LogSigner
from severable_trust.roster import Roster
from severable_trust.statement import open_statement, sign_statement


@dataclass
class Watch:
    """A home and the coordinator that it watches over real gRPC."""

    federation: Federation
    home: Home
    service: Service
    log: Log

    def look(self) -> int:
        with self.home.exchange() as exchange:
            return self.home.witness.watch(exchange).size

    def reissue(self, **changes: Any) -> bytes:
        """Another roster, signed by the coordinator."""
        roster = open_statement(self.service.roster, Roster, [self.federation.coordinator.public_key]).value
        return sign_statement(replace(roster, **changes), self.federation.coordinator).to_bytes()


@pytest.fixture
def watch(federation: Federation, tmp_path: Path) -> Iterator[Watch]:
    service = Service()
    with serving(service, federation) as address:
        home = open_home(make_home(federation, tmp_path, address))
        service.log = log = Log(federation.log, [b"a", b"b", b"c"])
        service.roster = home.layout.roster.read_bytes()
        yield Watch(federation, home, service, log)


def test_a_log_that_only_grows_is_followed_entry_by_entry(watch: Watch) -> None:
    sizes = [watch.look()]
    for number in range(9):
        watch.log.leaves.append(bytes([number]))
        sizes.append(watch.look())
    assert sizes == list(range(3, 13))
    assert FolderViewStore(watch.home.layout).alarms() == ()


def test_an_empty_log_may_grow(watch: Watch) -> None:
    watch.log.leaves.clear()
    assert watch.look() == 0
    watch.log.leaves.extend([b"x", b"y"])
    assert watch.look() == 2


@pytest.mark.parametrize(
    ("leaves", "reason"),
    [
        ([b"a", b"b"], "shrank: 3 entries were signed before, 2 are shown"),
        ([], "shrank"),
        ([b"a", b"B", b"c"], "two different trees of 3 entries"),
        ([b"b", b"a", b"c"], "two different trees of 3 entries"),
        ([b"a", b"B", b"c", b"d"], "rewritten"),
        ([b"a", b"c", b"d", b"e", b"f"], "rewritten"),
    ],
)
def test_a_log_that_shrinks_forks_or_is_rewritten_raises_an_alarm_with_both_notes_kept(
    watch: Watch, leaves: list[bytes], reason: str
) -> None:
    watch.look()
    held = watch.log.note()
    watch.log.leaves[:] = leaves
    for _ in range(2):  # said again as long as it lasts, kept once
        with pytest.raises(LogAlarmError, match=reason):
            watch.look()
    views = FolderViewStore(watch.home.layout)
    (evidence,) = views.alarms()
    assert held in evidence.read_text()
    assert watch.log.note() in evidence.read_text()
    assert views.checkpoint() == held


def test_a_checkpoint_of_another_key_raises_an_alarm(watch: Watch) -> None:
    watch.service.log = Log(LogSigner.generate(watch.federation.log.key.name), watch.log.leaves)
    with pytest.raises(LogAlarmError, match="not signed by a known key"):
        watch.look()


def test_the_doctor_shows_an_alarm_until_somebody_acts(watch: Watch) -> None:
    watch.look()
    watch.log.leaves.pop()
    with pytest.raises(LogAlarmError):
        watch.look()
    watch.log.leaves.append(b"c")
    watch.look()  # the coordinator shows the old tree again: no reason to forget what it did
    finding = next(finding for finding in examine(watch.home) if finding.what == "log")
    assert not finding.well
    assert "contradicted itself" in finding.line


def test_a_later_roster_is_taken_and_an_earlier_one_is_not_taken_back(watch: Watch) -> None:
    first, second = watch.service.roster, watch.reissue(version=2)
    watch.service.roster = second
    watch.look()
    assert watch.home.layout.roster.read_bytes() == second
    watch.service.roster = first
    with pytest.raises(LogAlarmError, match="version 1 is shown, version 2 was shown before"):
        watch.look()
    assert watch.home.layout.roster.read_bytes() == second


def test_two_rosters_of_one_version_raise_an_alarm(watch: Watch) -> None:
    watch.service.roster = watch.reissue(parties=())
    with pytest.raises(LogAlarmError, match="two different rosters are both version 1"):
        watch.look()


def test_an_expired_roster_is_not_taken(watch: Watch) -> None:
    watch.service.roster = watch.reissue(version=2, expires=watch.home.witness.clock() - timedelta(seconds=1))
    with pytest.raises(AnswerError, match="expired"):
        watch.look()


def test_a_roster_that_the_coordinator_did_not_sign_raises_an_alarm(watch: Watch) -> None:
    roster = open_statement(watch.service.roster, Roster, [watch.federation.coordinator.public_key]).value
    watch.service.roster = sign_statement(roster, PemSigner.generate()).to_bytes()
    with pytest.raises(LogAlarmError, match=r"roster|signature|key"):
        watch.look()


def test_a_damaged_view_is_the_homes_trouble_and_no_accusation(watch: Watch) -> None:
    watch.look()
    watch.home.layout.checkpoint.write_text("garbage")
    with pytest.raises(HomeError, match="kept in this home does not hold"):
        watch.look()
    assert FolderViewStore(watch.home.layout).alarms() == ()
