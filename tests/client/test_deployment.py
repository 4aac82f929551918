"""The service unit and the container file: what they promise, held against systemd's own checker where it is there."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from severable_client.adapters.config import Config
from severable_client.adapters.supervisor import ENDING_S
from severable_client.adapters.upkeep import TIMEOUT_S

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "severable-client.service"
CONTAINER = DEPLOY / "container" / "Containerfile"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)


def service() -> dict[str, str]:
    read = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    read.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    read.read_string(UNIT.read_text())
    return dict(read["Service"])


def runnable(tmp_path: Path) -> Path:
    """The unit with a program that is there, for systemd looks."""
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"/opt/severable/bin/\S+", str(shutil.which("true")), UNIT.read_text()))
    return copy


def test_the_unit_waits_for_ready_and_watches() -> None:
    found = service()
    assert (found["Type"], found["NotifyAccess"], found["Restart"]) == ("notify", "main", "always")
    assert int(found["WatchdogSec"]) >= 10
    assert found["ExecReload"].startswith("/bin/kill -HUP")
    assert found["KillMode"] == "mixed"


def test_the_unit_waits_longer_than_the_daemon_drains() -> None:
    grace_s = Config(party="a", legal_name="a", exchange="h:1", fleet="h:2", data="/d").grace_s
    assert int(service()["TimeoutStopSec"]) > grace_s + ENDING_S + TIMEOUT_S


@needs_systemd
def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    command = ["systemd-analyze", "verify", str(runnable(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_finds_the_unit_hardened(tmp_path: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(runnable(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is too old to look at a unit that is not installed")
    assert done.returncode == 0, done.stdout[-400:]


def test_the_container_runs_as_nobody_special_with_its_home_in_a_volume() -> None:
    lines = CONTAINER.read_text().splitlines()
    last_stage = lines[max(place for place, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert "USER severable" in last_stage
    assert "VOLUME /var/lib/severable" in last_stage
    assert last_stage.index("USER severable") < last_stage.index('ENTRYPOINT ["severable-client"]')
    assert not any(line.startswith(("EXPOSE", "ADD")) for line in lines)
