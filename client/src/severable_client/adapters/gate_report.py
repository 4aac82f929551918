"""gate.json as it is read back: checked for its form, and put into lines for people. No torch here."""

import json
from pathlib import Path
from typing import Any

from severable_client.adapters.files import storage
from severable_client.errors import StorageError

FORMAT = "severable-gate-report/v1"
JSON, PAGE = "gate.json", "gate.html"


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return the report in a job's folder; None where the job has not come to its gate.

    Raises:
        StorageError: the file cannot be read, or is none of this version's.
    """
    path = folder / JSON
    if not path.is_file():
        return None
    with storage(f"{path} cannot be read"):
        data = path.read_bytes()
    try:
        found = json.loads(data)
    except ValueError as error:
        raise StorageError(f"{path} is not JSON; the worker writes it anew when the job is trained again") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise StorageError(f"{path} is not a {FORMAT}; read it with the version that wrote it")
    return found


def lines(report: dict[str, Any]) -> list[str]:
    """Return a report as lines: the verdict, every rule, and what would leave or left."""
    said = [f"gate of job {report['name']}, {report['at']}: {'passed' if report['passed'] else 'REFUSED'}", ""]
    for rule in report["rules"]:
        mark = "ok  " if rule["holds"] else "FAIL"
        said.append(f"  {mark}  {rule['rule']}: {rule['measured']} (allowed: {rule['limit']})")
        if rule["problem"]:
            said.append(f"        {rule['problem']}")
    if not report["trained"]:
        said.append("  nothing was trained, so the other rules could not be looked at")
    seen = report["memorization"]
    if seen is not None:
        ratios = f"smallest ratio {seen['smallest_ratio']:.3f}, median {seen['median_ratio']:.3f}"
        said += ["", f"  {seen['copies']} of {seen['samples']} samples count as copies (below 1/3); {ratios}"]
    if report["files"]:
        said += ["", "  files"]
        said += [f"    {file['name']}  {file['bytes']:,} bytes  {file['digest']}" for file in report["files"]]
    return said
