"""`doctor`: what is and is not working, one line each, with what to do."""

import typer

from severable_client.adapters.checkup import Finding, examine
from severable_client.adapters.cli.options import DEFAULT_HOME, Format, FormatOption, HomeOption, write_json
from severable_client.bootstrap import open_home

EXAMPLE = "Example: severable-client doctor --home ~/severable"


def doctor(home: HomeOption = DEFAULT_HOME, how: FormatOption = Format.TEXT) -> None:
    """Check home, keys, contracts, images, disk, coordinator, ports, clock, torch, GPU and memory.

    Exits 0 if all is well, else with the number of the first check that fails: 10 home, 11 keys, 12 journal,
    13 certificate, 14 contracts, 15 images, 16 disk, 17 coordinator, 18 fleet port, 19 clock, 20 log, 21 torch,
    22 images for a recipe, 23 memory for a recipe. 1 means that the checks could not begin.
    """
    findings: list[Finding] = []
    for finding in examine(open_home(home)):
        findings.append(finding)
        if how is Format.TEXT:
            typer.echo(f"{'ok  ' if finding.well else 'FAIL'}  {finding.what}: {finding.line}")
            if not finding.well:
                typer.echo(f"      to do: {finding.remedy} (exit code {finding.code})")
    if how is Format.JSON:
        write_json([
            {"check": f.what, "code": f.code, "ok": f.well, "detail": f.line, "remedy": f.remedy} for f in findings
        ])  # fmt: skip
    failed = [finding.code for finding in findings if not finding.well]
    if failed:
        raise typer.Exit(failed[0])
