"""What the finished steps of a removal recorded: read without the libraries that carry a removal out."""

from typing import Any

from severable_coordinator.errors import ConflictError
from severable_coordinator.ports import RemovalRecord, RemovalStore
from severable_trust import canonical

TOLD = "notices"  # a step after the removal's own: both sides' notices are written down

Facts = dict[str, Any]


def facts_of(removals: RemovalStore, record: RemovalRecord, step: str) -> Facts:
    """The facts of a finished step.

    Raises:
        KeyError: the step is not finished.
        ConflictError: what the database holds is no object.
    """
    value = canonical.decode(removals.steps(record.request)[step], f"facts of {step}")
    if not isinstance(value, dict):
        raise ConflictError(f"facts of step {step} of removal {record.request} are not an object")
    return value
