"""The command line in this process, and what it says."""

import sys

import pytest

from severable_client.adapters.cli import main


class Terminal:
    """Runs the command line in this process, as the installed script would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: object) -> int:
        self._monkeypatch.setattr(sys, "argv", ["severable-client", *map(str, arguments)])
        self._monkeypatch.setenv("COLUMNS", "200")
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        self.out, self.err = self._capsys.readouterr()
        if isinstance(code, str):  # what the interpreter would print
            self.err, code = f"{self.err}{code}\n", 1
        return int(str(code or 0))


def refused(run: Terminal, *arguments: object) -> str:
    """The one line with which a command refuses."""
    assert run(*arguments) == 1
    (line,) = run.err.splitlines()
    assert line.startswith("severable-client: ")
    return line
