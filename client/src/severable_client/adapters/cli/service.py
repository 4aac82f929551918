"""`up` and `status`: the daemon, and what it is at."""

import os
import sys
from datetime import datetime

import typer

from severable_client.adapters.cli.gate import report_page
from severable_client.adapters.cli.options import (
    DEFAULT_HOME,
    Format,
    FormatOption,
    HomeOption,
    short,
    write_json,
    write_table,
)
from severable_client.adapters.daemon import Daemon
from severable_client.adapters.daemon_log import DaemonLog
from severable_client.adapters.lock import holder
from severable_client.adapters.reloading import discretion
from severable_client.adapters.service_manager import ServiceManager
from severable_client.bootstrap import Home, now, open_home
from severable_client.errors import ClientError
from severable_client.jobs import describe, remaining_s
from severable_client.journal import head_of
from severable_client.ports import JobState, JournalKind
from severable_client.removal import Removal, fetch_receipt, read_receipt
from severable_trust.removal import RECORDS

UP_EXAMPLE = "Example: severable-client up --home ~/severable"
STATUS_EXAMPLE = "Example: severable-client status --format json"
RECEIPT_TIMEOUT_S = 3.0


def up(home: HomeOption = DEFAULT_HOME) -> None:
    """Run this owner's daemon in the foreground: the Flower node, its executor, and training when it is asked for.

    SIGTERM and Ctrl-C drain it, a second one ends it at once; SIGHUP reads config.yaml again.
    """
    opened = open_home(home)
    log = DaemonLog(opened.layout.logs, _say, discretion(opened))
    Daemon(opened, log, ServiceManager(os.environ, os.getpid())).run()


def _say(line: str) -> None:
    sys.stdout.write(f"{now():%H:%M:%S} {line}\n")
    sys.stdout.flush()


def status(home: HomeOption = DEFAULT_HOME, how: FormatOption = Format.TEXT) -> None:
    """Show whether the daemon runs, contracts, jobs, removals, and everything that has left this machine."""
    opened = open_home(home)
    removals = tuple(_with_receipt(removal, opened) for removal in opened.removals.all())
    if how is Format.JSON:
        write_json(_facts(opened, removals))
        return
    daemon = holder(opened.layout.lock)
    running = f"the daemon runs (process {daemon})" if daemon is not None else "no daemon runs; start it with `up`"
    typer.echo(f"{opened.config.party} ({opened.config.legal_name}): {running}")
    typer.echo("\ncontracts")
    rows = [{"id": short(record.id), "state": record.state.value} for record in opened.contracts.all()]
    write_table(rows, "  none; see `severable-client contract review`")
    typer.echo("\njobs")
    for job in opened.jobs.all():
        typer.echo(f"  {_when(job.created)} {describe(job, now())}")
        if (page := report_page(opened, job)) is not None:
            typer.echo(f"    report: {page}")
        if job.report.state is JobState.UNRELEASED:
            name = short(job.id)
            typer.echo(f"    decide: severable-client release {name}, or withhold {name} --reason '...'")
    for removal in removals:
        typer.echo(f"\n{_removal_line(removal, opened)}")
    typer.echo("\nwhat left this machine")
    links = opened.journal.links()
    entries = [
        {"when": _when(entry.at), "what": entry.what, "of": entry.subject[:24], "bytes": str(entry.bytes)}
        for entry in (link.entry for link in links)
        if entry.kind is JournalKind.SENT
    ]
    write_table(entries, "  nothing")
    typer.echo(f"\njournal's head: {head_of(links) or 'no entry'}")


def _with_receipt(removal: Removal, home: Home) -> Removal:
    """Ask for an outstanding receipt, but do not wait long for it."""
    if removal.ended or not removal.acknowledgement:
        return removal
    try:
        with home.exchange(RECEIPT_TIMEOUT_S) as exchange:
            return fetch_receipt(removal, exchange, home.removals, home.trust_root)
    except ClientError as error:
        typer.echo(f"severable-client: {error}", err=True)
        return removal


def _removal_line(removal: Removal, home: Home) -> str:
    path = home.layout.removals / removal.id.hex / "receipt.json"
    if removal.receipt:
        receipt = read_receipt(removal.receipt, home.trust_root)
        issued = _when(receipt.receipt.value.issued)
        return (
            f"removal {short(str(removal.id))}: {receipt.receipt.value.outcome}, receipt of {issued} verified: {path}"
        )
    if (refusal := removal.refusal) is not None:
        decided = f"{refusal.reason_code.state} on {_when(refusal.decided)}: {refusal.reason_code}, {refusal.reason}"
        return f"removal {short(str(removal.id))}: {decided}; {path.with_name('denial.dsse.json')}"
    answer = removal.answer
    if answer is None:
        again = "the daemon asks again" if removal.says.clause == RECORDS else "run `contract terminate` again"
        return f"removal {short(str(removal.id))}: no answer came; {again}"
    return f"removal {short(str(removal.id))}: acknowledged, receipt expected by {_when(answer.expected_completion)}"


def _facts(home: Home, removals: tuple[Removal, ...]) -> dict[str, object]:
    links = home.journal.links()
    head = head_of(links)
    return {
        "party": home.config.party,
        "daemon": holder(home.layout.lock),
        "contracts": [{"id": record.id, "state": record.state.value} for record in home.contracts.all()],
        "jobs": [
            {
                "id": job.id,
                "task": job.request.task,
                "contract": job.request.contract,
                "sub_shard": job.request.sub_shard,
                "state": job.report.state.value,
                "step": job.report.step,
                "steps": job.report.steps,
                "remaining_s": remaining_s(job, now()),
                "detail": job.report.detail,
                "report": None if (page := report_page(home, job)) is None else str(page),
            }
            for job in home.jobs.all()
        ],
        "removals": [
            {
                "request": str(removal.id),
                "contract": str(removal.says.contract),
                "acknowledged": bool(removal.acknowledgement),
                "receipt": str(home.layout.removals / removal.id.hex / "receipt.json") if removal.receipt else None,
                "denied": None if (refusal := removal.refusal) is None else f"{refusal.reason_code}: {refusal.reason}",
            }
            for removal in removals
        ],
        "left_this_machine": [
            {"at": entry.at.isoformat(), "what": entry.what, "of": entry.subject, "bytes": entry.bytes}
            for entry in (link.entry for link in links)
            if entry.kind is JournalKind.SENT
        ],
        "journal_head": None if head is None else str(head),
    }


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
