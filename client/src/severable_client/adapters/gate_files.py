"""The gate's report in a job's folder: gate.json with the figures, gate.html with the pictures too.

Both are for the owner. Nothing of them is sent; the page holds training images. Only the worker imports this (torch,
matplotlib); `severable-client report` reads the json.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from severable_client.adapters.files import write_whole
from severable_client.adapters.gate_page import page
from severable_client.adapters.gate_report import FORMAT, JSON, PAGE
from severable_client.inspection import Evidence, Inspected
from severable_client.jobs import short_id
from severable_client.ports import Job
from severable_diffusion.memorization import RATIO
from severable_diffusion.memorization_pictures import BINS, histogram

_PRIVATE = 0o600
_DIGITS = 6  # of a figure in the report


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """Whose gate it is.

    Attributes:
        job: the job.
        party: who trains.
        recipe: the recipe's name.
        manual: whether the owner decides about what passes.
        at: when (UTC).
    """

    job: Job
    party: str
    recipe: str
    manual: bool
    at: datetime


def write_report(folder: Path, heading: Heading, inspected: Inspected) -> None:
    """Write both files, readable by the owner alone.

    Raises:
        StorageError: the disk is full or refuses.
    """
    facts = report(heading, inspected)
    write_whole(folder / JSON, (json.dumps(facts, indent=2) + "\n").encode(), _PRIVATE)
    write_whole(folder / PAGE, page(facts, inspected.evidence).encode(), _PRIVATE)


def report(heading: Heading, inspected: Inspected) -> dict[str, Any]:
    """Return the report as JSON values."""
    asked = heading.job.request
    facts = inspected.facts
    return {
        "format": FORMAT,
        "at": heading.at.isoformat(),
        "job": heading.job.id,
        "name": short_id(heading.job.id),
        "task": asked.task,
        "party": heading.party,
        "contract": asked.contract,
        "recipe": asked.recipe,
        "recipe_name": heading.recipe,
        "passed": inspected.passed,
        "release": "manual" if heading.manual else "automatic",
        "trained": facts is not None,
        "rules": [
            {
                "rule": check.rule,
                "measured": check.measured,
                "limit": check.limit,
                "holds": check.holds,
                "problem": check.problem,
            }
            for check in inspected.checks
        ],
        "memorization": None if inspected.evidence is None else _memorization(inspected.evidence),
        "privacy": None if facts is None or facts.privacy is None else asdict(facts.privacy),
        "files": [
            {"name": file.name, "bytes": file.size, "digest": str(file.digest)}
            for file in (facts.files if facts else ())
        ],
    }


def _memorization(evidence: Evidence) -> dict[str, Any]:
    ratio_N = evidence.ratio_N
    return {
        "samples": len(ratio_N),
        "copies": int(evidence.copied_N.sum()),
        "share": evidence.share,
        "copy_below_ratio": round(RATIO, _DIGITS),
        "smallest_ratio": round(float(ratio_N.min()), _DIGITS),
        "median_ratio": round(float(ratio_N.median()), _DIGITS),
        "histogram_bins_of_0_to_1": BINS,
        "histogram": histogram(ratio_N),
    }
