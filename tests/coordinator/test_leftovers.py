"""Processes that a killed coordinator left behind are ended by the next one, and no others."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from severable_coordinator.adapters import leftovers

Process = subprocess.Popen[bytes]


@pytest.fixture
def sleeper() -> Iterator[Process]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as process:
        yield process
        process.kill()


def test_what_was_noted_and_still_runs_is_ended_once(sleeper: Process, tmp_path: Path) -> None:
    note = tmp_path / "children"
    leftovers.note(note, [sleeper.pid])
    assert leftovers.end_those_of_before(note) == 1
    assert sleeper.wait(10) == -9
    assert leftovers.end_those_of_before(note) == 0


def test_a_process_that_has_the_id_of_an_earlier_one_is_left_alone(sleeper: Process, tmp_path: Path) -> None:
    note = tmp_path / "children"
    leftovers.note(note, [sleeper.pid])
    pid, _, started = note.read_text().strip().partition(" ")
    note.write_text(f"{pid} {int(started) - 1}\n")
    assert leftovers.end_those_of_before(note) == 0
    assert sleeper.poll() is None


@pytest.mark.parametrize("text", ["", "\n", "not a note\n", "99999999 1\n", "-1 5\n", "1\n"])
def test_a_note_of_nothing_that_runs_ends_nothing(text: str, tmp_path: Path) -> None:
    note = tmp_path / "children"
    assert leftovers.end_those_of_before(note) == 0
    note.write_text(text)
    assert leftovers.end_those_of_before(note) == 0
