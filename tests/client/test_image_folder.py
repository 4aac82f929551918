"""Folders of images: classes, metadata, and one clear line for whatever is no image."""

import json
import os
from pathlib import Path

import pytest
from client.image_sets import png

from severable_client.adapters.data_folder import count_images, open_source
from severable_client.adapters.image_folder import MAX_FILE_BYTES, ImageFolder
from severable_client.catalogue import Picture, Trouble
from severable_client.errors import DataFolderError


def write(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(seed))
    return path


def labels(folder: Path) -> dict[str, str]:
    return {
        Path(found.record.place).relative_to(folder).as_posix(): found.record.label
        for found in ImageFolder(folder).scan()
        if isinstance(found, Picture)
    }


def faults(folder: Path) -> list[str]:
    return [str(found) for found in ImageFolder(folder).scan() if isinstance(found, Trouble)]


def two_classes(root: Path) -> Path:
    write(root / "one" / "a.png", 1)
    write(root / "two" / "b.png", 2)
    return root


def test_subfolders_are_classes_in_the_order_of_names(tmp_path: Path) -> None:
    two_classes(tmp_path)
    write(tmp_path / "one" / "A.JPG")
    assert list(labels(tmp_path).items()) == [("one/A.JPG", "one"), ("one/a.png", "one"), ("two/b.png", "two")]
    assert faults(tmp_path) == []


def test_a_row_names_label_and_record_and_the_folder_names_the_rest(tmp_path: Path) -> None:
    two_classes(tmp_path)
    rows = 'file_name,label,text,record_id\none/a.png,cat,"a cat, sitting",case-1\ntwo/b.png,,,\n'
    (tmp_path / "metadata.csv").write_text(rows)
    first, second = (found.record for found in ImageFolder(tmp_path).scan() if isinstance(found, Picture))
    assert (first.label, first.caption, first.record) == ("cat", "a cat, sitting", "case-1")
    assert (second.label, second.caption, second.record) == ("two", "", "two/b.png")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("one/a.png\n", "line 1: has no column file_name"),
        ("file_name,label\none/a.png\ntwo/b.png,x\n", "line 2: has 1 cells, the first line has 2"),
        ("file_name\none/a.png\none/a.png\ntwo/b.png\n", "line 3: names 'one/a.png' again"),
        ("file_name\n../c.png\none/a.png\ntwo/b.png\n", "line 2: names '../c.png', which leaves the folder"),
        ("file_name\n/c.png\none/a.png\ntwo/b.png\n", "line 2: names '/c.png', which leaves the folder"),
        ("file_name\none/a.png\ntwo/b.png\nthree/c.png\n", "line 4: names 'three/c.png', which is not there"),
        ("file_name\none/a.png\n", "two/b.png has no row in the metadata"),
        ('file_name\none/a.png\n"two/b.png', "line 3: is no CSV"),
        ("file_name,label\none/a.png,x\n,y\ntwo/b.png,z\n", "line 3: names no file"),
        ("file_name\none/a.png\ntwo/b.png\n\x1b[2J\n", "line 4: holds characters that cannot be shown"),
    ],
)
def test_a_bad_row_is_one_line_with_file_and_line_number(tmp_path: Path, rows: str, says: str) -> None:
    two_classes(tmp_path)
    (tmp_path / "metadata.csv").write_text(rows)
    found = faults(tmp_path)
    assert any(says in line for line in found), found
    assert all("\n" not in line for line in found)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "line 2: is no JSON"),
        ("[1]", "line 2: is no JSON object"),
        ('{"file_name": "two/b.png", "label": [1]}', "line 2: has a label that is no text"),
        ('{"file_name": "two/\\ud800.png"}', "line 2: holds characters"),
        ('{"label": "x"}', "line 2: names no file"),
        ("[" * 5000, "line 2: is no JSON"),
    ],
)
def test_a_bad_line_of_json_is_one_line_with_file_and_line_number(tmp_path: Path, row: str, says: str) -> None:
    two_classes(tmp_path)
    lines = [json.dumps({"file_name": "one/a.png", "label": 3}), row, json.dumps({"file_name": "two/b.png"})]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    assert any(says in line for line in faults(tmp_path))
    assert labels(tmp_path)["one/a.png"] == "3"


def test_metadata_that_is_no_utf_8_or_comes_twice_is_named(tmp_path: Path) -> None:
    two_classes(tmp_path)
    (tmp_path / "metadata.csv").write_bytes(b"file_name\n\xff\xfe\n")
    (tmp_path / "metadata.jsonl").write_text("")
    found = faults(tmp_path)
    assert any("keep one of the two" in line for line in found)
    assert any("is not UTF-8" in line for line in found)


def test_whatever_is_no_image_is_named_and_the_images_come(tmp_path: Path) -> None:
    data = two_classes(tmp_path / "data")
    (data / "one" / "notes.txt").write_text("x")
    (data / "one" / "deeper").mkdir()
    (data / "one" / "metadata.csv").write_text("file_name\n")
    (data / "stray.png").write_bytes(png())
    (data / "three").mkdir()
    (data / "four").symlink_to(tmp_path)
    (data / "two" / "out.png").symlink_to(write(tmp_path / "elsewhere" / "c.png"))
    os.mkfifo(data / "two" / "pipe.png")
    with (data / "two" / "giant.png").open("wb") as giant:
        giant.truncate(MAX_FILE_BYTES + 1)
    (data / "one" / ".DS_Store").write_bytes(b"hidden entries are passed over")
    found = {line.removeprefix(f"{data}/").split(" ")[0]: line for line in faults(data)}
    assert {name: says for name, says in EXPECTED.items() if says not in found.get(name, "")} == {}
    assert set(found) == set(EXPECTED)
    assert set(labels(data)) == {"one/a.png", "two/b.png"}


EXPECTED = {
    "one/notes.txt": "is no image by its name",
    "one/deeper": "is not a file",
    "one/metadata.csv": "put it beside the class folders",
    "stray.png": "lies beside class folders",
    "three": "is an empty class",
    "four": "is a link",
    "two/out.png": "is a link",
    "two/pipe.png": "is not a file",
    "two/giant.png": "64 MiB, more than 64",
}


def test_a_folder_that_cannot_be_used_is_refused_before_reading(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    mixed = write(tmp_path / "mixed" / "a.png").parent
    (mixed / "b.tar").write_bytes(b"")
    cases = (("none", "does not exist"), ("empty", "holds no images"), ("link", "is not a folder"), ("mixed", "beside"))
    for name, says in cases:
        with pytest.raises(DataFolderError, match=says):
            count_images(tmp_path / name)


def test_counting_opens_no_image(tmp_path: Path) -> None:
    two_classes(tmp_path)
    (tmp_path / "one" / "broken.webp").write_bytes(b"no image")
    (tmp_path / "one" / "notes.txt").write_text("x")
    assert open_source(tmp_path).count() == 3
