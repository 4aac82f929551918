"""The command tree, and the one place where an error becomes a line on stderr and an exit code."""

import sys

import typer

from severable_client.adapters.cli import (
    approval,
    certificate,
    contract,
    data,
    doctor,
    enrolment,
    erase,
    gate,
    journal,
    key,
    service,
)
from severable_client.errors import ClientError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train a shard on your own images, under a contract you signed. Images never leave this machine.",
    epilog="Begin with: severable-client join invite.txt --data ~/images",
)
app.command("join", epilog=enrolment.EXAMPLE)(enrolment.join)
app.add_typer(contract.app, name="contract", help="Review, sign, list and terminate contracts.")
app.command("approve", epilog=approval.APPROVE_EXAMPLE)(approval.approve)
app.command("refuse", epilog=approval.REFUSE_EXAMPLE)(approval.refuse)
app.command("approvals", epilog=approval.APPROVALS_EXAMPLE)(approval.approvals)
app.command("up", epilog=service.UP_EXAMPLE)(service.up)
app.command("status", epilog=service.STATUS_EXAMPLE)(service.status)
app.add_typer(data.app, name="data", help="Look at the images before they are trained on.")
app.command("erase", epilog=erase.EXAMPLE)(erase.erase)
app.command("report", epilog=gate.REPORT_EXAMPLE)(gate.report)
app.command("release", epilog=gate.RELEASE_EXAMPLE)(gate.release)
app.command("withhold", epilog=gate.WITHHOLD_EXAMPLE)(gate.withhold)
app.add_typer(certificate.app, name="certificate", help="Renew the TLS certificate by hand.")
app.add_typer(key.app, name="key", help="Show or replace the statement key.")
app.add_typer(journal.app, name="journal", help="Show and verify the record of everything that left this machine.")
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.doctor)


def main() -> None:
    """Run the command line; exits 0, 1 on a refusal or failure (one line on stderr), 2 on wrong usage."""
    try:
        app()
    except ClientError as error:
        sys.exit(f"severable-client: {error}")
    except KeyboardInterrupt:
        sys.exit("severable-client: interrupted")
