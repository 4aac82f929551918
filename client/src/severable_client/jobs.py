"""Make sure that a job exists: what a coordinator's message leads to, and nothing more.

A request is untrusted. It is answered in milliseconds: refused with one line, or queued for the daemon's worker (at the
first use of a recipe it waits until the owner approves), or, when it was asked before, with where the job stands.
Training happens elsewhere (worker.py).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from severable_client.consent import Consent, not_decided, refused
from severable_client.contracts import Sides, permit
from severable_client.errors import ContractProblemError, JobStateError
from severable_client.ports import Clock, ContractStore, Job, JobReport, JobRequest, JobState, JobStore, RecipeStore
from severable_trust.canonical import encode
from severable_trust.contract import Contract
from severable_trust.digest import Digest
from severable_trust.shard import SubShard

MAX_TASK = 100  # characters
MAX_SEED = 2**62

_NONCE = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PRINTABLE = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDesk:
    """What answering a request needs. Calling it is `ensure_job`.

    Attributes:
        sides: whose signatures a contract needs.
        contracts: contracts held.
        recipes: recipes held.
        jobs: jobs known.
        consent: what the owner agreed to.
        clock: the time now.
        draw_seed: a fresh secret number from 0 to 2**62 - 1 for each call.
    """

    sides: Sides
    contracts: ContractStore
    recipes: RecipeStore
    jobs: JobStore
    consent: Consent
    clock: Clock
    draw_seed: Callable[[], int]

    def __call__(self, request: JobRequest) -> JobReport:
        """Answer a request."""
        return ensure_job(request, self)

    def halt(self, request: JobRequest) -> JobReport:
        """End what was asked for. As `halt_job`."""
        return halt_job(request, self)


def job_id(request: JobRequest) -> str:
    """Return the id of what is asked: 64 hex digits, the same for the same nonce, contract, recipe and sub-shard."""
    content: dict[str, object] = {"contract": request.contract, "nonce": request.nonce, "recipe": request.recipe}
    if request.sub_shard is not None:
        content["sub_shard"] = request.sub_shard
    return Digest.of(encode(content)).hex


def part_of(request: JobRequest, contract: Contract) -> SubShard | None:
    """Return the sub-shard that a request asks for, as its contract counts them; None for a contract without any.

    Raises:
        ContractProblemError: the request names one and the contract has none, or the other way round, or no such one.
    """
    index, count = request.sub_shard, contract.limits.sub_shards
    if index is None and count is None:
        return None
    if index is None or count is None or not 0 <= index < count:
        raise ContractProblemError(
            f"contract {contract.uid} divides the records over {count or 1} sub-shards, asked for was {index}"
        )
    return SubShard(index=index, count=count)


def short_id(job: str) -> str:
    """Return the first 12 digits of a job's id, by which people name it."""
    return job[:12]


def ensure_job(request: JobRequest, desk: JobDesk) -> JobReport:
    """Return where the requested job stands, after adding it to the queue if it is new and permitted.

    A refusal is not kept: the same request is judged afresh once a contract has been signed.
    """
    problem = _malformed(request)
    if problem:
        return JobReport(state=JobState.REFUSED, detail=problem)
    known = desk.jobs.get(job_id(request))
    if known is not None:
        return known.report
    now = desk.clock()
    try:
        part_of(request, permit(request.contract, desk.sides, desk.contracts, now, recipe=request.recipe))
    except ContractProblemError as error:
        return JobReport(state=JobState.REFUSED, detail=str(error))
    if desk.recipes.get(request.recipe) is None:
        return JobReport(state=JobState.REFUSED, detail=f"recipe {request.recipe} is not held here")
    agreed = desk.consent.standing(request.recipe)
    if agreed is False:
        return JobReport(state=JobState.REFUSED, detail=refused(request.recipe))
    report = (
        JobReport(state=JobState.QUEUED, detail="waiting for the daemon's worker")
        if agreed
        else JobReport(state=JobState.UNAPPROVED, detail=not_decided(request.recipe))
    )
    job = Job(
        id=job_id(request), request=request, seed=desk.draw_seed(), report=report, created=now, updated=now,
    )  # fmt: skip
    return desk.jobs.add(job).report


def halt_job(request: JobRequest, desk: JobDesk) -> JobReport:
    """End a job that the coordinator does not want any more, and return where it stands: its worker ends by itself.

    Nothing new is taken on for it, and a job that is final stays as it is.
    """
    if problem := _malformed(request):
        return JobReport(state=JobState.REFUSED, detail=problem)
    known = desk.jobs.get(job_id(request))
    if known is None:
        return JobReport(state=JobState.REFUSED, detail="no such job here")
    ended = JobReport(state=JobState.FAILED, detail="ended by the coordinator: its shard is not wanted any more")
    try:
        desk.jobs.record(known.id, ended, desk.clock())
    except JobStateError:  # it was final, or became so just now
        known = desk.jobs.get(known.id)
        return ended if known is None else known.report
    return ended


def remaining_s(job: Job, at: datetime) -> float | None:
    """Return how many seconds of training are left at its pace so far, or None while that cannot be told."""
    report = job.report
    if report.state is not JobState.TRAINING or job.started is None or report.step < 1:
        return None
    done_s = max(0.0, (job.updated - job.started).total_seconds())
    since_s = max(0.0, (at - job.updated).total_seconds())
    return max(0.0, done_s / report.step * (report.steps - report.step) - since_s)


def time_left(seconds: float) -> str:
    """Return a time in words, rounded as estimates are."""
    if seconds < 60:
        return f"about {round(seconds)} s left"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"


def describe(job: Job, at: datetime) -> str:
    """Return one line for people about where a job stands."""
    report = job.report
    part = "" if job.request.sub_shard is None else f" (sub-shard {job.request.sub_shard})"
    line = f"job {job.id[:12]}{part}: {report.state}"
    if report.steps:
        line += f", step {report.step} of {report.steps}"
    left_s = remaining_s(job, at)
    if left_s is not None:
        line += f", {time_left(left_s)}"
    return f"{line} ({report.detail})" if report.detail else line


def _malformed(request: JobRequest) -> str:
    """Return what is wrong with the form of a request, or nothing."""
    if len(request.task) > MAX_TASK or not _PRINTABLE.fullmatch(request.task):
        return f"task: not at most {MAX_TASK} printable characters"
    if not _NONCE.fullmatch(request.nonce):
        return "nonce: not 64 hex digits"
    for name, value in (("contract", request.contract), ("recipe", request.recipe)):
        if not _DIGEST.fullmatch(value):
            return f"{name}: not sha256: and 64 hex digits"
    return ""
