"""Amendments: whether a contract follows from the version before it, and what it changes, in words.

Pure. A contract keeps its uid over all versions; each version names the one before by its statement id, so that the
chain cannot be cut or bent without a signature of both sides.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum

from severable_trust.contract import Contract
from severable_trust.errors import ContractError
from severable_trust.instant import format_instant
from severable_trust.statement import Proven
from severable_trust.terms import DeletionDuty, Limits


class Direction(StrEnum):
    """What a change means for what the coordinator may do."""

    WIDENS = "widens"
    NARROWS = "narrows"
    CHANGES = "changes"  # it cannot be said, or does both


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One term that an amendment changes.

    Attributes:
        field: the term's name.
        before: as it was, in words.
        after: as it will be, in words.
        direction: what that means for what the coordinator may do.
    """

    field: str
    before: str
    after: str
    direction: Direction


def require_successor(previous: Proven[Contract], following: Contract) -> None:
    """Return if a contract is the next version of a proven one.

    Raises:
        ContractError: another contract, other sides, a version left out, or another predecessor.
    """
    before = previous.value
    if following.uid != before.uid:
        raise ContractError(f"contract {following.uid!r} does not amend {before.uid!r}: it is another contract")
    if following.version != before.version + 1 or following.previous != previous.id:
        raise ContractError(
            f"contract {following.uid!r}, version {following.version}: does not follow from version {before.version},"
            f" statement {previous.id}"
        )
    if (following.assigner.id, following.assignee.id) != (before.assigner.id, before.assignee.id):
        raise ContractError(f"contract {following.uid!r}, version {following.version}: is between other sides")


def changes(before: Contract, after: Contract) -> tuple[Change, ...]:
    """What differs between two versions, term by term; what follows from their being versions is left out."""
    found = []
    for name in _TERMS:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, (Limits, DeletionDuty)):
            for part in fields(old):
                found += _change(part.name, getattr(old, part.name), getattr(new, part.name))
        else:
            found += _change(name, old, new)
    return tuple(found)


def describe_changes(before: Contract, after: Contract) -> str:
    """The differences in plain sentences, one a line; what widens the coordinator's rights comes first."""
    found = changes(before, after)
    if not found:
        return f"Version {after.version} changes nothing of version {before.version} but its number."
    order = list(Direction)
    lines = [
        f"{_WORDS[change.direction]} {change.field.replace('_', ' ')}: {change.before} becomes {change.after}."
        for change in sorted(found, key=lambda change: order.index(change.direction))
    ]
    return "\n".join([f"Version {after.version} against version {before.version}:", *lines])


_TERMS = (
    "target", "permissions", "recipients", "valid_from", "valid_until", "notice_days", "weight", "recipes", "apps",
    "limits", "deletion", "governing_law", "legal_basis",
)  # fmt: skip
_WORDS = {
    Direction.WIDENS: "WIDER for the coordinator:",
    Direction.NARROWS: "narrower for the coordinator:",
    Direction.CHANGES: "changed:",
}


def _change(name: str, old: object, new: object) -> list[Change]:
    if old == new:
        return []
    judge = _JUDGES.get(name)
    direction = judge(old, new) if judge else Direction.CHANGES
    return [Change(field=name, before=_word(old), after=_word(new), direction=direction)]


def _word(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return format_instant(value) if isinstance(value, datetime) else str(value)


def _more_is_wider(old: object, new: object) -> Direction:
    return Direction.WIDENS if _ordered(old) < _ordered(new) else Direction.NARROWS


def _more_is_narrower(old: object, new: object) -> Direction:
    return Direction.NARROWS if _ordered(old) < _ordered(new) else Direction.WIDENS


def _ordered(value: object) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    if not isinstance(value, (int, float)):
        raise TypeError(f"{type(value).__name__} has no order here")
    return float(value)


def _set_of_rights(old: object, new: object) -> Direction:
    return _compared(old, new, wider=Direction.WIDENS, narrower=Direction.NARROWS)


def _set_of_duties(old: object, new: object) -> Direction:
    return _compared(old, new, wider=Direction.NARROWS, narrower=Direction.WIDENS)


def _compared(old: object, new: object, *, wider: Direction, narrower: Direction) -> Direction:
    if not isinstance(old, tuple) or not isinstance(new, tuple):
        raise TypeError("not lists")
    if set(old) < set(new):
        return wider
    return narrower if set(new) < set(old) else Direction.CHANGES


_JUDGES: dict[str, Callable[[object, object], Direction]] = {
    "permissions": _set_of_rights,
    "recipients": _set_of_rights,
    "recipes": _set_of_rights,
    "apps": _set_of_rights,
    "valid_from": _more_is_narrower,
    "valid_until": _more_is_wider,
    "notice_days": _more_is_wider,  # a termination takes effect later
    "min_images": _more_is_narrower,
    "memorization_ceiling": _more_is_wider,
    "deadline_days": _more_is_wider,
    "scope": _set_of_duties,
    "triggers": _set_of_duties,
}
