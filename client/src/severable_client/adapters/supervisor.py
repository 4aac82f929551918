"""Child processes: output in logs, started again with patience, ended with everything below them."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from severable_client.adapters.files import storage
from severable_client.adapters.leftovers import Leftovers
from severable_client.errors import EngineStartError

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0  # a Flower node is refused for as long after its predecessor was killed
STEADY_S = 60.0  # a child that lived so long starts again at the first delay
ENDING_S = 8.0

LOG_BYTES = 8 << 20  # a larger log is set aside at the next start
_TAIL_BYTES = 4096
_WORDS = 500  # characters of a last line: what to do about it comes at its end, after long paths
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CHATTER = ("INFO", "For more information")  # what Flower's and uvicorn's loggers say after the reason


class Child:
    """One process and its log.

    Args:
        name: for people, and for the log's name.
        command: program and arguments.
        environment: of the process.
        log: file that its output is appended to.
        leftovers: where it is noted while it runs.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, leftovers: Leftovers
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._leftovers = leftovers
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before = 0  # bytes of the log that are not this process's

    def start(self) -> None:
        """Start the process in a group of its own, so that a Ctrl-C at the terminal reaches the daemon alone.

        Raises:
            EngineStartError: the program is missing or cannot be run.
            StorageError: the log cannot be opened.
        """
        with storage(f"{self.log} cannot be opened"):
            if self.log.is_file() and self.log.stat().st_size > LOG_BYTES:
                self.log.replace(self.log.with_suffix(".old"))
            output = self.log.open("ab")
            self._said_before = output.tell()
        try:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineStartError(f"{self.name} cannot be started: {error}; install severable-client again") from error
        finally:
            output.close()
        self._leftovers.note(self._process.pid)

    def exit_code(self) -> int | None:
        """Return how the process ended, or None while it runs (or was never started)."""
        return None if self._process is None else self._process.poll()

    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        """Return the last line that the process wrote, shortened; the last that is no mere information, if any."""
        try:
            written = self.log.read_bytes()[self._said_before :]
        except OSError:
            return "its log cannot be read"
        text = _COLOUR.sub("", written[-_TAIL_BYTES:].decode("utf-8", "replace"))
        lines = [line.strip()[:_WORDS] for line in text.splitlines() if line.strip()]
        telling = [line for line in lines if not line.startswith(_CHATTER)]
        return (telling or lines or ["without a word"])[-1]

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process's group."""
        self._signal(signal.SIGTERM)

    def end(self, deadline_s: float) -> None:
        """Wait for the process until the deadline (`time.monotonic`), then kill its group."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._signal(signal.SIGKILL)  # whatever of its group outlived it
        self._leftovers.forget(self._process.pid)
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return


class Perpetual:
    """A child that is started again whenever it ends.

    Args:
        child: the child.
        say: told one line when it ends.
    """

    def __init__(self, child: Child, say: Callable[[str], None]) -> None:
        self.child = child
        self._say = say
        self._delay_s = FIRST_DELAY_S
        self._started_s: float | None = None
        self._again_s: float | None = None

    def tend(self, now_s: float) -> None:
        """Start the child if it is time to; `now_s` is of `time.monotonic`."""
        if self.child.running():
            return
        if self._started_s is not None and self._again_s is None:
            self._note_the_end(now_s)
        if self._again_s is None or now_s >= self._again_s:
            self.child.start()
            self._started_s, self._again_s = now_s, None

    def renew(self, now_s: float) -> None:
        """End the child and start it again at once, for it to begin with what has changed since."""
        self.child.ask_to_end()
        self.child.end(time.monotonic() + ENDING_S)
        self.child.start()
        self._started_s, self._again_s = now_s, None

    def _note_the_end(self, now_s: float) -> None:
        lived_s = now_s - (self._started_s or now_s)
        self._delay_s = FIRST_DELAY_S if lived_s >= STEADY_S else min(LONGEST_DELAY_S, self._delay_s * 2)
        self._again_s = now_s + self._delay_s
        line = f"{self.child.name} ended (exit {self.child.exit_code()}), again in {self._delay_s:.0f} s"
        self._say(f"{line}; see {self.child.log}: {self.child.last_words()}")


def end_all(children: Sequence[Child]) -> None:
    """End every child, all at once, with one deadline for all."""
    for child in children:
        child.ask_to_end()
    deadline_s = time.monotonic() + ENDING_S
    for child in children:
        child.end(deadline_s)
