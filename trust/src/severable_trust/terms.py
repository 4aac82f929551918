"""The parts of a contract: who signs, what is permitted, what limits hold, and the duty to delete."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from severable_trust.errors import StatementError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_KEY_ID = re.compile(r"[0-9a-f]{64}")
MAX_SUB_SHARDS = 64


class Action(StrEnum):
    """What a contract can permit the coordinator to do."""

    TRAIN = "train"
    COMPOSE = "compose"
    INFER = "infer"
    DISTRIBUTE = "distribute"


@dataclass(frozen=True, slots=True)
class PartyRef:
    """One side of a contract: its id, its legal name and the id of the key it signs with.

    Raises:
        StatementError: an empty name, an id with other characters than letters, digits, `.`, `_` and `-`, or a
            key id that is not 64 hexadecimal digits.
    """

    id: str
    legal_name: str
    key_id: str

    def __post_init__(self) -> None:
        check_id(self.id, "party id")
        require_text(self.legal_name, "legal_name")
        if not _KEY_ID.fullmatch(self.key_id):
            raise StatementError(f"party {self.id}: key_id is not 64 hexadecimal digits")


@dataclass(frozen=True, slots=True)
class Limits:
    """Privacy limits that a shard must keep.

    Attributes:
        min_images: fewest images a shard may be trained on, 1 or more.
        memorization_ceiling: largest share of probed images that a shard may reproduce, 0 to 1.
        sub_shards: how many shards the party's records are divided over, 2 to 64; None, and not written, for one.
    """

    min_images: int
    memorization_ceiling: float
    sub_shards: int | None = None

    @property
    def shards(self) -> int:
        """How many shards the party trains under the contract, 1 to 64."""
        return self.sub_shards or 1

    def __post_init__(self) -> None:
        if self.sub_shards is not None and not 2 <= self.sub_shards <= MAX_SUB_SHARDS:  # one value has one form
            raise StatementError(
                f"limits: sub_shards is {self.sub_shards}, must be 2 to {MAX_SUB_SHARDS}, or left out for one shard"
            )
        if self.min_images < 1:
            raise StatementError(f"limits: min_images is {self.min_images}, must be at least 1")
        if not 0 <= self.memorization_ceiling <= 1:
            raise StatementError(f"limits: memorization_ceiling is {self.memorization_ceiling}, must be from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionDuty:
    """The coordinator's duty to delete.

    Attributes:
        deadline_days: days from a trigger to the receipt, 0 or more.
        scope: what must go, such as `shard`, `bank`, `router`, `composite`; at least one.
        evidence: what proves it, such as `receipt`.
        triggers: what starts it, such as `request`, `termination`; at least one.
    """

    deadline_days: int
    scope: tuple[str, ...]
    evidence: str
    triggers: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.deadline_days < 0:
            raise StatementError(f"deletion: deadline_days is {self.deadline_days}, must not be negative")
        require_text(self.evidence, "evidence")
        for name in ("scope", "triggers"):
            entries: tuple[str, ...] = getattr(self, name)
            require_unique(entries, f"deletion: {name}")
            if not entries:
                raise StatementError(f"deletion: {name} is empty")


def check_id(value: str, what: str) -> None:
    """Refuse an id that is not 1 to 63 letters, digits, `.`, `_` or `-`, starting with a letter or digit."""
    if not _ID.fullmatch(value):
        raise StatementError(f"{what} {value[:80]!r} is not 1 to 63 letters, digits, '.', '_' or '-'")


def require_text(value: str, what: str) -> None:
    """Refuse an empty text."""
    if not value.strip():
        raise StatementError(f"{what} is empty")


def require_unique(values: tuple[object, ...], what: str) -> None:
    """Refuse a list that names something twice."""
    if len(set(values)) != len(values):
        raise StatementError(f"{what} names something twice")


def require_finite(value: float, what: str) -> None:
    """Refuse NaN and the infinities, which JSON cannot write."""
    if not math.isfinite(value):
        raise StatementError(f"{what} is {value}, not a finite number")
