"""The log as one file for an auditor: the bundle of docs/formats/log-bundle.md, of one moment."""

from severable_coordinator.errors import NotFoundError
from severable_coordinator.log_port import Log
from severable_trust.entry import LoggedStatement
from severable_trust.envelope import Envelope
from severable_trust.log_bundle import LogBundle
from severable_trust.statement import Kind


def bundle_of(log: Log) -> LogBundle:
    """The whole log: newest checkpoint with its cosignatures, newest roster, every entry and the bodies still held.

    Raises:
        NotFoundError: no roster is in the log yet, or its body is not held.
        MalformedError: a stored body is not an envelope.
    """
    note, entries = log.snapshot()
    logged = tuple(LoggedStatement(entry, None if body is None else Envelope.parse(body)) for entry, body in entries)
    rosters = [item.envelope for item in logged if item.entry.kind is Kind.ROSTER]
    if not rosters or rosters[-1] is None:
        raise NotFoundError(
            "the log holds no newest roster, which says whose the keys are; start `up` once to issue it"
        )
    return LogBundle(checkpoint=note, roster=rosters[-1], entries=logged)
