"""`report`, `release` and `withhold`: what the gate saw of a shard, and the owner's word on it."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from severable_client.adapters.cli.options import DEFAULT_HOME, Format, FormatOption, HomeOption, short, write_json
from severable_client.adapters.gate_report import PAGE, lines, read_report
from severable_client.adapters.held_shard import held_claim
from severable_client.bootstrap import Home, now, open_home
from severable_client.errors import JobStateError
from severable_client.ports import Job, JobState
from severable_client.release import Decision, find_job
from severable_client.release import release as let_go
from severable_client.release import withhold as keep_back

REPORT_EXAMPLE = "Example: severable-client report 3f2a9c --format json"
RELEASE_EXAMPLE = "Example: severable-client release 3f2a9c"
WITHHOLD_EXAMPLE = "Example: severable-client withhold 3f2a9c --reason 'two faces can be told'"

JobArgument = Annotated[
    str,
    typer.Argument(metavar="[JOB]", help="The job's id or its first digits; may be left out if only one job waits."),
]


def report(job: JobArgument = "", home: HomeOption = DEFAULT_HOME, how: FormatOption = Format.TEXT) -> None:
    """Show what the outgoing gate saw of a job's shard: every rule, what was measured, the limit."""
    opened = open_home(home)
    found = find_job(job, opened.jobs.all())
    said = read_report(opened.layout.jobs / found.id)
    if said is None:
        raise JobStateError(f"job {short(found.id)} is {found.report.state} and has not come to its gate")
    decisions = opened.release_desk.decisions.of(found.id)
    page = report_page(opened, found)
    if how is Format.JSON:
        decided = [_row(decision) for decision in decisions]
        write_json(said | {"state": found.report.state.value, "decisions": decided, "page": page and str(page)})
        return
    for line in lines(said):
        typer.echo(line)
    typer.echo(f"\njob {short(found.id)} is {found.report.state}")
    for decision in decisions:
        reason = f": {decision.reason}" if decision.reason else ""
        typer.echo(f"{decision.verb} at {decision.at:%Y-%m-%d %H:%M:%S} UTC{reason}")
    typer.echo(f"with pictures: {page}")


def release(job: JobArgument = "", home: HomeOption = DEFAULT_HOME, how: FormatOption = Format.TEXT) -> None:
    """Let a shard leave that waits for release. It is sent as soon as the daemon runs."""
    opened = open_home(home)
    found = find_job(job, opened.jobs.all())
    decision = let_go(found, _shard(opened, found), opened.release_desk)
    if how is Format.JSON:
        write_json(_row(decision))
        return
    typer.echo(f"job {short(found.id)} is released; the daemon (`severable-client up`) sends shard {decision.shard}")


def withhold(
    reason: Annotated[str, typer.Option("--reason", help="One line for this machine's journal; it is not sent.")],
    job: JobArgument = "",
    home: HomeOption = DEFAULT_HOME,
    how: FormatOption = Format.TEXT,
) -> None:
    """Keep a shard at home that waits for release, for good. The coordinator learns that, and not why."""
    opened = open_home(home)
    found = find_job(job, opened.jobs.all())
    decision = keep_back(found, _shard(opened, found), reason, opened.release_desk)
    if how is Format.JSON:
        write_json(_row(decision))
        return
    typer.echo(f"job {short(found.id)} is withheld; shard {decision.shard} stays on this machine")


def report_page(home: Home, job: Job) -> Path | None:
    """Return where a job's gate report is, or None."""
    page = home.layout.jobs / job.id / PAGE
    return page if page.is_file() else None


def _shard(home: Home, job: Job) -> str:
    """Return the shard that is decided about; one that is whole no more is trained again, and its job waits again."""
    claim = held_claim(home.layout.jobs / job.id, home.sides.own)
    if claim is not None:
        return str(claim.id)
    told = f"job {short(job.id)} holds no whole shard"
    if job.report.state is not JobState.UNRELEASED:
        raise JobStateError(f"{told}; it is {job.report.state}")
    again = replace(job.report, state=JobState.QUEUED, detail="a file of the shard changed; it is trained again")
    home.jobs.record(job.id, again, now())
    raise JobStateError(f"{told}: a file changed since the gate; the daemon trains it again, then it waits again")


def _row(decision: Decision) -> dict[str, str]:
    return {
        "decision": decision.verb.value,
        "shard": decision.shard,
        "reason": decision.reason,
        "at": decision.at.isoformat(),
    }
