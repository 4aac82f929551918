"""The owner's own word on a shard that passed the gate: released, or withheld for good.

A decision is made once, for one shard, and kept in the job's folder before anything follows from it. The reason of
a withheld shard is for this machine alone: the coordinator learns that it was withheld, and no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from severable_client.errors import JobStateError, ReleaseError
from severable_client.jobs import short_id
from severable_client.ports import Clock, Job, JobReport, JobState, JobStore, Journal, JournalEntry, JournalKind

MAX_REASON = 300  # characters
WAITS = "it passed the gate; its owner decides whether it leaves"
RELEASED = "released by its owner; waiting for the daemon's worker"
WITHHELD = "withheld by its owner"


class Verb(StrEnum):
    """What was decided."""

    RELEASED = "released"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the owner decided about one shard.

    Attributes:
        verb: what.
        shard: the claim's statement id, ``sha256:...``.
        reason: one line; empty for a release.
        at: when (UTC).
    """

    verb: Verb
    shard: str
    reason: str
    at: datetime


class DecisionStore(Protocol):
    """Decisions by job; the first one about a shard stands."""

    def put(self, job_id: str, decision: Decision) -> Decision:
        """Keep it unless the same shard is decided about already; return what is kept."""
        ...

    def of(self, job_id: str) -> tuple[Decision, ...]:
        """Return every decision about a shard of this job, oldest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What deciding needs.

    Attributes:
        jobs: jobs known.
        decisions: decisions made.
        journal: of what left, and of what was decided.
        clock: the time now.
    """

    jobs: JobStore
    decisions: DecisionStore
    journal: Journal
    clock: Clock


def decision_on(shard: str, decisions: Sequence[Decision]) -> Decision | None:
    """Return the decision about a shard, or None: a job that was trained anew may have another one."""
    return next((decision for decision in decisions if decision.shard == shard), None)


def find_job(given: str, jobs: Sequence[Job]) -> Job:
    """Return the one job whose id begins with what was given; with nothing given, the only one that waits.

    Raises:
        JobStateError: none, or more than one.
    """
    fitting = [job for job in jobs if (job.id.startswith(given) if given else job.report.state is JobState.UNRELEASED)]
    if len(fitting) == 1:
        return fitting[0]
    what = f"job {given[:80]!r}" if given else "a job waiting for release"
    if not fitting:
        raise JobStateError(f"there is no {what.removeprefix('a ')}; see `severable-client status`")
    raise JobStateError(f"{what} may be any of {', '.join(short_id(job.id) for job in fitting)}; give more digits")


def release(job: Job, shard: str, desk: Desk) -> Decision:
    """Let a waiting shard leave: the daemon's worker ships it next.

    Raises:
        JobStateError: the job does not wait.
        ReleaseError: it was withheld.
    """
    decision = _decide(job, Decision(verb=Verb.RELEASED, shard=shard, reason="", at=desk.clock()), desk)
    report = replace(job.report, state=JobState.QUEUED, detail=RELEASED)
    desk.jobs.record(job.id, report, desk.clock())
    return decision


def withhold(job: Job, shard: str, reason: str, desk: Desk) -> Decision:
    """Keep a waiting shard at home for good; its job is final.

    Raises:
        JobStateError: the job does not wait.
        ReleaseError: it was released, or the reason is not one line of 1 to 300 printable characters.
    """
    if not 1 <= len(reason) <= MAX_REASON or not reason.isprintable() or not reason.strip():
        raise ReleaseError(f"the reason is not one line of 1 to {MAX_REASON} printable characters")
    decision = _decide(job, Decision(verb=Verb.WITHHELD, shard=shard, reason=reason, at=desk.clock()), desk)
    desk.jobs.record(job.id, withheld(job.report), desk.clock())
    return decision


def withheld(report: JobReport) -> JobReport:
    """Return the final report of a withheld shard's job; it carries no reason, since the coordinator reads it."""
    return replace(report, state=JobState.WITHHELD, detail=WITHHELD)


def _decide(job: Job, decision: Decision, desk: Desk) -> Decision:
    name = short_id(job.id)
    if job.report.state is not JobState.UNRELEASED:
        raise JobStateError(f"job {name} is {job.report.state}; only one that waits for release can be decided about")
    kept = desk.decisions.put(job.id, decision)
    if kept.verb is not decision.verb:
        raise ReleaseError(f"job {name} was {kept.verb} at {kept.at:%Y-%m-%d %H:%M:%S} UTC; that stands")
    said = f"shard {kept.verb}" + (f": {kept.reason}" if kept.reason else "")
    entry = JournalEntry(at=desk.clock(), what=said, subject=decision.shard, bytes=0, kind=JournalKind.DECIDED)
    desk.journal.note(entry)
    return kept
