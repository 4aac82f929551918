"""`data check`: what an owner sees of a set before training on it, and the exit code when something must be mended."""

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from client.image_sets import Sample, as_archives, bomb, png
from client.samples import Federation, make_home
from client.terminal import Terminal
from PIL import Image, ImageEnhance

from severable_client.adapters.cli.progress import Progress
from severable_client.adapters.contact_sheet import CELL, CLASSES, PER_CLASS, ContactSheet
from severable_client.bootstrap import open_home
from severable_client.jobs import time_left

ROW = CELL + 4


class DataCheck(Terminal):
    """Runs `data check` in this process."""

    def __call__(self, *arguments: object) -> int:
        return super().__call__("data", "check", *arguments)

    def json(self, *arguments: object) -> tuple[int, Any]:
        code = self(*arguments, "--format", "json")
        return code, json.loads(self.out)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> DataCheck:
    monkeypatch.setenv("SEVERABLE_HOME", str(tmp_path / "no home"))
    return DataCheck(monkeypatch, capsys)


def drawn(number: int) -> Image.Image:
    """A picture with large shapes, as different from the next number as photographs are."""
    return Image.open(io.BytesIO(png(number, size=9, mode="RGB"))).resize((60, 40), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes: nine images, one exact copy, one near one."""
    root = tmp_path / "set"
    for number in range(8):
        path = root / ("cats" if number < 5 else "dogs") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(number).save(path)
    (root / "dogs" / "copy.png").write_bytes((root / "cats" / "0.png").read_bytes())
    ImageEnhance.Brightness(drawn(1)).enhance(1.03).save(root / "dogs" / "near.jpg", quality=90)
    drawn(20).convert("L").save(root / "dogs" / "grey.png")
    return root


def test_counts_sizes_modes_and_duplicates_are_told_and_the_exit_code_is_0(run: DataCheck, folder: Path) -> None:
    code, report = run.json(folder)
    assert code == 0
    assert (report["ok"], report["images"], report["to_mend"]) == (True, 11, [])
    assert report["classes"] == {"cats": 5, "dogs": 6}
    assert report["sizes"] == [{"width": 60, "height": 40, "images": 11}]
    assert report["modes"] == {"RGB": 10, "L": 1}
    assert report["exact_duplicates"] == [[str(folder / "cats/0.png"), str(folder / "dogs/copy.png")]]
    assert report["exact_duplicates_total"] == 1
    (near,) = report["near_duplicates"]
    assert near["images"] == [str(folder / "cats/1.png"), str(folder / "dogs/near.jpg")]
    assert report["digest"] is None  # no home, no salt


def test_a_home_gives_the_digest_and_its_own_folder(run: DataCheck, federation: Federation, tmp_path: Path) -> None:
    home = make_home(federation, tmp_path)
    code, report = run.json("--home", home)
    assert code == 0
    assert report["folder"] == open_home(home).config.data
    assert report["digest"]["images"] == 16
    assert run("--home", home) == 0
    assert f"digest: 16 images, root {report['digest']['root']}" in run.out


def test_what_must_be_mended_is_named_and_the_exit_code_is_1(run: DataCheck, folder: Path) -> None:
    (folder / "cats" / "broken.png").write_bytes(png()[:60])
    (folder / "cats" / "bomb.png").write_bytes(bomb(30_000, 30_000))
    (folder / "cats" / "large.png").write_bytes(bomb(9_000, 9_000))
    (folder / "cats" / "link.png").symlink_to(folder / "cats" / "0.png")
    code, report = run.json(folder)
    assert code == 1
    assert (report["ok"], report["images"], report["to_mend_total"]) == (False, 11, 4)
    said = {Path(entry["place"]).name: entry["line"] for entry in report["to_mend"]}
    assert "cannot be read as PNG" in said["broken.png"]
    assert "more than 64 million pixels" in said["bomb.png"]
    assert "more than 64 million pixels" in said["large.png"]
    assert "is a link" in said["link.png"]
    assert run(folder) == 1
    assert "to mend: 4" in run.out
    assert run.err == ""


def test_tar_archives_are_checked_as_well(run: DataCheck, tmp_path: Path) -> None:
    samples = [Sample("a", png(1), "cat"), Sample("b", png(2), "dog"), Sample("c", b"no image", "cat")]
    code, report = run.json(as_archives(tmp_path / "archives", samples))
    assert code == 1
    assert report["classes"] == {"cat": 1, "dog": 1}
    assert "shard-0002.tar: c" in report["to_mend"][0]["place"]


def test_an_empty_or_missing_folder_is_one_line(run: DataCheck, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty") == 1
    assert "to mend: there are no images" in run.out
    assert run(tmp_path / "none") == 1
    assert run.err.count("\n") == 1
    assert "does not exist" in run.err
    assert run() == 1  # neither a folder nor a home
    assert "is not a home yet" in run.err


def test_the_sheet_has_a_row_for_each_class_and_only_its_owner_can_read_it(run: DataCheck, folder: Path) -> None:
    sheet = folder.parent / "sheet.png"
    assert run(folder, "--sheet", sheet) == 0
    assert f"contact sheet: {sheet}" in run.out
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o600
    with Image.open(sheet) as picture:
        assert (picture.mode, picture.height) == ("RGB", 2 * ROW + 4)


def test_a_sheet_shows_a_few_of_many_images_and_classes() -> None:
    sheet, made = ContactSheet(), 0

    def cell() -> Image.Image:
        nonlocal made
        made += 1
        return Image.new("RGB", (CELL, CELL))

    for number in range(2000):
        sheet.take(f"class {number % 50}", cell)
    assert made < CLASSES * 2000 // 50  # most are passed over without being made small
    assert made >= CLASSES * PER_CLASS


def test_a_sheet_that_cannot_be_written_is_one_line(run: DataCheck, folder: Path) -> None:
    assert run(folder, "--sheet", folder / "none" / "sheet.png") == 1
    assert "cannot be written" in run.err


def test_time_left_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert [time_left(seconds) for seconds in (4.4, 600, 7200)] == [
        "about 4 s left",
        "about 10 min left",
        "about 2.0 h left",
    ]
    moments = iter([0.0, 1.0, 10.0, 11.0])
    progress = Progress("looked at", lambda: next(moments))
    progress(1, 100)  # too early to say anything
    progress(10, 100)
    progress(11, 100)  # said just now
    progress.end()
    assert capsys.readouterr().err == "looked at 10 of 100, about 2 min left\n"
