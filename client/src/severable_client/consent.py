"""The owner's consent: the first job of a recipe waits until the owner has said yes to that recipe, or no.

A decision stands for the recipe's digest: the same recipe is not asked about again, a changed one is another recipe. It
is kept with who decided and when, and noted in the journal first. With the standing rule ``contract`` (config.yaml,
``approve: contract``) signing a contract is saying yes to the recipes in it; a refusal stands against that too.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from severable_client.errors import ConsentError
from severable_client.ports import (
    Clock,
    Job,
    JobReport,
    JobState,
    JobStore,
    Journal,
    JournalEntry,
    JournalKind,
)

STANDING_RULE = "standing rule (config.yaml, approve: contract)"
MAX_NAME = 100  # characters of who decided


class Rule(StrEnum):
    """What happens at the first use of a recipe: the owner is asked, or the signed contract is enough."""

    ASK = "ask"
    CONTRACT = "contract"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The owner's decision about a recipe: its digest (``sha256:...``), yes or no, who decided, and when."""

    recipe: str
    granted: bool
    by: str
    at: datetime


class ApprovalStore(Protocol):
    """The owner's decisions, one a recipe."""

    def put(self, approval: Approval) -> None:
        """Keep the decision, replacing an earlier one about the recipe."""
        ...

    def get(self, recipe: str) -> Approval | None:
        """Return the decision about a recipe, or None."""
        ...

    def all(self) -> tuple[Approval, ...]:
        """Return every decision, ordered by recipe."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What deciding needs.

    Attributes:
        approvals: decisions kept.
        jobs: jobs known.
        journal: told of every decision.
        clock: the time now.
        rule: what happens at the first use of a recipe.
    """

    approvals: ApprovalStore
    jobs: JobStore
    journal: Journal
    clock: Clock
    rule: Rule

    def standing(self, recipe: str) -> bool | None:
        """Return whether the owner agreed to a recipe that a contract in force names, None if nobody has decided."""
        kept = self.approvals.get(recipe)
        if kept is not None:
            return kept.granted
        if self.rule is Rule.CONTRACT:
            return self._keep(recipe, granted=True, by=STANDING_RULE).granted
        return None

    def require(self, recipe: str) -> None:
        """Return if the owner agreed to the recipe.

        Raises:
            ConsentError: refused, or not decided yet.
        """
        decided = self.standing(recipe)
        if decided is None:
            raise ConsentError(f"recipe {recipe[:80]} {not_decided(recipe)}")
        if not decided:
            raise ConsentError(refused(recipe))

    def decide(self, recipe: str, *, granted: bool, by: str) -> tuple[Job, ...]:
        """Keep a decision and settle the jobs that waited for it; returns these."""
        self._keep(recipe, granted=granted, by=by)
        return self.settle()

    def settle(self) -> tuple[Job, ...]:
        """Queue or refuse every job that waits and is decided about; returns these. Can be called at any time."""
        settled = []
        for job in waiting(self.jobs):
            decided = self.standing(job.request.recipe)
            if decided is None:
                continue
            report = (
                JobReport(state=JobState.QUEUED, detail="waiting for the daemon's worker")
                if decided
                else JobReport(state=JobState.REFUSED, detail=refused(job.request.recipe))
            )
            self.jobs.record(job.id, report, self.clock())
            settled.append(job)
        return tuple(settled)

    def _keep(self, recipe: str, *, granted: bool, by: str) -> Approval:
        made = Approval(recipe=recipe, granted=granted, by=by[:MAX_NAME], at=self.clock())
        what = f"recipe {'approved' if granted else 'refused'} by {made.by}"
        entry = JournalEntry(at=made.at, what=what, subject=recipe, bytes=0, kind=JournalKind.DECIDED)
        self.journal.note(entry)
        self.approvals.put(made)
        return made


def waiting(jobs: JobStore) -> tuple[Job, ...]:
    """Return the jobs that wait for the owner's approval, oldest first."""
    return tuple(job for job in jobs.unfinished() if job.report.state is JobState.UNAPPROVED)


def not_decided(recipe: str) -> str:
    """Return the line of a job that waits."""
    return f"waits for the owner's approval: severable-client approve {recipe.removeprefix('sha256:')[:12]}"


def refused(recipe: str) -> str:
    """Return the line of a job that the owner does not want."""
    return f"the owner refused recipe {recipe.removeprefix('sha256:')[:12]}"
