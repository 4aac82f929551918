"""Images in WebDataset tar archives: members that share a key are one sample, read from front to back.

A sample is `KEY.png` (or .jpg, .jpeg, .webp) with `KEY.cls` (the label), `KEY.txt` (the caption) or `KEY.json` (label,
caption, record_id) beside it; other members are passed over. The key is the member's path up to the first dot of its
name. An archive is somebody else's file: it is never unpacked, and what does not fit is refused by name.
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self

from severable_client.adapters.image_folder import MAX_FILE_BYTES, SUFFIXES
from severable_client.adapters.metadata import text_of
from severable_client.adapters.scratch import Scratch
from severable_client.catalogue import EVERYTHING, MAX_RECORD, Choice, ImageRecord, Picture, Trouble
from severable_client.errors import DataFolderError

MAX_WORDS_BYTES = 1 << 16  # of a .cls, .txt or .json, and of a header's extension
_WORDS = (".cls", ".json", ".txt")
_BLOCK = tarfile.BLOCKSIZE
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _BrokenArchiveError(Exception):
    """Nothing after this place of an archive can be trusted."""


class _Header(tarfile.TarInfo):
    """A header that is looked at before its extension is read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _EXTENSIONS and info.size > MAX_WORDS_BYTES):
            raise _BrokenArchiveError("has a header that no archiver writes")
        return info


# Headers with numbers that make no sense, or that follow each other without end, also end in these two.
_UNREADABLE = (tarfile.TarError, _BrokenArchiveError, ValueError, RecursionError, OverflowError)


@dataclass(slots=True)
class _Sample:
    key: str
    parts: dict[str, bytes] = field(default_factory=dict)
    fault: str = ""


class TarShards:
    """An `ImageSource` over tar archives; one sample is held in memory.

    Args:
        archives: the archives, in the order of reading.
        label: the class of samples that name none.
        choice: which of their records are read.
    """

    def __init__(self, archives: tuple[Path, ...], label: str, choice: Choice = EVERYTHING) -> None:
        self._archives = archives
        self._label = label
        self._choice = choice

    def count(self) -> int:
        """Return how many members are images by their names; only headers are read."""
        total = 0
        for archive in self._archives:
            try:
                with archive.open("rb") as stream:
                    total += sum(_split(member.name)[1] in SUFFIXES for member in _members(stream) if member.isreg())
            except (OSError, *_UNREADABLE):
                continue  # scanning says what is wrong
        return total

    def scan(self) -> Iterator[Picture | Trouble]:
        """Yield every image in the archives' order, and every trouble where it is met."""
        with Scratch() as scratch:
            for archive in self._archives:
                try:
                    with archive.open("rb") as stream:
                        yield from self._samples(archive, stream, scratch)
                except OSError as error:
                    yield Trouble(str(archive), f"cannot be read ({error.strerror or error}); check the file")
                except _UNREADABLE as error:
                    yield Trouble(str(archive), f"is no whole tar archive ({error}); make it again, uncompressed")

    def _samples(self, archive: Path, stream: BinaryIO, scratch: Scratch) -> Iterator[Picture | Trouble]:
        sample: _Sample | None = None
        for member in _members(stream):
            if member.isdir():
                continue
            if fault := _refused(member):
                yield Trouble(_place(archive, member.name), fault)
                continue
            key, ending = _split(member.name)
            if sample is None or key != sample.key:
                if sample is not None:
                    yield from self._finish(archive, sample)
                fault = "comes a second time; give every sample a key of its own" if scratch.seen_before(key) else ""
                sample = _Sample(key, fault=fault)
            _take(sample, ending, member, stream)
        if sample is not None:
            yield from self._finish(archive, sample)

    def _finish(self, archive: Path, sample: _Sample) -> Iterator[Picture | Trouble]:
        place = _place(archive, sample.key)
        images = [content for ending, content in sample.parts.items() if ending in SUFFIXES]
        fault = sample.fault or ("" if len(images) == 1 else f"holds {len(images)} images; a sample is one image")
        if fault:
            yield Trouble(place, fault)
            return
        try:
            label, caption, record = _words(sample.parts)
            found = ImageRecord(
                record=record or sample.key, label=label or self._label, caption=" ".join(caption.split()), place=place
            )
        except DataFolderError as error:
            yield Trouble(place, str(error))
            return
        if self._choice.takes(found):
            yield Picture(found, images[0])


