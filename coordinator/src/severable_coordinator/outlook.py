"""What a removal of each party would cost and change, told before anybody asks for one.

Nothing here is made up: seconds are measured or come from builds of the same recipe and are called an estimate, quality
is what was measured in idle time or is missing. What a removal needs beside the rebuild (erasing, scrubbing, receipt)
takes seconds at the most and is not in the figure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from severable_coordinator.build_times import ASSEMBLY, ROUTER, noted_times
from severable_coordinator.errors import NotFoundError, StorageError
from severable_coordinator.ports import CompositeRecord
from severable_coordinator.readiness import Departure, Readiness
from severable_coordinator.retained import gone_from
from severable_coordinator.shard_sets import ShardSet, read_members
from severable_trust.digest import Digest

MEASURED, ESTIMATED, UNKNOWN = "measured", "estimated", "unknown"
Recipients = Callable[[CompositeRecord], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one group's composite.

    Attributes:
        group: the access group.
        before: the live composite; None where it was not assembled since its shards changed, or never.
        after: the composite that would take its place; None while its router is not there.
        retired: whether nothing would remain for the group.
        prepared: whether the router is there.
        quality: what retained.py measured; None where it did not.
        recipients: who was handed the present composite.
    """

    group: str
    before: Digest | None
    after: Digest | None
    retired: bool
    prepared: bool
    quality: dict[str, Any] | None
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a removal of one party would cost and change.

    Attributes:
        party: whose removal.
        changes: of every group's composite, by group.
        seconds: of the rebuild: routers that are not there, and assemblies; None where no build is known to go by.
        basis: of the seconds: `measured` where all routers are there and the assembly of such a set was timed,
            `estimated` from other builds, `unknown`.
    """

    party: str
    changes: tuple[Change, ...]
    seconds: float | None
    basis: str


def outlooks(readiness: Readiness, recipients: Recipients) -> list[Outlook]:
    """What a removal of each party would do, by party; parties without a shard in any composite's set are left out."""
    rates = _Rates(readiness)
    departures = readiness.departures()
    found = []
    for party in sorted({one.party for one in departures}):
        own = [one for one in departures if one.party == party]
        seconds, basis = rates.cost(own)
        changes = tuple(_change(readiness, one, recipients) for one in own)
        found.append(Outlook(party=party, changes=changes, seconds=seconds, basis=basis))
    return found


def _change(readiness: Readiness, one: Departure, recipients: Recipients) -> Change:
    live = [record for record in readiness.composites.composites() if record.group == one.group]
    after, quality = one.after, None
    if after is not None and readiness.retained is not None:
        quality = readiness.retained.kept(after, gone_from(one.before, after))
    return Change(
        group=one.group,
        before=live[-1].id if live else None,
        after=None if after is None else readiness.foreseen(after),
        retired=after is None,
        prepared=after is not None and readiness.is_prepared(after),
        quality=quality,
        recipients=tuple(name for record in live for name in recipients(record)),
    )


class _Rates:
    """Seconds of past builds, for each shard of a set."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._of_recipe: dict[Digest, dict[str, list[float]]] = {}
        for compartment in readiness.vault.compartments():
            if compartment.startswith("set-"):
                self._take(compartment)

    def _take(self, compartment: str) -> None:
        try:
            ids = read_members(self._readiness.vault.read(compartment, "members.json"))
            recipe = self._readiness.shards.shard(Digest.parse(ids[0])).recipe
        except (NotFoundError, StorageError, IndexError):
            return
        rates = self._of_recipe.setdefault(recipe, {ROUTER: [], ASSEMBLY: []})
        for what, seconds in noted_times(self._readiness.vault, compartment).items():
            rates.setdefault(what, []).append(seconds / len(ids))

    def cost(self, departures: list[Departure]) -> tuple[float | None, str]:
        """Seconds of the rebuilds of one removal, and what they rest on."""
        total, basis, built = 0.0, MEASURED, set[str]()
        for one in departures:
            if one.after is None:
                continue
            parts = [ASSEMBLY]
            if not self._readiness.is_prepared(one.after) and one.after.compartment not in built:
                built.add(one.after.compartment)
                parts.append(ROUTER)
            for what in parts:
                seconds, measured = self._seconds(one.after, what)
                if seconds is None:
                    return None, UNKNOWN
                total, basis = total + seconds, basis if measured else ESTIMATED
        return total, basis

    def _seconds(self, members: ShardSet, what: str) -> tuple[float | None, bool]:
        noted = noted_times(self._readiness.vault, members.compartment).get(what)
        if noted is not None:
            return noted, True
        rates = self._of_recipe.get(members.recipe, {}).get(what, [])
        return (median(rates) * len(members.shards), False) if rates else (None, False)
