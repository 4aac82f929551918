"""The journal's chain: every entry carries the hash of the one before, so that a change to any of them shows.

Definition, ``severable-journal/v1``. Entry n (from 1) is the JSON object with exactly the members ``at`` (UTC, whole
seconds), ``bytes``, ``format``, ``kind`` ("sent" or "decided"), ``number`` (n), ``previous``, ``subject`` and ``what``,
in the canonical form of RFC 8785. Its hash is the SHA-256 of those bytes, in lower-case hex. ``previous`` is the hash
of entry n - 1, and 64 zeros for the first. A line of ``journal.jsonl`` is the same object with one member more,
``hash``, in canonical form, and a line feed.

The head is the last entry's number and hash, written ``n:hash``. The chain alone cannot show that entries are missing
at its end: for that the head is compared with the database's, or with one that somebody noted earlier.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from severable_client.errors import JournalError
from severable_client.ports import JournalEntry, JournalKind, Link
from severable_trust.canonical import decode, encode
from severable_trust.digest import Digest
from severable_trust.errors import TrustError
from severable_trust.instant import format_instant, parse_instant

FORMAT = "severable-journal/v1"
BEGINNING = "0" * 64

_MEMBERS = {"at", "bytes", "format", "hash", "kind", "number", "previous", "subject", "what"}
_HEAD = re.compile(r"([1-9][0-9]{0,11}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Head:
    """Where a journal ends: the last entry's number, from 1, and its hash, 64 hex digits."""

    number: int
    hash: str

    def __str__(self) -> str:
        """Return ``number:hash``."""
        return f"{self.number}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Return the head that is written ``number:hash``.

        Raises:
            JournalError: it is written in another way.
        """
        found = _HEAD.fullmatch(text.strip())
        if found is None:
            raise JournalError(f"{text[:80]!r} is no head; write it as `status` shows it, number:hash")
        return cls(int(found[1]), found[2])


def link_after(entry: JournalEntry, before: Link | None) -> Link:
    """Return the entry as the next link of a chain, or as the first one."""
    number, previous = (before.number + 1, before.hash) if before else (1, BEGINNING)
    return Link(number=number, previous=previous, entry=entry, hash=_hash(number, previous, entry))


def head_of(links: Sequence[Link]) -> Head | None:
    """Return where a chain ends, None if it is empty."""
    return Head(links[-1].number, links[-1].hash) if links else None


def line_of(link: Link) -> bytes:
    """Return the link's line in journal.jsonl, line feed included."""
    return encode(_content(link.number, link.previous, link.entry) | {"hash": link.hash}) + b"\n"


def parse_line(line: bytes, what: str) -> Link:
    """Return the link in a line without its line feed; the link itself is sound, its neighbours are not looked at.

    Raises:
        JournalError: not such a line, or its hash is not that of its content; `what` names it.
    """
    try:
        found = decode(line, what)
        if not isinstance(found, dict) or found.keys() != _MEMBERS or found["format"] != FORMAT:
            raise JournalError(f"{what} is no entry of {FORMAT}: it was altered")
        link = _link(found)
    except (TrustError, ValueError, TypeError) as error:
        raise JournalError(f"{what} cannot be read, it was altered: {error}") from error
    if not _sound(link):
        raise JournalError(f"{what} was altered: its hash is not that of its content")
    return link


def parse_lines(data: bytes, name: str) -> tuple[Link, ...]:
    """Return the links of a whole journal.jsonl, proven to be one chain from the first entry on.

    Raises:
        JournalError: an entry is altered, missing, moved, or cut short; the line is named.
    """
    *lines, rest = data.split(b"\n")
    if rest:
        raise JournalError(f"{name} ends within line {len(lines) + 1}: its end was cut off")
    links = tuple(parse_line(line, f"{name} line {place}") for place, line in enumerate(lines, 1))
    check_chain(links, name)
    return links


def check_chain(links: Sequence[Link], name: str) -> None:
    """Return if the links are one chain from the first entry on.

    Raises:
        JournalError: an entry is altered, missing or moved; its place is named.
    """
    previous = BEGINNING
    for place, link in enumerate(links, 1):
        if link.number != place or link.previous != previous:
            raise JournalError(
                f"{name}: in place {place} stands entry {link.number}, which does not follow the one before: "
                "an entry was removed, added or moved"
            )
        if not _sound(link):
            raise JournalError(f"{name}: entry {place} was altered: its hash is not that of its content")
        previous = link.hash


def require_same(file: Sequence[Link], database: Sequence[Link], name: str) -> None:
    """Return if both hold the same chain; both are chains.

    Raises:
        JournalError: one is shorter, or they differ; the first entry that does is named.
    """
    for ours, theirs in zip(file, database, strict=False):
        if ours.hash != theirs.hash:
            raise JournalError(f"{name} and the database differ from entry {ours.number} on: one of them was rewritten")
    if len(file) < len(database):
        raise JournalError(f"{name} ends at entry {len(file)}, the database at {len(database)}: its end was cut off")
    if len(file) > len(database):
        raise JournalError(
            f"the database ends at entry {len(database)}, {name} at {len(file)}: an older one was put back"
        )


def require_head(links: Sequence[Link], noted: Head, name: str) -> None:
    """Return if a chain holds the entry that was its head when somebody noted it.

    Raises:
        JournalError: it ends before, or has another entry there.
    """
    if len(links) < noted.number:
        raise JournalError(f"{name} ends at entry {len(links)}, before the noted head {noted.number}: it was cut off")
    if links[noted.number - 1].hash != noted.hash:
        raise JournalError(f"{name}: entry {noted.number} is another one than the noted head: it was rewritten")


def _sound(link: Link) -> bool:
    try:
        return link.hash == _hash(link.number, link.previous, link.entry)
    except TrustError:  # a database lets columns hold what no entry could
        return False


def _hash(number: int, previous: str, entry: JournalEntry) -> str:
    return Digest.of(encode(_content(number, previous, entry))).hex


def _content(number: int, previous: str, entry: JournalEntry) -> dict[str, Any]:
    return {
        "at": format_instant(entry.at),
        "bytes": entry.bytes,
        "format": FORMAT,
        "kind": entry.kind.value,
        "number": number,
        "previous": previous,
        "subject": entry.subject,
        "what": entry.what,
    }


def _link(found: dict[str, Any]) -> Link:
    """Return the link in a decoded object; raises ValueError, TypeError or TrustError for a member of another kind."""
    for name in ("at", "hash", "kind", "previous", "subject", "what"):
        if not isinstance(found[name], str):
            raise TypeError(f"{name} is not text")
    for name in ("bytes", "number"):
        if type(found[name]) is not int or found[name] < 0:
            raise TypeError(f"{name} is not a whole number")
    entry = JournalEntry(
        at=parse_instant(found["at"]),
        what=found["what"],
        subject=found["subject"],
        bytes=found["bytes"],
        kind=JournalKind(found["kind"]),
    )
    return Link(number=found["number"], previous=found["previous"], entry=entry, hash=found["hash"])
