"""The contract of an image source, which the reader of folders and the one of tar archives both keep."""

from collections.abc import Callable
from pathlib import Path

import pytest
from client.image_sets import Sample, as_archives, as_folder, png

from severable_client.adapters.data_folder import open_source
from severable_client.catalogue import ImageSource, Picture, Trouble, catalogue_of

SAMPLES = [
    Sample("a", png(1), "cat", "a cat  on a mat", "case-1"),
    Sample("b", png(2), "dog", "", "case-2"),
    Sample("c", png(3), "cat", "another", "case-1"),
]
Write = Callable[[Path, list[Sample]], Path]


@pytest.fixture(params=[as_folder, as_archives], ids=["folder", "archives"])
def write(request: pytest.FixtureRequest) -> Write:
    made: Write = request.param
    return made


def source(write: Write, root: Path, samples: list[Sample]) -> ImageSource:
    return open_source(write(root / "set", samples))


def pictures(found: ImageSource) -> list[Picture]:
    return [picture for picture in found.scan() if isinstance(picture, Picture)]


def troubles(found: ImageSource) -> list[Trouble]:
    return [trouble for trouble in found.scan() if isinstance(trouble, Trouble)]


def test_every_image_comes_with_its_bytes_and_what_is_said_about_it(write: Write, tmp_path: Path) -> None:
    found = source(write, tmp_path, SAMPLES)
    assert troubles(found) == []
    records = [(p.record.record, p.record.label, p.record.caption, p.content) for p in pictures(found)]
    assert records == [
        ("case-1", "cat", "a cat on a mat", png(1)),
        ("case-2", "dog", "", png(2)),
        ("case-1", "cat", "another", png(3)),
    ]
    assert all(str(tmp_path) in picture.record.place for picture in pictures(found))


def test_the_order_is_the_same_at_every_pass_and_the_count_is_right(write: Write, tmp_path: Path) -> None:
    found = source(write, tmp_path, SAMPLES)
    assert pictures(found) == pictures(found)
    assert found.count() == 3


def test_an_image_without_a_label_has_the_sets_name(write: Write, tmp_path: Path) -> None:
    (picture,) = pictures(source(write, tmp_path, [Sample("a", png())]))
    assert picture.record.label == "set"


def test_an_image_whose_label_cannot_be_shown_is_a_trouble_and_the_others_come(write: Write, tmp_path: Path) -> None:
    found = source(write, tmp_path, [Sample("a", png(), "x" * 81), Sample("b", png(), "cat")])
    assert [picture.record.label for picture in pictures(found)] == ["cat"]
    (trouble,) = troubles(found)
    assert "label" in trouble.line
    assert "\n" not in str(trouble)


def test_both_ways_of_laying_out_a_set_have_one_digest(tmp_path: Path) -> None:
    made = [
        catalogue_of(pictures(source(write, tmp_path / name, SAMPLES)), b"s" * 32)
        for name, write in (("folder", as_folder), ("archives", as_archives))
    ]
    assert made[0] == made[1]
