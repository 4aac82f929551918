"""The ClientApp: a coordinator's message becomes a job request, the desk's report becomes the reply.

It answers in milliseconds: jobs belong to the daemon, and "train" means "make sure that this job exists, tell me its
state". A query of the same form means that the job is not wanted any more. Everything in a message is the coordinator's
word and untrusted; here it is checked for form, at the desk against the contracts.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from severable_client import bootstrap
from severable_client.ports import JobReport, JobRequest, JobState
from severable_trust.terms import MAX_SUB_SHARDS

HOME_VARIABLE = "SEVERABLE_HOME"
JOB_RECORD = "job"  # request: task, nonce, contract, recipe; sub_shard under a contract that divides the records
SUB_SHARD = "sub_shard"
REPORT_RECORD = "report"  # answer: state, step, steps, detail

Desk = Callable[[JobRequest], JobReport]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FORMS = {
    "task": re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"),
    "nonce": re.compile(r"[0-9a-f]{64}"),
    "contract": _DIGEST,
    "recipe": _DIGEST,
}


def make_app(desk: Desk, halt: Desk | None = None) -> ClientApp:
    """Return a ClientApp that hands every well-formed request to the desk and refuses every other.

    Args:
        desk: makes sure that a job exists.
        halt: ends one; where it is left out, none is ended by a message.
    """
    made = ClientApp()

    @made.train()
    def train(message: Message, _context: Context) -> Message:
        return _answer(message, desk)

    @made.query()
    def stop(message: Message, _context: Context) -> Message:
        return _answer(message, halt or _halts_nothing)

    return made


def _answer(message: Message, desk: Desk) -> Message:
    try:
        report = desk(read_request(message.content))
    except ValueError as error:
        report = JobReport(state=JobState.REFUSED, step=0, steps=0, detail=str(error))
    return Message(RecordDict({REPORT_RECORD: _record(report)}), reply_to=message)


def _halts_nothing(_request: JobRequest) -> JobReport:
    return JobReport(state=JobState.REFUSED, detail="no job is ended by a message here")


def read_request(content: RecordDict) -> JobRequest:
    """Read a job request out of a message.

    Raises:
        ValueError: the message is not exactly one record of the four fields, with a sub-shard or without, or a field
            has another form.
    """
    if set(content) != {JOB_RECORD} or set(content.config_records) != {JOB_RECORD}:
        raise ValueError(f"message must hold the record {JOB_RECORD!r} and nothing else")
    record = content.config_records[JOB_RECORD]
    if set(record) - {SUB_SHARD} != set(_FORMS):
        raise ValueError(f"message must name exactly {', '.join(_FORMS)}, and may name {SUB_SHARD}")
    fields = {name: _checked(name, record[name]) for name in _FORMS}
    return JobRequest(**fields, sub_shard=_index(record[SUB_SHARD]) if SUB_SHARD in record else None)


def _index(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_SUB_SHARDS:
        raise ValueError(f"message field {SUB_SHARD!r} has the wrong form")
    return value


def _checked(name: str, value: object) -> str:
    if not isinstance(value, str) or not _FORMS[name].fullmatch(value):
        raise ValueError(f"message field {name!r} has the wrong form")
    return value


def _record(report: JobReport) -> ConfigRecord:
    return ConfigRecord(
        {"state": str(report.state), "step": report.step, "steps": report.steps, "detail": report.detail},
    )


def _installed_desk(request: JobRequest) -> JobReport:
    return bootstrap.job_desk(Path(os.environ[HOME_VARIABLE]))(request)


def _installed_halt(request: JobRequest) -> JobReport:
    return bootstrap.job_halt(Path(os.environ[HOME_VARIABLE]))(request)


app = make_app(_installed_desk, _installed_halt)
