"""Tar archives in WebDataset's form, honest and hostile: what does not fit is one line, and the rest is read."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from client.image_sets import archive, png

from severable_client.adapters.data_folder import open_source
from severable_client.adapters.tar_shards import MAX_WORDS_BYTES
from severable_client.catalogue import Picture, Trouble

GOOD = ("good.png", png(9))


def scanned(tmp_path: Path, *archives: bytes) -> tuple[list[Picture], list[str]]:
    folder = tmp_path / "set"
    folder.mkdir()
    for number, data in enumerate(archives):
        (folder / f"{number}.tar").write_bytes(data)
    found = list(open_source(folder).scan())
    open_source(folder).count()  # never fails
    return [entry for entry in found if isinstance(entry, Picture)], [
        str(entry) for entry in found if isinstance(entry, Trouble)
    ]


def special(kind: bytes, name: str = "a.png", **fields: object) -> bytes:
    """An archive with one member of another kind, then a good one."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as writer:
        info = tarfile.TarInfo(name)
        info.type = kind
        for field, value in fields.items():
            setattr(info, field, value)
        writer.addfile(info)
        good = tarfile.TarInfo(GOOD[0])
        good.size = len(GOOD[1])
        writer.addfile(good, io.BytesIO(GOOD[1]))
    return out.getvalue()


def test_a_sample_is_the_members_that_share_a_key(tmp_path: Path) -> None:
    members = [("d/x.1.PNG", b""), ("d/y.jpg", png()), ("d/y.cls", b"7\n"), ("d/y.url", b"http"), ("d/z.webp", png(1))]
    said = ("d/z.json", b'{"label": "cat", "caption": "a  cat", "record_id": 12}')
    pictures, faults = scanned(tmp_path, archive([*members, said]))
    assert [(p.record.record, p.record.label, p.record.caption) for p in pictures] == [
        ("d/y", "7", ""),
        ("12", "cat", "a cat"),
    ]
    assert len(faults) == 1  # x holds a member .1.png, which is no image
    assert "d/x holds 0 images" in faults[0]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([("/etc/a.png", png())], "leaves the archive"),
        ([("../a.png", png())], "leaves the archive"),
        ([("d/../../a.png", png())], "leaves the archive"),
        ([("a\x1b[2J.png", png())], "leaves the archive or cannot be shown"),
        ([("a.png", png()), ("a.png", png())], "has two members .png"),
        ([("a.png", png()), ("a.jpg", png())], "holds 2 images"),
        ([("a.txt", b"words alone")], "holds 0 images"),
        ([("a.png", png()), ("b.png", png(1)), ("a.png", png(2))], "a comes a second time"),
        ([("a.png", png()), ("a.json", b"{")], "no JSON"),
        ([("a.png", png()), ("a.json", b"[]")], "is no object"),
        ([("a.png", png()), ("a.json", b'{"label": 0.5}')], "label in its .json that is no text"),
        ([("a.png", png()), ("a.cls", b"\xff")], "not UTF-8"),
        ([("a.png", png()), ("a.txt", b"x" * (MAX_WORDS_BYTES + 1))], "more than 65536"),
    ],
)
def test_a_hostile_member_is_one_line_and_the_good_one_is_read(
    tmp_path: Path, members: list[tuple[str, bytes]], says: str
) -> None:
    pictures, faults = scanned(tmp_path, archive([*members, GOOD]))
    assert any(says in line for line in faults), faults
    assert all("\n" not in line and "\x1b" not in line for line in faults)
    assert pictures[-1].content == GOOD[1]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (tarfile.SYMTYPE, {"linkname": "/etc/passwd"}),
        (tarfile.LNKTYPE, {"linkname": "good.png"}),
        (tarfile.FIFOTYPE, {}),
        (tarfile.CHRTYPE, {"devmajor": 1, "devminor": 5}),
    ],
)
def test_a_link_or_device_is_refused_and_the_good_one_is_read(
    tmp_path: Path, kind: bytes, fields: dict[str, Any]
) -> None:
    pictures, faults = scanned(tmp_path, special(kind, **fields))
    assert len(faults) == 1
    assert "is a link or no plain file" in faults[0]
    assert [picture.content for picture in pictures] == [GOOD[1]]


def test_a_key_that_another_archive_has_is_refused(tmp_path: Path) -> None:
    pictures, faults = scanned(tmp_path, archive([GOOD]), archive([GOOD]))
    assert len(pictures) == 1
    assert "good comes a second time" in faults[0]


WHOLE = archive([("a.png", png(1)), ("b.png", png(2))])


@pytest.mark.parametrize("length", [0, 100, 600, 1000, 1024, len(WHOLE) - 10240, 1600])
def test_a_truncated_archive_is_named(tmp_path: Path, length: int) -> None:
    _, faults = scanned(tmp_path, WHOLE[:length])
    assert len(faults) == 1
    assert "is no whole tar archive" in faults[0]


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    second = 512 + 512  # after the first header and its small image
    assert WHOLE[second : second + 5] == b"b.png"
    pictures, faults = scanned(tmp_path, WHOLE[:second] + b"X" + WHOLE[second + 1 :])
    assert len(pictures) <= 1
    assert "it breaks off" in faults[0]


@pytest.mark.parametrize("data", [b"no archive at all" * 100, b"\x1f\x8b" + b"x" * 2000])
def test_what_is_no_tar_archive_is_named(tmp_path: Path, data: bytes) -> None:
    _, faults = scanned(tmp_path, data)
    assert "is no whole tar archive" in faults[0]


def test_an_extended_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
    _, faults = scanned(tmp_path, header.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    assert "has a header that no archiver writes" in faults[0]


def test_a_size_below_zero_does_not_send_the_reader_round_in_circles(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as writer:
        info = tarfile.TarInfo("a.png")
        info.pax_headers = {"size": "-1536"}
        writer.addfile(info)
    _, faults = scanned(tmp_path, out.getvalue())
    assert "is no whole tar archive" in faults[0]


def test_a_giant_image_is_refused_unread(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a.png")
    header.size = 1 << 40
    _, faults = scanned(tmp_path, header.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    assert "has 1099511627776 bytes, more than" in faults[0]
