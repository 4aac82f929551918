"""Watching the coordinator: its log and its roster may go on, never back, and never in two ways at once.

The owner's own last view is what makes the log worth something: its keeper cannot take it back. What contradicts it is
kept as evidence, both signed notes side by side, and said until somebody acts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from severable_client.errors import AnswerError, HomeError, LogAlarmError
from severable_trust.checkpoint import Checkpoint
from severable_trust.errors import TrustError
from severable_trust.note import LogSigner, cosign
from severable_trust.trust_root import TrustRoot, open_roster
from severable_trust.witness import advance_roster, advance_view


@dataclass(frozen=True, slots=True)
class LogView:
    """What the coordinator shows of its log.

    Attributes:
        note: the newest checkpoint, a signed note.
        consistency: proof that it continues the size that was asked about, 32 bytes each.
        roster: the newest roster's envelope.
    """

    note: str
    consistency: tuple[bytes, ...]
    roster: bytes


class LogSource(Protocol):
    """The coordinator, as far as its log goes. Every call may raise an ExchangeError."""

    def log_view(self, since: int) -> LogView:
        """Fetch the newest checkpoint, with the proof that it continues the tree of `since` entries."""
        ...


class CosignatureSink(Protocol):
    """The coordinator, as far as it keeps cosignatures. Every call may raise an ExchangeError."""

    def cosign(self, note: str) -> None:
        """Leave the checkpoint with this party's line added."""
        ...


class ViewStore(Protocol):
    """This party's own last view. Every call may raise a StorageError."""

    def checkpoint(self) -> str | None:
        """Return the note accepted last, or None."""
        ...

    def keep_checkpoint(self, note: str) -> None:
        """Replace it."""
        ...

    def cosigned(self) -> str | None:
        """Return the note that was cosigned and taken last, or None."""
        ...

    def keep_cosigned(self, note: str) -> None:
        """Replace it."""
        ...

    def roster(self) -> bytes:
        """Return the roster accepted last."""
        ...

    def keep_roster(self, envelope: bytes) -> None:
        """Replace it."""
        ...

    def accuse(self, text: str) -> str:
        """Keep evidence for good; returns where."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """One party's watch over one coordinator.

    Attributes:
        root: whose signatures count.
        views: this party's own last view.
        clock: now (UTC).
    """

    root: TrustRoot
    views: ViewStore
    clock: Callable[[], datetime]

    def watch(self, source: LogSource) -> Checkpoint:
        """Fetch the newest checkpoint and roster and hold them against the last ones; returns the checkpoint.

        Raises:
            LogAlarmError: the log shrank, forked or was rewritten, or the roster went back, differs under one version
                or is not the coordinator's. The evidence is kept and the view is not moved.
            AnswerError: the roster has expired.
            ExchangeError: the coordinator cannot be reached, or refuses.
            HomeError: this party's own last view is damaged.
            StorageError: the disk.
        """
        held = self.views.checkpoint()
        shown = source.log_view(self._size(held))
        checkpoint = self._watch_log(held, shown)
        self._watch_roster(shown.roster)
        return checkpoint

    def vouch(self, sink: CosignatureSink, signer: LogSigner) -> bool:
        """Cosign the checkpoint that `watch` accepted last, unless that is done; returns whether one was sent.

        The view was written to the disk before: what is cosigned can no longer be forgotten.

        Raises:
            ExchangeError: the coordinator cannot be reached, or refuses; the next call tries again.
            StorageError: the disk.
        """
        note = self.views.checkpoint()
        if note is None or note == self.views.cosigned():
            return False
        sink.cosign(cosign(note, signer, self.clock()))
        self.views.keep_cosigned(note)
        return True

    def _watch_log(self, held: str | None, shown: LogView) -> Checkpoint:
        try:
            checkpoint = advance_view(held, shown.note, shown.consistency, self.root.log_vkey)
        except TrustError as error:
            raise self._alarm(str(error), held or "none\n", shown.note) from error
        if shown.note != held:
            self.views.keep_checkpoint(shown.note)
        return checkpoint

    def _watch_roster(self, envelope: bytes) -> None:
        held = self.views.roster()
        try:
            before = open_roster(held, self.root)
        except TrustError as error:
            raise HomeError(f"the roster kept in this home does not hold: {error}; restore it from a backup") from error
        try:
            offered = advance_roster(before, open_roster(envelope, self.root))
        except TrustError as error:
            raise self._alarm(str(error), held.decode(), envelope.decode(errors="replace")) from error
        try:
            offered.value.require_current(self.clock())
        except TrustError as error:
            raise AnswerError(f"{error}; the coordinator must issue a new one") from error
        if offered.value.version > before.value.version:
            self.views.keep_roster(envelope)

    def _size(self, held: str | None) -> int:
        try:
            return advance_view(None, held, (), self.root.log_vkey).size if held else 0
        except TrustError as error:
            raise HomeError(f"the checkpoint kept in this home does not hold: {error}; restore it") from error

    def _alarm(self, reason: str, held: str, shown: str) -> LogAlarmError:
        text = f"{reason}\n\n--- held by this party ---\n{held}\n--- shown by the coordinator ---\n{shown}"
        place = self.views.accuse(text)
        return LogAlarmError(f"ALARM: {reason}; evidence: {place}; sign nothing more and ask the other parties")
