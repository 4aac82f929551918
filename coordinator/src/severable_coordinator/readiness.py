"""Readiness: the router that a removal of any one party would build, built in idle time and kept until it is wanted.

A removal's rebuild asks `Building.router` for the set without the party. What lies in that set's compartment it takes;
what does not it builds, by the same deterministic function, so the bytes are the same either way. A prepared router has
seen the banks of the remaining shards alone. It lies under a key of its own like every router, and that key dies with
the first of *its* shards that is removed: `Building.compartments` knows it by its members.

A prepared compartment carries a mark. When the set of shards changes, what nobody asks for any more is thrown away.
Beside it the change of quality for the others is measured (retained.py). One
thing is done at a time; an interruption loses that one alone. It gives way as soon as a removal runs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from severable_coordinator.building import Building, Progress
from severable_coordinator.composite_files import content_of, recipe_of
from severable_coordinator.errors import ConflictError, NotFoundError, StorageError, WithdrawnError
from severable_coordinator.ports import CompositeStore, RemovalStore, ShardState, ShardStore
from severable_coordinator.retained import Gone, Retained, gone_from
from severable_coordinator.shard_sets import ShardSet, compartment_of
from severable_coordinator.vault_port import Vault
from severable_trust.digest import Digest

MARK = "prepared.json"
_LOOK_EVERY_S = 1.0  # seconds between two looks at whether it should give way
_USABLE = ("live", "withdrawn")  # states of composites whose group a removal rebuilds for

Stop = Callable[[], bool]


class _GivesWayError(Exception):
    """Preparing must end now: it was asked to, a removal runs, or a shard of the set is on its way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """What a removal of one party would leave of one group's shards; None where it would leave none."""

    party: str
    group: str
    before: ShardSet
    after: ShardSet | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One thing to do in idle time: the router of a set, or what it changed that shards left it."""

    what: str
    members: ShardSet
    gone: Gone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Prepares removals."""

    building: Building
    composites: CompositeStore
    shards: ShardStore
    removals: RemovalStore
    vault: Vault
    retained: Retained | None = None  # None where no figures of quality are wanted

    def departures(self) -> list[Departure]:
        """Every party of every group that has a composite, by party and then by group."""
        found = []
        for group in sorted({one.group for one in self.composites.composites(None) if one.state in _USABLE}):
            try:
                before = self.building.members(group)
            except ConflictError:  # nobody may be composed for it now
                continue
            found += [
                Departure(party=party, group=group, before=before, after=before.without(party))
                for party in {shard.party for shard in before.shards}
            ]
        return sorted(found, key=lambda one: (one.party, one.group))

    def missing(self) -> list[Job]:
        """What there is to do: the routers that are not there first, each set once, then the figures of quality."""
        jobs: dict[str, Job] = {}
        departures = self.departures()
        for one in departures:
            before, after = one.before, one.after
            if not self.is_prepared(before):  # shards came, or a contract ended and its removal is to come
                what = f"router of {one.group} as it would be assembled now"
                jobs.setdefault(before.compartment, Job(what=what, members=before))
            if after is not None and not self.is_prepared(after):
                jobs.setdefault(after.compartment, Job(what=f"router without {one.party}", members=after))
        for one in departures:
            if one.after is None or self.retained is None:
                continue
            gone = gone_from(one.before, one.after)
            if one.after.compartment in jobs or self.retained.kept(one.after, gone) is None:
                name = f"quality {sorted(gone.items())} {one.after.compartment}"
                jobs.setdefault(name, Job(what=f"quality without {one.party}", members=one.after, gone=gone))
        return list(jobs.values())

    def is_prepared(self, members: ShardSet) -> bool:
        """Whether the set's router is kept, from idle time or from an earlier build."""
        return all(self.vault.holds(members.compartment, name) for name in ("router.json", "router.safetensors"))

    def foreseen(self, members: ShardSet) -> Digest | None:
        """The composite that a removal would end in, by its digest; None while its router is not there."""
        try:
            router = Digest.of(self.vault.read(members.compartment, "router.safetensors"))
        except (NotFoundError, StorageError):
            return None
        return content_of(members, recipe_of(self.building.contracts, members), router).digest

    def prepare_next(self, stop: Stop, progress: Progress) -> Job | None:
        """Do the next thing that there is to do; None when there is none, or when it should give way.

        Args:
            stop: asked often; once it says yes, what was begun is dropped.
            progress: told how far it is.
        """
        watch = _Watch(self, stop)
        try:
            watch.look()
            self.drop_stale()
            if not (jobs := self.missing()):
                return None
            watch.members = jobs[0].members
            self._do(jobs[0], watch, progress)
        except (_GivesWayError, WithdrawnError):
            return None
        return jobs[0]

    def drop_stale(self) -> list[str]:
        """Throw away what was prepared for sets that no removal would leave any more; returns their compartments."""
        departures = self.departures()
        used = {one.after.compartment for one in departures if one.after is not None}
        used |= {one.before.compartment for one in departures}
        used |= {compartment_of(one.members) for one in self.composites.composites(None) if one.state in _USABLE}
        stale = [
            name
            for name in self.vault.compartments()
            if name.startswith("set-") and name not in used and self.vault.holds(name, MARK)
        ]
        for name in stale:
            self._destroy(name)
        return stale

    def gives_way(self) -> bool:
        """Whether a removal runs: it must not be slowed, and nothing may be derived behind its back."""
        return any(record.state == "in_progress" for record in self.removals.removals())

    def all_live(self, members: ShardSet) -> bool:
        """Whether every shard of a set is still in use."""
        return all(self.shards.shard(shard.id).state is ShardState.LIVE for shard in members.shards)

    def _do(self, job: Job, watch: "_Watch", progress: Progress) -> None:
        def told(what: str, done: int, total: int) -> None:
            watch.now_and_then()
            progress(what, done, total)

        members = job.members
        with self.building.withdrawal.using(shard.id for shard in members.shards):  # an erasure waits, and finds it all
            if job.gone is None or self.retained is None:
                self.building.router(members, told)
                self.vault.write(members.compartment, MARK, iter([b"{}"]))
            else:
                self.retained.measure(members, job.gone, told)

    def _destroy(self, compartment: str) -> None:
        self.vault.destroy_key(compartment)
        self.vault.unlink(compartment, "")


class _Watch:
    """Looks whether preparing should give way, once a second at the most: a router has thousands of steps."""

    def __init__(self, readiness: Readiness, stop: Stop) -> None:
        self._readiness, self._stop, self._looked = readiness, stop, 0.0
        self.members: ShardSet | None = None

    def now_and_then(self) -> None:
        """Look, if the last look is a second ago."""
        if self._stop():
            raise _GivesWayError
        if time.monotonic() - self._looked >= _LOOK_EVERY_S:
            self.look()

    def look(self) -> None:
        """Look now."""
        self._looked = time.monotonic()
        readiness, members = self._readiness, self.members
        if self._stop() or readiness.gives_way() or (members is not None and not readiness.all_live(members)):
            raise _GivesWayError
