"""Starting, finding and killing the real processes of a fault test; each is killed by its id, never by its name."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from severable_client.adapters.leftovers import Leftovers

PATIENCE_S = 900.0  # on a busy machine; a quiet one needs seconds
_POLL_S = 0.02
_END_S = 60.0

Process = subprocess.Popen[bytes]


def until(true: Callable[[], bool], what: str, while_true: Callable[[], bool] = lambda: True) -> None:
    """Wait until something is so; fail once patience is over, or what must be so meanwhile is not."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not true():
        assert while_true(), f"it cannot come any more: {what}"
        assert time.monotonic() < deadline_s, f"it did not come within {PATIENCE_S:.0f} s: {what}"
        time.sleep(_POLL_S)


def command(package: str, *words: str) -> list[str]:
    """The command line of `severable_client` or `severable_coordinator`."""
    return [sys.executable, "-P", "-c", f"from {package}.adapters.cli.app import main; main()", *words]


def start(words: Sequence[str], log: Path, **environment: str) -> Process:
    """Start a process whose words are appended to a log."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("ab") as output:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=os.environ | threads | environment,
        )  # fmt: skip


def words_of(pid: int) -> str:
    """A process's command line, "" once it has ended."""
    try:
        if Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z":
            return ""
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def noted(note: Path, word: str) -> int:
    """The process in a note of running children whose command line has this word, 0 if none runs."""
    lines = note.read_text().splitlines() if note.is_file() else []
    return next((pid for pid in (int(line.split()[0]) for line in lines) if word in words_of(pid)), 0)


def end(process: Process | None, note: Path) -> None:
    """End a process that has a note of its children: asked first, then killed with all that it noted."""
    if process is not None and process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if note.is_file():
        Leftovers(note).end_those_of_before()


def kill(pid: int) -> None:
    """kill -9."""
    assert pid > 0, "the process that was to be killed does not run"
    os.kill(pid, signal.SIGKILL)
    until(lambda: not words_of(pid), f"the end of process {pid}")
