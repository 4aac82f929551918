"""How long routers and assemblies took, noted beside what they made: a removal's cost is told from past builds.

A note lies in the set's compartment, under the set's key, and goes with it.
"""

from severable_coordinator.errors import NotFoundError, StorageError
from severable_coordinator.vault_port import Files
from severable_trust import canonical

ROUTER, ASSEMBLY = "router", "assembly"
_FILE = "built.json"


def note_time(vault: Files, compartment: str, what: str, seconds: float) -> None:
    """Note the seconds that `ROUTER` or `ASSEMBLY` of a set took, in place of an earlier note."""
    told = noted_times(vault, compartment) | {what: seconds}
    milliseconds = {name: round(1000.0 * one) for name, one in told.items()}
    vault.write(compartment, _FILE, iter([canonical.encode(milliseconds)]))


def noted_times(vault: Files, compartment: str) -> dict[str, float]:
    """Seconds by name, of what a set's compartment has a note; empty where there is none that can be read."""
    try:
        value = canonical.decode(vault.read(compartment, _FILE), _FILE)
    except (NotFoundError, StorageError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: float(one) / 1000.0 for name, one in value.items() if isinstance(one, int | float)}
