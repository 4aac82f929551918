"""What an owner's images are, and the digest of them that a claim carries. Pure: nothing here opens a file.

The digest says how many images there are, how many of each class, and a Merkle root (RFC 6962 section 2.1) over one
leaf an image: HMAC-SHA256 under the home's secret salt of the image file's SHA-256 and its label. The leaves are
sorted, so neither file names nor their order enter; without the salt nobody can ask the root about an image of theirs.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from severable_client.errors import DataFolderError
from severable_trust.digest import Digest
from severable_trust.merkle import HASH_BYTES, root_of
from severable_trust.shard import ClassCount, DataDigest

SALT_BYTES = 32
MAX_LABEL, MAX_RECORD, MAX_CAPTION = 80, 255, 2000  # characters
_SUB_SHARD = b"severable sub-shard"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One image as its reader found it.

    Attributes:
        record: id of what it belongs to and is erased with, 1 to 255 characters; several images may share one.
        label: its class, 1 to 80 characters.
        caption: what it shows, in words; may be empty.
        place: where its bytes are, for people: a file, or an archive and its member.

    Raises:
        DataFolderError: a text is empty, too long, or holds characters that cannot be shown.
    """

    record: str
    label: str
    caption: str = ""
    place: str

    def __post_init__(self) -> None:
        for what, text, least, most in (
            ("record id", self.record, 1, MAX_RECORD),
            ("label", self.label, 1, MAX_LABEL),
            ("caption", self.caption, 0, MAX_CAPTION),
        ):
            if not (least <= len(text) <= most and text.isprintable() and text == text.strip()):
                raise DataFolderError(
                    f"has {what} {text[:80]!r}; write {least} to {most} printable characters without outer spaces"
                )


@dataclass(frozen=True, slots=True)
class Picture:
    """An image and its file's bytes, not decoded yet."""

    record: ImageRecord
    content: bytes


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is no usable image: where it is, and one line with what to do."""

    place: str
    line: str

    def __str__(self) -> str:
        """One line that a terminal can show: names of files and members are anybody's."""
        return "".join(
            character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
            for character in f"{self.place} {self.line}"
        )


class Choice:
    """Which records a reader takes: all of them, unless a subclass says otherwise."""

    def takes(self, _record: ImageRecord) -> bool:
        """Return whether this image is read; it is asked before a file is opened."""
        return True

    def erased(self, _record: str) -> bool:
        """Return whether its owner erased a record, of whose image or row nothing is wanted then."""
        return False


EVERYTHING = Choice()


class ImageSource(Protocol):
    """An owner's images, always in one order while the files stay as they are. It never holds more than one of them."""

    def count(self) -> int:
        """Return how many there are by their names alone; none is opened.

        Raises:
            DataFolderError: a folder cannot be read.
        """
        ...

    def scan(self) -> Iterator[Picture | Trouble]:
        """Yield every image, not decoded, and a line for everything that is no usable one, where it is met."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """A whole set of images.

    Attributes:
        images: how many.
        classes: name and number of images of each class, sorted by name.
        root: the salted Merkle root.
        sequence: SHA-256 over the images in the order of reading, with their labels; it stays on this machine.
    """

    images: int
    classes: tuple[tuple[str, int], ...]
    root: Digest
    sequence: Digest

    def claimed(self, labels: tuple[str, ...]) -> DataDigest:
        """Return what a claim may say: classes only by the names that the recipe itself has.

        Args:
            labels: the recipe's label names, none for a recipe without conditions: an owner's own folder names stay.
        """
        classes = tuple(ClassCount(name, images) for name, images in self.classes if name in labels)
        return DataDigest(images=self.images, classes=classes, root=self.root)


class Cataloguer:
    """Takes images one by one and sums them up; it keeps 32 bytes an image.

    Args:
        salt: the home's secret, 32 bytes.
    """

    def __init__(self, salt: bytes) -> None:
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
        self._salt = salt
        self._leaves = bytearray()
        self._classes: dict[str, int] = {}
        self._sequence = hashlib.sha256()

    def add(self, label: str, content: bytes) -> None:
        """Take the next image.

        Args:
            label: its class.
            content: SHA-256 of its file's bytes.
        """
        said = _labelled(label, content)
        self._leaves += leaf(self._salt, label, content)
        self._classes[label] = self._classes.get(label, 0) + 1
        self._sequence.update(len(said).to_bytes(4, "big") + said)

    def finish(self) -> Catalogue:
        """Return the catalogue of all images taken so far."""
        leaves = sorted(
            bytes(self._leaves[begin : begin + HASH_BYTES]) for begin in range(0, len(self._leaves), HASH_BYTES)
        )
        return Catalogue(
            images=len(leaves),
            classes=tuple(sorted(self._classes.items())),
            root=Digest(root_of(leaves).hex()),
            sequence=Digest(self._sequence.hexdigest()),
        )


def catalogue_of(pictures: Iterable[Picture], salt: bytes) -> Catalogue:
    """Return the catalogue of these images, holding one at a time."""
    cataloguer = Cataloguer(salt)
    for picture in pictures:
        cataloguer.add(picture.record.label, hashlib.sha256(picture.content).digest())
    return cataloguer.finish()


def leaf(salt: bytes, label: str, content: bytes) -> bytes:
    """Return an image's leaf: HMAC-SHA256 under the salt of its file's SHA-256 (32 bytes) and its label (UTF-8)."""
    return hmac.digest(salt, _labelled(label, content), "sha256")


def record_hash(salt: bytes, record: str) -> bytes:
    """Return what stands for a record where its id must not: 32 bytes that only the salt's holder can tell.

    Args:
        salt: the home's secret.
        record: the record's id.
    """
    key = hmac.digest(salt, _SUB_SHARD, "sha256")  # a key of its own, so that no place is also a leaf
    return hmac.digest(key, record.encode(), "sha256")


def place(hashed: bytes, count: int) -> int:
    """Return which of `count` sub-shards (1 or more) the record of this hash belongs to, from 0.

    It depends on nothing but these two, so erasing a record, or adding one, moves no other record. The bias of the
    remainder is below count / 2**64.
    """
    if count < 1:
        raise ValueError(f"{count} sub-shards cannot hold anything")
    return int.from_bytes(hashed[:8], "big") % count


def sub_shard(salt: bytes, record: str, count: int) -> int:
    """Return which of `count` sub-shards a record belongs to, from 0."""
    return place(record_hash(salt, record), count)


def _labelled(label: str, content: bytes) -> bytes:
    if len(content) != hashlib.sha256().digest_size:
        raise ValueError(f"an image's digest has 32 bytes, not {len(content)}")
    return content + label.encode()
