"""What the daemon says, what it writes down, and what it leaves out of both; and what a reload takes over."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from client.samples import Federation, make_home

from severable_client.adapters import reloading
from severable_client.adapters.config import write_config
from severable_client.adapters.daemon_log import DaemonLog
from severable_client.bootstrap import open_home
from severable_client.consent import Rule
from severable_client.discretion import HINT, Discretion
from severable_client.errors import ClientError


def logged(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "daemon.jsonl").read_text().splitlines()]


def test_a_line_is_said_and_written_as_one_json_object(tmp_path: Path) -> None:
    said: list[str] = []
    log = DaemonLog(tmp_path, said.append, str)
    log.tell("daemon", "up", 'owner "a" is up\nor not')
    log.of("upkeep")("in step 100 % again")
    log.close()
    first, second = logged(tmp_path)
    assert first.keys() == {"at", "component", "event", "message", "process"}
    assert (first["component"], first["event"], first["message"]) == ("daemon", "up", 'owner "a" is up\nor not')
    assert (second["component"], second["message"]) == ("upkeep", "in step 100 % again")
    assert str(first["at"]).endswith("Z")
    assert said == ['owner "a" is up\nor not', "in step 100 % again"]
    assert (tmp_path / "daemon.jsonl").stat().st_mode & 0o077 == 0


def test_a_large_log_is_set_aside_and_old_ones_go(tmp_path: Path) -> None:
    log = DaemonLog(tmp_path, lambda _: None, str, max_bytes=300)
    for number in range(30):
        log.tell("daemon", "said", f"line {number}")
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["daemon.jsonl", *(f"daemon.jsonl.{number}" for number in range(1, 5))]
    assert logged(tmp_path)[-1]["message"] == "line 29"


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    log = DaemonLog(tmp_path / "missing", said.append, str)
    log.tell("daemon", "up", "still here")
    assert said == ["still here"]


def test_no_log_names_a_file_of_the_images(tmp_path: Path) -> None:
    images, said = tmp_path / "my images", list[str]()
    log = DaemonLog(tmp_path, said.append, Discretion(images))
    log.tell("worker", "said", f"job ab: failed ({images}/Jane Doe.png: cannot be read)")
    log.close()
    assert said == [f"job ab: failed ({HINT}"]
    assert "Jane" not in (tmp_path / "daemon.jsonl").read_text()


def test_an_image_folder_behind_a_link_is_not_named_either(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert "Jane" not in Discretion(tmp_path / "link")(f"{tmp_path / 'real'}/Jane.png is no image")


def test_a_reload_takes_over_what_can_change_and_says_what_cannot(federation: Federation, tmp_path: Path) -> None:
    home = open_home(make_home(federation, tmp_path))
    assert "nothing changed" in reloading.read(home).line
    write_config(home.layout.config, replace(home.config, threads=3, approve=Rule.ASK, fleet="elsewhere:1"))
    change = reloading.read(home)
    assert (change.config.threads, change.config.approve, change.config.fleet) == (3, Rule.ASK, home.config.fleet)
    assert "threads, approve changed" in change.line
    assert "fleet take effect at the next start" in change.line


@pytest.mark.parametrize("text", ["threads: 0\n", "party: [", "approve: never\n", "grace_s: -1\n"])
def test_a_bad_file_is_refused_and_the_home_stays_as_it_was(federation: Federation, tmp_path: Path, text: str) -> None:
    home = open_home(make_home(federation, tmp_path))
    kept = [line for line in home.layout.config.read_text().splitlines() if line.partition(":")[0] not in text]
    home.layout.config.write_text("\n".join([*kept, text]))
    with pytest.raises(ClientError, match="config"):
        reloading.read(home)
