"""`doctor`: what would keep this home from working, one line each, with what to do."""

import typer

from severable_client.adapters.checkup import Finding, examine
from severable_client.adapters.cli.options import DEFAULT_HOME, Format, FormatOption, HomeOption, write_json
from severable_client.bootstrap import open_home

EXAMPLE = "Example: severable-client doctor --home ~/severable"


def doctor(home: HomeOption = DEFAULT_HOME, how: FormatOption = Format.TEXT) -> None:
    """Check home, keys, images, coordinator, certificate, clock and disk; exits 1 if anything fails."""
    findings: list[Finding] = []
    for finding in examine(open_home(home)):
        findings.append(finding)
        if how is Format.TEXT:
            typer.echo(f"{'ok  ' if finding.well else 'FAIL'}  {finding.what}: {finding.line}")
    if how is Format.JSON:
        write_json([{"check": f.what, "ok": f.well, "detail": f.line} for f in findings])
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)
