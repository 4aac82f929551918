"""Log entries: which statement was made, of which kind and by which keys.

The statement's body stays outside the log, so that it can be erased while the log stays whole.
"""

from dataclasses import dataclass
from typing import Any, Self

from severable_trust.canonical import decode, encode
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import MalformedError, StatementError
from severable_trust.record import from_plain, to_plain
from severable_trust.statement import Kind, Predicate, Proven, T


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One leaf of the log.

    Law: `LogEntry.parse(e.leaf) == e` and `LogEntry.parse(b).leaf == b`.

    Attributes:
        kind: kind of the statement.
        statement: its id.
        signers: ids of the keys that signed it; sorted, at least one.

    Raises:
        MalformedError: no signer, or not sorted, or one twice.
    """

    kind: Kind
    statement: Digest
    signers: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.signers or list(self.signers) != sorted(set(self.signers)):
            raise MalformedError("log entry: signers are not a sorted list of different key ids")

    @classmethod
    def of(cls, proven: Proven[T]) -> Self:
        """The entry of a proven statement."""
        value: Predicate = proven.value
        return cls(kind=value.KIND, statement=proven.id, signers=proven.signers)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The entry that a leaf's bytes hold.

        Raises:
            MalformedError: not the canonical JSON of an entry.
        """
        try:
            return from_plain(cls, decode(data, "log entry"), "log entry")
        except StatementError as error:
            raise MalformedError(str(error)) from error

    @property
    def leaf(self) -> bytes:
        """The entry's bytes in the log: canonical JSON, put together here, since a log of millions makes millions."""
        signers = encode(list(self.signers))
        return b'{"kind":"%b","signers":%b,"statement":"%b"}' % (
            self.kind.value.encode(), signers, str(self.statement).encode(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoggedStatement:
    """A log entry and the statement that it names; `envelope` is None where the body was erased."""

    entry: LogEntry
    envelope: Envelope | None

    @classmethod
    def from_object(cls, value: object, where: str) -> Self:
        """The entry that a decoded JSON object holds; nothing is verified yet.

        Raises:
            MalformedError: a member is missing, unknown or of the wrong form.
        """
        if not isinstance(value, dict) or "envelope" not in value:
            raise MalformedError(f"{where}: not an object with the member envelope")
        envelope = value.pop("envelope")
        try:
            entry = from_plain(LogEntry, value, where)
        except StatementError as error:
            raise MalformedError(str(error)) from error
        return cls(entry, None if envelope is None else Envelope.from_object(envelope))

    def to_object(self) -> dict[str, Any]:
        """The entry as a JSON object."""
        return {**to_plain(self.entry), "envelope": None if self.envelope is None else self.envelope.to_object()}
