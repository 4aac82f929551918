"""The gate's report: every rule is in it, also after one that fails, and the page needs nothing from outside."""

import json
import re
import stat
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from client.test_gate import FACTS, FILES, LIMITS

from severable_client.adapters.gate_files import Heading, write_report
from severable_client.adapters.gate_report import lines, read_report
from severable_client.errors import StorageError
from severable_client.gate import check_images, examine
from severable_client.inspection import Evidence, Inspected
from severable_client.ports import Job, JobReport, JobRequest, JobState
from severable_diffusion.memorization import nearest_two

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32


def heading(task: str = "batch-1/owner-a", *, manual: bool = False) -> Heading:
    request = JobRequest(task=task, nonce="5a" * 32, contract=DIGEST, recipe=DIGEST)
    report = JobReport(state=JobState.GATING)
    job = Job(id="c0ffee" + "0" * 58, request=request, seed=1, report=report, created=NOON, updated=NOON)
    return Heading(job=job, party="owner-a", recipe="tiny", manual=manual, at=NOON)


def evidence() -> Evidence:
    """Eight fresh samples and two copies of training images."""
    noise = torch.Generator().manual_seed(3)
    train_MCHW = torch.rand(20, 1, 8, 8, generator=noise) * 2 - 1
    fresh_NCHW = torch.rand(8, 1, 8, 8, generator=noise) * 2 - 1
    x_NCHW = torch.cat([fresh_NCHW, train_MCHW[:2] + 0.01])
    nearest = nearest_two(x_NCHW, train_MCHW)
    images_N2CHW = train_MCHW[nearest.index_N2]
    return Evidence(
        x_NCHW=x_NCHW, nearest_N2CHW=images_N2CHW, ratio_N=nearest.ratio_N, copied_N=nearest.copied_N
    )  # fmt: skip


def inspected(**changes: object) -> Inspected:
    facts = replace(FACTS, **changes)  # type: ignore[arg-type]  # a dict of unlike fields
    return Inspected(checks=examine(facts, LIMITS), facts=facts, evidence=evidence())


def test_every_rule_is_in_the_report_also_after_one_that_does_not_hold(tmp_path: Path) -> None:
    write_report(tmp_path, heading(), inspected(images=9, memorized_share=0.9))
    report = json.loads((tmp_path / "gate.json").read_text())
    held = {rule["rule"]: rule["holds"] for rule in report["rules"]}
    assert [rule for rule, holds in held.items() if not holds] == ["size of the data set", "memorization"]
    assert set(held) >= {"finite weights", "list of files", "config.json", "size of model.safetensors"}
    assert not report["passed"]
    page = (tmp_path / "gate.html").read_text()
    assert "This shard stays here" in page
    assert "9 images are fewer than the 10" in page
    assert "90.0% of the shard&#x27;s samples repeat training images" in page


def test_a_report_that_passed_says_what_leaves_and_what_is_next(tmp_path: Path) -> None:
    write_report(tmp_path, heading(manual=True), inspected())
    page = (tmp_path / "gate.html").read_text()
    assert "This shard may leave" in page
    assert "severable-client release c0ffee000000" in page
    assert all(str(file.digest) in page for file in FILES)
    assert json.loads((tmp_path / "gate.json").read_text())["memorization"]["copies"] == 2


class _Sources(HTMLParser):
    """Collects whatever a browser would load, run or follow."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]


def test_the_page_loads_nothing_from_anywhere_and_a_name_cannot_make_it(tmp_path: Path) -> None:
    hostile = '<script src="https://example.org/x.js"></script><img src=https://example.org/y>'
    write_report(tmp_path, heading(hostile[:100]), inspected())
    page = (tmp_path / "gate.html").read_text()
    sources = _Sources()
    sources.feed(page)
    assert len(sources.found) >= 4  # histogram, suspects, sheet
    assert all(source.startswith("data:image/png;base64,") for source in sources.found)
    assert sources.tags.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    assert not re.search(r"url\(|@import", page)


def test_the_most_suspicious_samples_come_first_and_are_marked(tmp_path: Path) -> None:
    write_report(tmp_path, heading(), inspected())
    captions = re.findall(
        r"<figcaption>sample (\d+), ratio ([0-9.]+): <b[^>]*>([^<]+)", (tmp_path / "gate.html").read_text()
    )
    assert {number for number, _, verdict in captions if verdict == "counts as a copy"} == {"9", "10"}
    assert [verdict for _, _, verdict in captions[:2]] == ["counts as a copy"] * 2
    ratios = [float(ratio) for _, ratio, _ in captions]
    assert ratios == sorted(ratios)


def test_a_job_refused_before_training_has_a_report_too(tmp_path: Path) -> None:
    write_report(tmp_path, heading(), Inspected(checks=(check_images(9, LIMITS),)))
    report = read_report(tmp_path)
    assert report is not None
    assert not report["passed"]
    assert "nothing was trained" in "\n".join(lines(report))
    assert "Nothing was trained" in (tmp_path / "gate.html").read_text()


def test_the_report_in_lines_names_every_rule_and_what_is_wrong(tmp_path: Path) -> None:
    write_report(tmp_path, heading(), inspected(finite=False))
    report = read_report(tmp_path)
    assert report is not None
    said = lines(report)
    assert "REFUSED" in said[0]
    assert sum(line.startswith(("  ok  ", "  FAIL")) for line in said) == len(report["rules"])
    assert any("NaN or infinity; lower the recipe's learning rate" in line for line in said)


def test_the_report_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    write_report(tmp_path, heading(), inspected())
    for name in ("gate.json", "gate.html"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(("text", "says"), [("{", "not JSON"), ('{"format": "x"}', "is not a severable-gate-report")])
def test_a_report_that_is_none_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "gate.json").write_text(text)
    with pytest.raises(StorageError, match=says):
        read_report(tmp_path)
