"""The report of a removal: one page that loads nothing, says what happened, and takes no name for more than text."""

import json
import os
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from coordinator.command_line import Cli
from coordinator.federation import GROUP, ManualClock, World, quiet

from severable_coordinator.adapters.print_page import BROWSERS
from severable_coordinator.adapters.removal_page import Picture, page
from severable_coordinator.stores import utc_now
from severable_trust import canonical
from severable_trust.digest import Digest

EVIL = "\"><script src='http://evil.example/x.js'></script><img src=x onerror=alert(1)>&amp;"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20
PARTIES = ("archive", "clinic")


class Reader(HTMLParser):
    """Every tag with its attributes, and all text outside the style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._style = tag == "style"

    def handle_data(self, data: str) -> None:
        self.text += "" if self._style else f"{data} "


def loads_nothing(html: str) -> Reader:
    """The page, once nothing in it can be fetched or run."""
    read = Reader(html)
    assert {tag for tag, _ in read.tags} <= {
        "html", "head", "meta", "title", "style", "body", "main", "header", "section", "h1", "h2", "h3", "p", "dl",
        "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "div", "figure", "figcaption", "img", "pre", "code",
    }  # fmt: skip
    for tag, attributes in read.tags:
        assert not any(name.startswith("on") or name in {"href", "srcset", "action"} for name in attributes), tag
        assert (attributes.get("src") or "data:").startswith("data:")
    assert "default-src 'none'" in html
    assert "url(" not in html
    assert "@import" not in html
    return read


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home", clock=ManualClock(utc_now()))
    for name in PARTIES:
        made.join(name)
        made.agree(name)
        made.ship(name)
    return made


def removed(world: World, tmp_path: Path, reason: str = "consent withdrawn") -> Digest:
    record, _ = world.coordinator.building.assemble(GROUP, quiet)
    world.coordinator.exporting.export(record, tmp_path / "copy", "museum")
    contract = world.coordinator.contracts.contracts("clinic")[0].id
    asked = world.coordinator.requests.receive("clinic", world.ask_for_erasure("clinic", contract, reason=reason))
    world.coordinator.removal.run(asked, quiet)
    return asked.request


def test_the_page_says_what_was_asked_done_left_and_how_to_verify_it(cli: Cli, world: World, tmp_path: Path) -> None:
    request = removed(world, tmp_path)
    out, home = tmp_path / "removal.html", ("--home", str(world.home))
    assert str(out) in cli("report", "clinic", "--out", str(out), "--images", "4", *home)
    read = loads_nothing(out.read_text(encoding="utf-8"))
    after = world.coordinator.building.live(GROUP)
    for words in (
        "Removal of clinic: fulfilled", "consent-withdrawn: consent withdrawn", "clause termination", str(request),
        "Out of all use within", "data key destroyed", "looked again: nothing left", str(after.id),
        "consistent with cryptographic erase", "exported copies not yet acknowledged as gone: 1", "open",
        "severable-verify receipt", "severable-verify log", "severable-verify composite", "4 samples of licensees",
    ):  # fmt: skip
        assert words in read.text, words
    assert sum(tag == "img" for tag, _ in read.tags) == 1
    assert "museum" not in read.text
    assert "exists already" in cli.refused("report", "clinic", "--out", str(out), *home)


def test_the_operators_own_page_names_recipients_and_shows_answers_that_came_after_the_receipt(
    cli: Cli, world: World, tmp_path: Path
) -> None:
    request = removed(world, tmp_path)
    home, out = ("--home", str(world.home)), tmp_path / "own.html"
    recall = str(world.coordinator.recalls.recalls()[0].id)
    cli("recall", "acknowledge", recall, "--answer", "erased", "--said-by", "Ada", *home)
    cli("report", str(request)[:20], "--out", str(out), "--images", "0", "--name-recipients", *home)
    text = loads_nothing(out.read_text(encoding="utf-8")).text
    assert "museum" in text
    assert "answered" in text


def test_the_same_removal_gives_the_same_page_but_for_the_time(world: World, tmp_path: Path) -> None:
    request = removed(world, tmp_path)
    reporting, record = world.coordinator.reporting, world.coordinator.removals.removal(request)
    assert page(reporting.facts(record), []) == page(reporting.facts(record), [])


MEASURED = {
    "group": GROUP, "measure": "FD-conv32 on banks", "before": 8.25, "after": 8.5, "change": 0.01, "low": -0.005,
    "high": 0.025, "samples": 512, "seed": 0,
}  # fmt: skip


def test_hostile_names_reasons_and_figures_become_text(world: World, tmp_path: Path) -> None:
    request = removed(world, tmp_path, reason=EVIL)
    party = world.coordinator.parties.party("clinic")
    world.coordinator.parties.put_party(replace(party, legal_name=EVIL))
    record = world.coordinator.removals.removal(request)
    facts = world.coordinator.reporting.facts(record, named=True)
    facts |= {"coordinator": EVIL, "party": EVIL, "state": EVIL}
    facts["quality"] = [dict.fromkeys(MEASURED, EVIL), {"group": EVIL, "not_measured": EVIL}]
    facts["composites"] = [dict.fromkeys(facts["composites"][0], EVIL)]
    facts["recalls"] = [dict.fromkeys(facts["recalls"][0], EVIL)]
    facts["steps"] += [{"step": EVIL, "done": EVIL, "said": EVIL}]
    for part in ("residual", "retained", "actions", "checks"):
        facts["receipt"][part] = [dict.fromkeys(facts["receipt"][part][0], EVIL)]
    facts["receipt"] |= {"receipt_id": EVIL, "issued": EVIL, "outcome": EVIL}
    facts["contract"] = dict.fromkeys(facts["contract"], EVIL)
    read = loads_nothing(page(facts, [Picture(PNG, EVIL)]))
    assert "evil.example" in read.text


def test_a_removal_that_is_not_finished_has_a_page_that_says_so(cli: Cli, world: World, tmp_path: Path) -> None:
    contract = world.coordinator.contracts.contracts("clinic")[0].id
    world.coordinator.requests.receive("clinic", world.ask_for_erasure("clinic", contract))
    out = tmp_path / "open.html"
    cli("report", "clinic", "--out", str(out), "--home", str(world.home))
    text = loads_nothing(out.read_text(encoding="utf-8")).text
    assert "not finished yet" in text
    assert "severable-verify" not in text


def test_quality_that_a_removal_recorded_is_shown(world: World, tmp_path: Path) -> None:
    contract = world.coordinator.contracts.contracts("clinic")[0].id
    asked = world.coordinator.requests.receive("clinic", world.ask_for_erasure("clinic", contract))
    measured = {
        "done": "2026-03-01T12:00:00Z",
        "composites": [MEASURED, {"group": "press", "not_measured": "one is left"}],
    }
    world.coordinator.removals.finish_step(asked.request, "quality", canonical.encode(measured))
    text = loads_nothing(page(world.coordinator.reporting.facts(asked), [])).text
    shown = " ".join(text.split())
    assert f"{GROUP} 8.25 8.5 +1.00% (-0.50% to +2.50%) FD-conv32 on banks, 512 samples, seed 0" in shown
    assert "press not measured: one is left" in shown


def test_a_picture_from_before_is_shown_only_where_the_operator_gives_one(
    cli: Cli, world: World, tmp_path: Path
) -> None:
    home = ("--home", str(world.home))
    world.coordinator.building.assemble(GROUP, quiet)
    cli("sample", "--group", GROUP, "--images", "2", "--out", str(tmp_path / "before"), *home)
    removed(world, tmp_path)
    out = tmp_path / "r.html"
    cli("report", "clinic", "--out", str(out), "--images", "0", "--before", str(tmp_path / "before/grid.png"), *home)
    assert "may show images that the removed shard made" in loads_nothing(out.read_text(encoding="utf-8")).text
    (tmp_path / "fake.png").write_text("<svg onload=alert(1)>")
    again = ("report", "clinic", "--out", str(tmp_path / "r2.html"), *home)
    assert "is no PNG" in cli.refused(*again, "--before", str(tmp_path / "fake.png"))
    assert not (tmp_path / "r2.html").exists()


def test_without_a_browser_a_pdf_is_one_clear_line_and_nothing_is_written(
    cli: Cli, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed(world, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    out, pdf = tmp_path / "r.html", tmp_path / "r.pdf"
    said = cli.refused("report", "clinic", "--out", str(out), "--pdf", str(pdf), "--home", str(world.home))
    assert "chromium or google-chrome" in said
    assert not out.exists()
    assert not pdf.exists()


@pytest.mark.parametrize("script", ['echo "%PDF-1.4" > "$out"', "exit 3", "true"])
def test_a_browser_prints_the_page_whole_or_not_at_all(
    cli: Cli, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    made = script.startswith("echo")
    removed(world, tmp_path)
    browser = tmp_path / "bin" / BROWSERS[0]
    browser.parent.mkdir()
    find = 'for word in "$@"; do case "$word" in --print-to-pdf=*) out="${word#--print-to-pdf=}";; esac; done'
    browser.write_text(f"#!/bin/sh\n{find}\n{script}\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{browser.parent}{os.pathsep}{os.environ['PATH']}")
    pdf = tmp_path / "r.pdf"
    words = ("report", "clinic", "--images", "0", "--out", str(tmp_path / "r.html"), "--pdf", str(pdf))
    if made:
        assert str(pdf) in cli(*words, "--home", str(world.home))
    else:
        assert "print it by hand" in cli.refused(*words, "--home", str(world.home))
    assert pdf.exists() is made


@pytest.mark.integration
def test_a_real_browser_prints_the_page(cli: Cli, world: World, tmp_path: Path) -> None:
    if not any(shutil.which(name) for name in BROWSERS):
        pytest.skip(f"needs one of {', '.join(BROWSERS)}")  # also in CI: not every Debian has one
    removed(world, tmp_path)
    pdf = tmp_path / "r.pdf"
    cli(
        "report",
        "clinic",
        "--images",
        "0",
        "--out",
        str(tmp_path / "r.html"),
        "--pdf",
        str(pdf),
        "--home",
        str(world.home),
    )
    printed = pdf.read_bytes()
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") >= 2  # all of it, not a first screen


def test_a_removal_is_found_by_party_or_by_the_beginning_of_its_request(cli: Cli, world: World, tmp_path: Path) -> None:
    request = removed(world, tmp_path)
    reporting = world.coordinator.reporting
    assert reporting.find("clinic").request == reporting.find(request.hex[:12]).request == request
    for unknown in ("archive", "", "sha256:"):
        assert "remove --list" in cli.refused(
            "report", unknown, "--out", str(tmp_path / "x.html"), "--home", str(world.home)
        )
    assert json.dumps(reporting.facts(reporting.find("clinic")))  # plain values, for programs too
