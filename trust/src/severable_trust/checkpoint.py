"""Two text forms of C2SP: a checkpoint (what the log commits to) and a proof that an entry is under one.

Specifications: https://c2sp.org/tlog-checkpoint and https://c2sp.org/tlog-proof. Narrower than they allow: no extension
lines in a checkpoint and no `extra` line in a proof, since nothing here would verify them.

Laws: `Checkpoint.parse(c.text) == c`, `Checkpoint.parse(t).text == t`, `LogProof.parse(p.to_text()) == p` and
`LogProof.parse(t).to_text() == t`.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Self

from severable_trust.errors import LogError, MalformedError
from severable_trust.merkle import HASH_BYTES

MAX_PROOF_HASHES = 63
_PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_ORIGIN = re.compile(r"[!-*,-~]+")  # printable ASCII without space or plus sign, as a key name
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log's commitment to all of its entries.

    Attributes:
        origin: the log's name, the same as its key's.
        size: number of entries.
        root: Merkle root over them, 32 bytes.

    Raises:
        MalformedError: a field that the text form cannot write.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not _ORIGIN.fullmatch(self.origin):
            raise MalformedError(
                f"checkpoint: origin {self.origin[:80]!r} is not printable ASCII without space and '+'"
            )
        if self.size < 0 or len(self.root) != HASH_BYTES:
            raise MalformedError("checkpoint: size is negative or root is not 32 bytes long")

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checkpoint that these three lines write.

        Raises:
            MalformedError: not exactly an origin, a size and a root, each on a line.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise MalformedError("checkpoint: not exactly the three lines origin, size and root")
        return cls(lines[0], _decimal(lines[1], "checkpoint: size"), decode_base64(lines[2], "checkpoint: root"))


@dataclass(frozen=True, slots=True)
class LogProof:
    """That the entry at `index` is in the log, under a signed checkpoint.

    Attributes:
        index: the entry's place, from 0.
        hashes: inclusion proof, from the leaf up, 32 bytes each.
        checkpoint: the signed note of the checkpoint, text.

    Raises:
        MalformedError: a field that the text form cannot write.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def __post_init__(self) -> None:
        if self.index < 0 or len(self.hashes) > MAX_PROOF_HASHES:
            raise MalformedError("log proof: index is negative or there are too many hashes")
        if any(len(value) != HASH_BYTES for value in self.hashes):
            raise MalformedError("log proof: a hash is not 32 bytes long")

    def to_text(self) -> str:
        """The proof as text: header, index, hashes, an empty line, the checkpoint."""
        lines = [_PROOF_HEADER, f"index {self.index}", *map(encode_base64, self.hashes), ""]
        return "\n".join(lines) + "\n" + self.checkpoint

    @classmethod
    def parse(cls, text: str) -> Self:
        """The proof that this text writes; nothing is verified yet.

        Raises:
            MalformedError: not the header, an index, hashes, an empty line and a checkpoint.
        """
        head, gap, checkpoint = text.partition("\n\n")
        header, _, rest = head.partition("\n")
        if header != _PROOF_HEADER or not gap:
            raise MalformedError(f"log proof: does not begin with {_PROOF_HEADER!r} and end with a checkpoint")
        index, *hashes = rest.split("\n")
        if not index.startswith("index "):
            raise MalformedError("log proof: second line is not 'index' and a number")
        return cls(
            _decimal(index.removeprefix("index "), "log proof: index"),
            tuple(decode_base64(line, "log proof: hash") for line in hashes),
            checkpoint,
        )


def check_origin(checkpoint: Checkpoint, name: str) -> None:
    """Refuse the checkpoint of another log than the one of this name.

    Raises:
        LogError: the origin is another.
    """
    if checkpoint.origin != name:
        raise LogError(f"checkpoint: is of log {checkpoint.origin!r}, not {name!r}")


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str, what: str) -> bytes:
    """The bytes of canonical standard base64.

    Raises:
        MalformedError: not base64, or with stray bits in its last character.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"{what}: not base64") from error
    if encode_base64(data) != text:
        raise MalformedError(f"{what}: not canonical base64")
    return data


def _decimal(text: str, what: str) -> int:
    if not _DECIMAL.fullmatch(text):
        raise MalformedError(f"{what}: {text[:40]!r} is not a plain decimal number")
    return int(text)
