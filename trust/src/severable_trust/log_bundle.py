"""Log bundles: a whole log in one file, for an auditor who reads it offline, given a trust root.

One canonical JSON file: the newest checkpoint with its cosignatures, the newest roster, and every entry in order with
the statement's envelope, or null where the body was erased. An entry's leaf follows from its kind, statement and
signers, so the root is computed anew, whether or not the bodies are still there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from severable_trust.canonical import decode_any_form, encode
from severable_trust.entry import LoggedStatement
from severable_trust.envelope import Envelope
from severable_trust.errors import LogError, MalformedError
from severable_trust.keyring import KeyRing
from severable_trust.merkle import root_of
from severable_trust.note import Checkpoint, Cosigned, LogKey, open_cosigned
from severable_trust.roster import Roster
from severable_trust.statement import Kind, Proven, statement_id
from severable_trust.trust_root import TrustRoot, known_witnesses, open_roster

LOG_FORMAT = "severable-log/v1"
MAX_LOG_BUNDLE = 512 << 20  # bytes: some 250,000 statements; reading takes about five times that in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBundle:
    """The parts of a log file, as they stand in it; nothing is verified yet.

    Law: `LogBundle.parse(b.to_bytes()) == b` and `LogBundle.parse(d).to_bytes() == d`.

    Attributes:
        checkpoint: signed note over all entries.
        roster: the log's newest roster, signed by the coordinator.
        entries: every entry, in the log's order.
    """

    checkpoint: str
    roster: Envelope
    entries: tuple[LoggedStatement, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The bundle that canonical JSON bytes hold, at most 512 MiB of them.

        Raises:
            MalformedError: not the one accepted form.
        """
        value = decode_any_form(data, "log bundle", MAX_LOG_BUNDLE)
        if not isinstance(value, dict) or value.get("format") != LOG_FORMAT:
            raise MalformedError(f"log bundle: format is not {LOG_FORMAT!r}")
        if value.keys() != {"checkpoint", "entries", "format", "roster"}:
            raise MalformedError("log bundle: members are not checkpoint, entries, format, roster")
        checkpoint, entries = value["checkpoint"], value["entries"]
        if not isinstance(checkpoint, str) or not isinstance(entries, list):
            raise MalformedError("log bundle: checkpoint is not text or entries are not a list")
        bundle = cls(
            checkpoint=checkpoint,
            roster=Envelope.from_object(value["roster"]),
            entries=tuple(LoggedStatement.from_object(item, f"log entry {n}") for n, item in enumerate(entries)),
        )
        if bundle.to_bytes() != data:
            raise MalformedError("log bundle: JSON is not in its canonical form (RFC 8785)")
        return bundle

    def to_bytes(self) -> bytes:
        """The bundle as canonical JSON.

        Raises:
            MalformedError: it would be longer than is accepted.
        """
        data = b"".join(self._pieces())
        if len(data) > MAX_LOG_BUNDLE:
            raise MalformedError(f"log bundle: {len(data)} bytes, at most {MAX_LOG_BUNDLE} are accepted")
        return data

    def _pieces(self) -> Iterator[bytes]:
        # The members stand in the order of canonical JSON; entry by entry, a long log is never in memory as one tree.
        yield b'{"checkpoint":' + encode(self.checkpoint) + b',"entries":['
        for place, entry in enumerate(self.entries):
            yield (b"," if place else b"") + encode(entry.to_object())
        yield b'],"format":' + encode(LOG_FORMAT) + b',"roster":' + self.roster.to_bytes() + b"}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many entries of one kind there are: `entries` is the sum of the other three.

    Attributes:
        entries: all of them.
        verified: body held, every signature verified and by whom it must be.
        unverifiable: body held and of this kind, but a key that signed it is in no roster of this log.
        erased: body not held: only its digest and the key ids of its signers are known.
    """

    entries: int = 0
    verified: int = 0
    unverifiable: int = 0
    erased: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLog:
    """A log that was recomputed and read from its first entry to its last. Only `verify_log_bundle` makes one.

    Attributes:
        checkpoint: the log's commitment, which the entries lead to.
        cosigners: the party (or witness) and the time (UTC) of every cosignature under it.
        roster: the newest roster.
        tallies: counts for every kind that occurs, in the order in which kinds first occur.
        unverifiable: indices of the entries that are held but could not be verified.
    """

    checkpoint: Checkpoint
    cosigners: tuple[tuple[str, datetime], ...]
    roster: Proven[Roster]
    tallies: tuple[tuple[Kind, Tally], ...]
    unverifiable: tuple[int, ...]

    @property
    def total(self) -> Tally:
        """The tallies of all kinds together."""
        every = [tally for _, tally in self.tallies]
        return Tally(
            entries=sum(tally.entries for tally in every),
            verified=sum(tally.verified for tally in every),
            unverifiable=sum(tally.unverifiable for tally in every),
            erased=sum(tally.erased for tally in every),
        )


def verify_log_bundle(data: bytes, root: TrustRoot) -> VerifiedLog:
    """The whole log that this file holds, given whose signatures count.

    It proves that these entries, in this order, are all that the log's checkpoint commits to, and that every statement
    counted as verified was signed by whom it must be. It says nothing about an erased body but its digest, and nothing
    about what a statement claims of the world.

    Raises:
        TrustError: a part is malformed, not signed by whom it must be, or does not fit the others.
    """
    # (1) The file is a log bundle of the one accepted form.
    bundle = LogBundle.parse(data)
    # (2) The coordinator of the trust root signed the roster, and it is the log's newest.
    roster = open_roster(bundle.roster, root)
    _require_newest(roster, bundle.entries)
    # (3) The log (and every witness of the trust root) signed the checkpoint; no line is by any other key.
    cosigned = open_cosigned(bundle.checkpoint, root.log_vkey, root.witnesses, known_witnesses(root, roster.value))
    # (4) The entries are exactly those that the checkpoint commits to.
    _check_tree(cosigned, bundle.entries)
    # (5) Each body is its entry's, and no statement is logged twice.
    _check_bodies(bundle.entries)
    # (6) Rosters only ever went up; together they say whose the keys are.
    keys = KeyRing.of(root, _rosters(bundle.entries, roster, root))
    # (7) Each statement that is held was signed by whom it must be, as far as the keys are known.
    tallies, unverifiable = _verify_statements(bundle.entries, keys)
    return VerifiedLog(
        checkpoint=cosigned.checkpoint,
        cosigners=tuple((LogKey.parse(vkey).name, at) for vkey, at in cosigned.cosigners),
        roster=roster,
        tallies=tallies,
        unverifiable=unverifiable,
    )


def _require_newest(roster: Proven[Roster], entries: Sequence[LoggedStatement]) -> None:
    newest = next((item.entry for item in reversed(entries) if item.entry.kind is Kind.ROSTER), None)
    if newest is None or (newest.statement, newest.signers) != (roster.id, roster.signers):
        raise LogError(f"log bundle: roster {roster.id} is not the newest one in the log")


def _check_tree(cosigned: Cosigned, entries: Sequence[LoggedStatement]) -> None:
    size = cosigned.checkpoint.size
    if size != len(entries):
        raise LogError(f"log bundle: holds {len(entries)} entries, its checkpoint is over {size}")
    if root_of(item.entry.leaf for item in entries) != cosigned.checkpoint.root:
        raise LogError(f"log bundle: its {size} entries do not lead to the root of its checkpoint")


def _check_bodies(entries: Sequence[LoggedStatement]) -> None:
    seen: dict[str, int] = {}
    for place, item in enumerate(entries):
        first = seen.setdefault(item.entry.statement.hex, place)
        if first != place:
            raise LogError(f"log bundle: entries {first} and {place} are both of statement {item.entry.statement}")
        if item.envelope is None:
            continue
        if statement_id(item.envelope) != item.entry.statement:
            raise LogError(f"log bundle: the body at entry {place} is of another statement")
        if tuple(signature.key_id for signature in item.envelope.signatures) != item.entry.signers:
            raise LogError(f"log bundle: the body at entry {place} is signed by other keys than its entry says")


def _rosters(entries: Sequence[LoggedStatement], newest: Proven[Roster], root: TrustRoot) -> Iterator[Roster]:
    """The rosters of the trust root's coordinator that are held, the oldest first, the newest of the bundle at last."""
    version = 0
    for place, item in enumerate(entries):
        if item.entry.kind is not Kind.ROSTER or item.entry.signers != newest.signers:
            continue
        last = item.entry.statement == newest.id
        if item.envelope is None and not last:
            continue
        roster = newest.value if last else open_roster(item.envelope or newest.envelope, root).value
        if roster.version <= version:
            raise LogError(f"log bundle: roster version {roster.version} at entry {place} comes after {version}")
        version = roster.version
        yield roster


def _verify_statements(
    entries: Sequence[LoggedStatement], keys: KeyRing
) -> tuple[tuple[tuple[Kind, Tally], ...], tuple[int, ...]]:
    counts: dict[Kind, dict[str, int]] = {}
    unverifiable: list[int] = []
    for place, item in enumerate(entries):
        of_kind = counts.setdefault(item.entry.kind, {"entries": 0, "verified": 0, "unverifiable": 0, "erased": 0})
        if item.envelope is None:
            found = "erased"
        elif keys.verify(item.entry.kind, item.envelope):
            found = "verified"
        else:
            found = "unverifiable"
            unverifiable.append(place)
        of_kind["entries"] += 1
        of_kind[found] += 1
    return tuple((kind, Tally(**numbers)) for kind, numbers in counts.items()), tuple(unverifiable)
