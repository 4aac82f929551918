"""The operator's command line, called in the test's own process."""

import sys

import pytest

from severable_coordinator.adapters.cli.app import main


class Cli:
    """Calls the command line in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> str:
        """Standard output of a call that must succeed."""
        self._call(*arguments, expect=(0, None))
        return self._capsys.readouterr().out

    def refused(self, *arguments: str) -> str:
        """The one line of a call that must fail."""
        said = self._call(*arguments)
        assert isinstance(said, str), f"not one line but status {said}"
        assert "\n" not in said
        return said

    def _call(self, *arguments: str, expect: tuple[object, ...] | None = None) -> object:
        self._monkeypatch.setattr(sys, "argv", ["severable-coordinator", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert expect is None or ended.value.code in expect, ended.value.code
        return ended.value.code
