"""`prove`: build from scratch what a removal left, as if the shards had never been there, and compare file by file."""

import json
import sys
from typing import Annotated, Any, TextIO

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import ProgressLines
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.errors import ConflictError, NotFoundError
from severable_coordinator.ports import RemovalRecord
from severable_coordinator.receipts import quality_line
from severable_trust import canonical
from severable_trust.instant import format_instant

EXAMPLE = "Example: severable-coordinator prove hospital-a"


def prove(
    removal: Annotated[str, typer.Argument(help="The party, or the beginning of the request's id.")],
    how: As = Format.TEXT,
    home: Home = DEFAULT_HOME,
) -> None:
    """Build the composites that a removal left from scratch, in a fresh folder, and compare every file's digest.

    What the removal changed for the others' data is measured too, where nobody did yet. The first proof of a removal is
    kept with its steps. One that was made before the receipt (`remove --prove`) is also in the receipt.
    """
    coordinator = open_home(home)
    record = _removal(coordinator, removal)
    if "rebuild" not in coordinator.removals.steps(record.request):
        raise ConflictError(f"the removal of {record.party} has not rebuilt anything yet; `remove` goes on with it")
    told = coordinator.removal.prove_later(record, ProgressLines())
    facts = told | {"done": format_instant(coordinator.clock())}
    coordinator.removals.finish_step(record.request, "prove", canonical.encode(facts))
    print_proof(told, how)


def print_proof(told: dict[str, Any], how: Format, to: TextIO | None = None) -> None:
    """Print what a proof found. ConflictError, after that, when something differs or could not be compared."""
    out = sys.stdout if to is None else to
    if how is Format.JSON:
        print(json.dumps(told, indent=2), file=out)
    for one in told["composites"] if how is Format.TEXT else ():
        what = f"composite of {one['group']} {one['composite'][:19]}"
        if "not_proven" in one:
            print(f"{what}: not compared, {one['not_proven']}", file=out)
        elif one["differing"]:
            print(f"{what}: built from scratch it differs in {', '.join(one['differing'])}", file=out)
        else:
            print(f"{what}: all {one['files']} files equal those built from scratch without the shards", file=out)
    for one in told.get("quality", []) if how is Format.TEXT else ():
        said = f"not measured, {one['not_measured']}" if "not_measured" in one else quality_line(one)
        print(f"what changed for the others in the composite of {one['group']}: {said}", file=out)
    if not told["equal"]:
        raise ConflictError(
            "the proof failed: a composite is not the one that is built from scratch without the shards; "
            "compare `environment` in --format json first"
        )


def _removal(coordinator: Coordinator, asked: str) -> RemovalRecord:
    known = coordinator.removals.removals()
    found = [one for one in known if one.party == asked or (len(asked) > 7 and str(one.request).startswith(asked))]
    if not found:
        raise NotFoundError(f"no removal of {asked} is known; `remove --list` shows all")
    return found[-1]
