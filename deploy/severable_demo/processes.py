"""Starting commands and daemons, and ending every one of them whatever happens."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

_STOP_S = 20.0
_POLL_S = 0.1


class StepFailedError(Exception):
    """A command or daemon of the demo failed; the message says which, and its last lines."""


@dataclass
class Processes:
    """Runs commands in the foreground and daemons in the background; leaving the context ends all that still runs.

    Attributes:
        log: one file that every command line and all output goes to.
        echo: whether to show commands and their output.
    """

    log: Path
    echo: bool = True
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _running: set[subprocess.Popen[str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _starting: threading.Lock = field(default_factory=threading.Lock)
    _ending: bool = False

    def __enter__(self) -> Self:
        """Begin the log; from here on SIGTERM ends the demo as Ctrl-C does."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text("")
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End every daemon; first asked, then killed with its whole group."""
        self.stop_all()

    def run(self, *command: str, expect: int = 0, show: bool = True) -> str:
        """Run a command to its end and return what it printed. StepFailedError on another exit status."""
        shown = " ".join(_short(word) for word in command)
        argv = [str(Path(sys.executable).parent / command[0]), *command[1:]]
        alone = threading.current_thread() is threading.main_thread()
        say = self._say if alone and show else self._note
        say(f"$ {shown}")
        lines: list[str] = []
        with (
            self._output("errors").open("ab") as errors,  # where lines go that nobody watches
            subprocess.Popen(
                argv, stdout=subprocess.PIPE, stderr=None if self.echo else errors, text=True, env=_environment()
            ) as process,
        ):
            self._running.add(process)
            try:
                for line in process.stdout or ():
                    lines.append(line)
                    say(f"  {line.rstrip()}")
                status = process.wait()
            except BaseException:
                process.terminate()
                process.wait(_STOP_S)
                raise
            finally:
                self._running.discard(process)
        if show and not alone:  # beside others: in one piece, when it is done
            self._say("".join([f"$ {shown}\n", *(f"  {line}" for line in lines)]).rstrip(), note=False)
        if status != expect:
            tail = "".join(lines[-3:]).strip()
            raise StepFailedError(f"`{shown}` ended with status {status}: {tail or 'its line is above'}")
        return "".join(lines)

    def together(self, *jobs: Callable[[], None]) -> None:
        """Do several things at a time, as several people would; the first error is raised."""
        for end in [self.begin(job) for job in jobs]:
            end()

    def begin(self, job: Callable[[], None]) -> Callable[[], None]:
        """Begin something beside the rest; the returned call waits for it and raises its error."""
        pool = ThreadPoolExecutor(1)
        future = pool.submit(job)
        pool.shutdown(wait=False)
        return future.result

    def start(self, name: str, *command: str, ready: str, timeout_s: float = 300.0) -> None:
        """Start a daemon in a group of its own and wait for its ready line. StepFailedError when it does not come."""
        self.launch(name, *command)
        self.await_ready(name, ready, timeout_s)

    def launch(self, name: str, *command: str) -> None:
        """Start a daemon without waiting."""
        self._say(f"$ {' '.join(_short(word) for word in command)} &")
        argv = [str(Path(sys.executable).parent / command[0]), *command[1:]]
        with self._starting, self._output(name).open("wb") as output:
            if self._ending:  # a daemon that starts after the others were asked to end would outlive them
                raise StepFailedError(f"{name} is not started any more: the demo is ending")
            self._daemons[name] = subprocess.Popen(
                argv, stdout=output, stderr=subprocess.STDOUT, env=_environment(), start_new_session=True
            )

    def await_ready(self, name: str, ready: str, timeout_s: float = 300.0) -> None:
        """Wait until a daemon has printed its ready line."""
        give_up = time.monotonic() + timeout_s
        while True:
            said = self._output(name).read_text(errors="replace")
            if ready in said:
                self._say("  " + next(line for line in said.splitlines() if ready in line))
                return
            if self._daemons[name].poll() is not None:
                raise StepFailedError(f"{name} ended while starting: {_last_line(said)}")
            if time.monotonic() > give_up:
                raise StepFailedError(f"{name} was not ready within {timeout_s:.0f} s; see {self._output(name)}")
            time.sleep(_POLL_S)

    def alive(self) -> list[str]:
        """Names of the daemons that still run."""
        return [name for name, process in self._daemons.items() if process.poll() is None]

    def stop_all(self) -> None:
        """Ask every command and daemon to stop, all at once, newest first; kill the group of a daemon that does not."""
        with self._starting:
            self._ending = True
        for command in set(self._running):
            command.terminate()
        running = [self._daemons[name] for name in reversed(self.alive())]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                _kill_group(process)
        for process in self._daemons.values():
            _kill_group(process)
            process.wait()
        if running:
            self._say(f"  ended {len(running)} daemons")

    def _output(self, name: str) -> Path:
        return self.log.parent / f"{name}.log"

    def _say(self, text: str, *, note: bool = True) -> None:
        if note:
            self._note(text)
        if self.echo:
            with self._lock:
                print(text, flush=True)

    def _note(self, text: str) -> None:
        with self._lock, self.log.open("a") as stream:
            stream.write(text + "\n")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _environment() -> Mapping[str, str]:
    """This process's environment without what would change a command's meaning."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SEVERABLE_", "FLWR_", "PYTHON"))}
    return own | {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def _short(word: str) -> str:
    path = Path(word)
    return os.path.relpath(path) if path.is_absolute() else word


def _last_line(text: str) -> str:
    lines: Sequence[str] = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
