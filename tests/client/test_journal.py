"""The journal's chain: whatever is done to an entry, a line or the end is found, without this program too."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from severable_client.adapters.database import open_database
from severable_client.adapters.journal import SqlJournal, read_journal
from severable_client.errors import JournalError, StorageError
from severable_client.journal import (
    BEGINNING,
    Head,
    check_chain,
    head_of,
    line_of,
    link_after,
    parse_lines,
    require_head,
    require_same,
)
from severable_client.ports import JournalEntry, JournalKind, Link

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

texts = st.text(st.characters(codec="utf-8"), max_size=20)
entries = st.builds(
    JournalEntry,
    at=st.integers(0, 4_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
    what=texts,
    subject=texts,
    bytes=st.integers(0, 2**53 - 1),
    kind=st.sampled_from(JournalKind),
)


def chained(noted: list[JournalEntry]) -> list[Link]:
    links: list[Link] = []
    for one in noted:
        links.append(link_after(one, links[-1] if links else None))
    return links


def file_of(links: list[Link]) -> bytes:
    return b"".join(map(line_of, links))


@settings(max_examples=20)
@given(st.lists(entries, max_size=6))
def test_a_journal_is_read_as_it_was_written(noted: list[JournalEntry]) -> None:
    links = chained(noted)
    assert list(parse_lines(file_of(links), "it")) == links


@settings(max_examples=40)
@given(st.lists(entries, min_size=1, max_size=4), st.data())
def test_any_changed_byte_is_found(noted: list[JournalEntry], data: st.DataObject) -> None:
    good = bytearray(file_of(chained(noted)))
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] = data.draw(st.integers(0, 255).filter(lambda value: value != good[place]))
    with pytest.raises(JournalError):
        parse_lines(bytes(good), "it")


@settings(max_examples=40)
@given(st.lists(entries, min_size=2, max_size=6), st.data())
def test_any_entry_that_is_missing_repeated_or_moved_is_found(noted: list[JournalEntry], data: st.DataObject) -> None:
    links = chained(noted)
    places = data.draw(st.lists(st.integers(0, len(links) - 1), max_size=8))
    other = [links[place] for place in places]
    if other == links[: len(other)]:
        check_chain(other, "it")  # an end cut off is a chain of its own
    else:
        with pytest.raises(JournalError):
            check_chain(other, "it")
    if other != links:
        with pytest.raises(JournalError):
            require_same(other, links, "it")


@settings(max_examples=20)
@given(st.lists(entries, min_size=1, max_size=6), st.data())
def test_a_noted_head_finds_an_end_that_was_cut_off_or_rewritten(
    noted: list[JournalEntry], data: st.DataObject
) -> None:
    links = chained(noted)
    head = head_of(links)
    assert head is not None
    assert Head.parse(str(head)) == head
    require_head(links, head, "it")
    keep = data.draw(st.integers(0, len(links) - 1))
    with pytest.raises(JournalError, match="cut off"):
        require_head(links[:keep], head, "it")
    rewritten = chained([replace(noted[0], what=f"{noted[0].what}!"), *noted[1:]])
    with pytest.raises(JournalError, match="rewritten"):
        require_head(rewritten, head, "it")


@pytest.mark.parametrize("text", ["", "1", "0:" + "a" * 64, "1:" + "A" * 64, "x:" + "a" * 64])
def test_a_head_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(JournalError, match="no head"):
        Head.parse(text)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_database(tmp_path / "state.db")


@pytest.fixture
def journal(engine: Engine, tmp_path: Path) -> SqlJournal:
    made = SqlJournal(engine, tmp_path / "journal.jsonl")
    for number in range(4):
        made.note(entry(number))
    return made


def entry(number: int) -> JournalEntry:
    return JournalEntry(at=NOON, what=f"thing {number}", subject="sha256:" + "a" * 64, bytes=number)


def test_the_file_can_be_checked_with_nothing_but_a_json_parser_and_sha256(journal: SqlJournal, tmp_path: Path) -> None:
    previous = BEGINNING
    for line in (tmp_path / "journal.jsonl").read_text().splitlines():
        found = json.loads(line)
        told = found.pop("hash")
        again = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert found["previous"] == previous
        assert hashlib.sha256(again).hexdigest() == told
        previous = told
    head = journal.verify()
    assert head == Head(4, previous)


def test_the_file_is_its_owners_alone(journal: SqlJournal, tmp_path: Path) -> None:
    assert (tmp_path / "journal.jsonl").stat().st_mode & 0o077 == 0


def lines_changed(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda data: b"".join(change(data.splitlines(keepends=True)))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "altered": lambda data: data.replace(b'"bytes":2', b'"bytes":9'),
    "removed": lines_changed(lambda lines: [*lines[:1], *lines[2:]]),
    "reordered": lines_changed(lambda lines: [lines[0], lines[2], lines[1], lines[3]]),
    "repeated": lines_changed(lambda lines: [*lines, lines[-1]]),
    "end cut off": lines_changed(lambda lines: lines[:-1]),
    "cut within a line": lambda data: data[:-9],
    "emptied": lambda _: b"",
    "another spelling": lambda data: data.replace(b'"bytes":2', b'"bytes": 2'),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_is_found_and_restored_from_the_database(journal: SqlJournal, tmp_path: Path, what: str) -> None:
    path = tmp_path / "journal.jsonl"
    good = path.read_bytes()
    path.write_bytes(DAMAGE[what](good))
    with pytest.raises(JournalError):
        journal.verify()
    kept = journal.restore()
    assert kept is not None
    assert kept.read_bytes() == DAMAGE[what](good)
    assert path.read_bytes() == good
    journal.verify()


def test_a_file_that_is_gone_is_found(journal: SqlJournal, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").unlink()
    with pytest.raises(JournalError, match="missing"):
        journal.verify()
    assert journal.restore() is None
    journal.verify()


def test_without_its_file_nothing_more_is_noted(journal: SqlJournal, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").unlink()
    with pytest.raises(JournalError, match="nothing leaves"):
        journal.note(entry(5))
    assert len(journal.all()) == 4


@pytest.mark.parametrize("what", ["altered", "removed", "reordered", "end cut off"])
def test_after_damage_to_the_end_nothing_more_is_noted(journal: SqlJournal, tmp_path: Path, what: str) -> None:
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(DAMAGE[what](path.read_bytes()))
    if path.read_bytes().splitlines(keepends=True)[-1] == lines[-1]:
        journal.note(entry(5))  # the end is untouched: `verify` finds the rest, noting does not read it all
    else:
        with pytest.raises(JournalError, match="nothing leaves"):
            journal.note(entry(5))
    with pytest.raises(JournalError):
        journal.verify()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal_links SET bytes = 7 WHERE number = 2",
        "UPDATE journal_links SET at = 0.5 WHERE number = 2",
        "UPDATE journal_links SET kind = 'other' WHERE number = 2",
        "DELETE FROM journal_links WHERE number = 2",
        "DELETE FROM journal_links WHERE number = 4",
        "DELETE FROM journal_links",
    ],
)
def test_a_database_that_was_edited_is_found(journal: SqlJournal, engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))
    with pytest.raises(JournalError):
        journal.verify()


def test_an_older_database_put_back_is_found_by_the_file(journal: SqlJournal, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM journal_links WHERE number > 2"))
    with pytest.raises(JournalError, match="older one was put back"):
        journal.verify()
    with pytest.raises(JournalError, match="nothing leaves"):
        journal.note(entry(5))


def test_file_and_database_rewritten_together_are_found_by_a_noted_head(
    journal: SqlJournal, engine: Engine, tmp_path: Path
) -> None:
    noted = journal.verify()
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM journal_links"))
    (tmp_path / "journal.jsonl").unlink()
    for number in (0, 1, 3, 4):
        journal.note(entry(number))
    journal.verify()
    with pytest.raises(JournalError, match="rewritten"):
        journal.verify(noted)


def test_a_process_killed_within_a_line_leaves_a_part_that_the_next_one_drops(
    journal: SqlJournal, tmp_path: Path
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes() + b'{"at":"2026-')
    journal.note(entry(4))
    assert [link.entry for link in read_journal(path)] == [entry(number) for number in range(5)]
    journal.verify()


def test_a_process_killed_before_the_database_was_written_leaves_a_line_that_the_next_one_takes_over(
    journal: SqlJournal, tmp_path: Path
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes() + line_of(link_after(entry(4), journal.links()[-1])))
    journal.note(entry(5))
    assert list(journal.all()) == [entry(number) for number in range(6)]
    journal.verify()


def test_where_the_file_cannot_be_written_nothing_is_noted(
    journal: SqlJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("severable_client.adapters.journal.os.fsync", full)
        with pytest.raises(StorageError, match="disk is full"):
            journal.note(entry(4))
    assert len(journal.all()) == 4
    journal.note(entry(5))
    journal.verify()
