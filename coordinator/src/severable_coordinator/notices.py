"""Telling both sides of a removal: what is told, to whom, and that it is kept until it was delivered.

A notice is written down first and sent later, by `up`, again and again with growing pauses. Nothing waits for one.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from severable_coordinator.ports import Clock, RemovalRecord
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.instant import format_instant
from severable_trust.order import is_order, read_trigger

MAX_TRIES = 40
_FIRST_S, _LONGEST_S = 30.0, 6 * 3600.0


class Event(StrEnum):
    """What notices are about."""

    ORDERED = "removal-ordered"
    FULFILLED = "removal-fulfilled"
    DENIED = "removal-denied"
    EXPIRED = "removal-expired"
    EXIT = "party-exit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a notice goes: `webhook` and a URL, or `email` and an address."""

    channel: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that one address is told.

    Attributes:
        id: SHA-256 over event, what it is about, and address: the same is told once.
        text: a JSON object: event, party, sentence, ids.
        statement: the signed statement that shows it (an envelope or a receipt's bundle), or empty.
        state: `waiting`, `sent` or `given up`.
        tries: how many failed.
        detail: why the last one failed, in one line.
    """

    id: str
    event: Event
    party: str
    address: Address
    made: datetime
    text: str
    statement: bytes = b""
    state: str = "waiting"
    tries: int = 0
    detail: str = ""

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        return str(json.loads(self.text)["sentence"])


class NoticeStore(Protocol):
    """Notices by id."""

    def add(self, notice: Notice) -> None:
        """Keep a notice; one that is there already stays as it is."""

    def notices(self) -> list[Notice]:
        """Every notice, in the order in which they were made."""

    def settle(self, notice_id: str, state: str, tries: int, detail: str) -> None:
        """Record how a try went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Writes notices down for both sides: the operator, and the party concerned."""

    store: NoticeStore
    coordinator: str
    addresses: Callable[[str], tuple[Address, ...]]  # party -> where it and the operator are told
    clock: Clock

    def of_removal(self, record: RemovalRecord) -> None:
        """Tell that a removal was ordered, or how it ended; an open one that the party asked for is not told."""
        events = {"fulfilled": Event.FULFILLED, "denied": Event.DENIED, "expired": Event.EXPIRED}
        event = events.get(record.state)
        trigger, statement = read_trigger(record.envelope), record.bundle or record.denial
        if event is None:
            if not is_order(Envelope.parse(record.envelope)):
                return
            event, statement = Event.ORDERED, record.envelope
        words = {
            Event.ORDERED: "ordered the removal of your shards",
            Event.FULFILLED: "has removed your shards; the receipt is attached",
            Event.DENIED: "has denied the removal; its statement is attached",
            Event.EXPIRED: "has nothing left to remove; its statement is attached",
        }[event]
        sentence = f"{self.coordinator} to {record.party}: {self.coordinator} {words} ({trigger.clause})."
        about = {"request": str(record.request), "contract": str(record.contract), "clause": trigger.clause}
        self._tell(event, record.party, str(record.request), {**about, "sentence": sentence}, statement)

    def of_exit(self, party: str) -> None:
        """Tell that a party leaves the federation."""
        sentence = f"{party} leaves {self.coordinator}: its certificates, roster entry and Flower node are revoked."
        self._tell(Event.EXIT, party, party, {"sentence": sentence}, b"")

    def _tell(self, event: Event, party: str, about: str, said: dict[str, Any], statement: bytes) -> None:
        now = self.clock()
        plain = {"event": event, "coordinator": self.coordinator, "party": party, "at": format_instant(now), **said}
        for address in self.addresses(party):
            key = f"{event}\n{about}\n{address.channel}\n{address.target}"
            notice = Notice(
                id=Digest.of(key.encode()).hex,
                event=event,
                party=party,
                address=address,
                made=now,
                text=json.dumps(plain, sort_keys=True),
                statement=statement,
            )
            self.store.add(notice)


def pause_s(failures: int) -> float:
    """How long to wait after so many failures before the next try, in seconds: doubled each time, up to six hours."""
    return min(_FIRST_S * 2.0 ** min(failures - 1, 30), _LONGEST_S)