def _members(stream: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield headers, keeping none; the stream may be moved in between.

    Raises:
        TarError, _BrokenArchiveError: not a tar archive, or one that does not end as archives do.
    """
    with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header) as archive:
        end = 0
        while (member := archive.next()) is not None:
            if archive.offset <= end or member.size < 0:
                raise _BrokenArchiveError("a member has no size")  # the next header would come before this one
            end = archive.offset
            yield member
            archive.members.clear()  # type: ignore[attr-defined]  # or it would keep every header; typeshed leaves it out
        # tarfile takes a damaged header for the end; an archive really ends in a block of zeros.
        stream.seek(end)
        if stream.read(_BLOCK) != bytes(_BLOCK):
            raise _BrokenArchiveError("it breaks off")


def _refused(member: tarfile.TarInfo) -> str:
    """Return why a member is not read, or nothing."""
    path = PurePosixPath(member.name)
    if not member.name.isprintable() or path.is_absolute() or ".." in path.parts or len(member.name) > MAX_RECORD:
        return "has a name that leaves the archive or cannot be shown; name it plainly"
    if member.issparse() or not member.isreg():
        return "is a link or no plain file; archive the file itself"
    limit = MAX_FILE_BYTES if _split(member.name)[1] in SUFFIXES else MAX_WORDS_BYTES
    if _split(member.name)[1] in (*SUFFIXES, *_WORDS) and member.size > limit:
        return f"has {member.size} bytes, more than {limit}; make it smaller or leave it out"
    return ""


def _split(name: str) -> tuple[str, str]:
    """Return a member's key and its ending, from the first dot of its last part on, in lower case."""
    folder, _, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return f"{folder}/{stem}" if folder else stem, f".{ending.lower()}"


def _take(sample: _Sample, ending: str, member: tarfile.TarInfo, stream: BinaryIO) -> None:
    if ending not in (*SUFFIXES, *_WORDS):
        return
    if ending in sample.parts:
        sample.fault = sample.fault or f"has two members {ending}; keep one"
        return
    stream.seek(member.offset_data)
    content = stream.read(member.size)
    if len(content) != member.size:
        raise _BrokenArchiveError("it breaks off")
    sample.parts[ending] = content


def _words(parts: dict[str, bytes]) -> tuple[str, str, str]:
    """Return label, caption and record id of a sample; .cls and .txt go before .json.

    Raises:
        DataFolderError: one of them is no text, or the JSON no object.
    """
    try:
        label, caption = (parts.get(ending, b"").decode().strip() for ending in (".cls", ".txt"))
        said = json.loads(parts.get(".json", b"{}"))
    except (ValueError, RecursionError) as error:
        raise DataFolderError("has a .cls, .txt or .json that is not UTF-8 text or no JSON; write it again") from error
    if not isinstance(said, dict):
        raise DataFolderError("has a .json that is no object; write label, caption and record_id into one")
    texts = {
        name: text_of(said[name]) for name in ("label", "caption", "text", "record_id") if said.get(name) is not None
    }
    for name, text in texts.items():
        if text is None:
            raise DataFolderError(f"has a {name} in its .json that is no text; write it as text")
    found = {name: text or "" for name, text in texts.items()}
    return (
        label or found.get("label", ""),
        caption or found.get("caption", "") or found.get("text", ""),
        found.get("record_id", ""),
    )


def _place(archive: Path, name: str) -> str:
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name[:255])
    return f"{archive}: {shown}"
