"""The log as the use cases see it; its adapter is adapters/sql/log.py."""

from collections.abc import Iterable
from typing import Protocol

from severable_trust.checkpoint import Checkpoint, LogProof
from severable_trust.digest import Digest
from severable_trust.entry import LogEntry
from severable_trust.statement import Kind


class Log(Protocol):
    """The append-only log (docs/formats/log.md) and the bodies of what it names."""

    def append(self, entries: Iterable[tuple[LogEntry, bytes]]) -> int:
        """Append entries with their bodies in one batch, sign the new checkpoint, return the first new index."""

    def checkpoint(self) -> tuple[Checkpoint, str]:
        """Return the newest checkpoint and its signed note."""

    def checkpoint_of(self, size: int) -> str:
        """Return the signed note over the first `size` entries, with every cosignature. NotFoundError."""

    def cosign(self, size: int, cosigner: str, line: str) -> None:
        """Keep a cosigner's verified signature line under a checkpoint; a second one of the same takes its place."""

    def prove(self, entry: LogEntry) -> LogProof:
        """Return the proof that an entry is in the log, under the checkpoint that most have cosigned. NotFoundError.

        Among equals it is the newest checkpoint.
        """

    def consistency(self, since: int) -> tuple[str, tuple[bytes, ...]]:
        """Return the newest signed note, and the proof that it continues the tree of the first `since` entries.

        The proof is empty where there is none: from 0 entries, or from as many as there are, or more.
        """

    def entries(self) -> list[tuple[int, LogEntry, bool]]:
        """Index, entry and whether the body is still held, in order."""

    def statements(self, kind: Kind) -> list[Digest]:
        """Return the ids of the logged statements of a kind, in order."""

    def body(self, statement: Digest) -> bytes:
        """Return a statement's envelope. NotFoundError when it was erased or never there."""

    def erase_body(self, statement: Digest) -> None:
        """Forget a statement's body; its entry, a digest, stays."""

    def snapshot(self) -> tuple[str, list[tuple[LogEntry, bytes | None]]]:
        """Return the newest signed note with every cosignature, and all entries with their bodies, of one moment.

        A body is None when it was erased.
        """
