"""The command tree, and the one place where an error becomes a line on stderr and an exit code."""

import sys

import typer

from severable_coordinator.adapters.cli import (
    backup,
    build,
    certificate,
    contract,
    evaluate,
    ledger,
    log,
    notices,
    party,
    prove,
    readiness,
    recall,
    receipt,
    recipient,
    removals,
    report,
    serve,
    shards,
    train,
)
from severable_coordinator.errors import CoordinatorError
from severable_trust.errors import TrustError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Composite diffusion models whose parts can be removed, and proved removed: the coordinator's side.",
    epilog="Begin with: severable-coordinator init --home ./coordinator --id federation",
)
app.command("init")(serve.init)
app.command("up")(serve.up)
app.command("status")(serve.status)
app.add_typer(party.app, name="party", help="Invite data owners, let them in, revoke and list them.")
app.add_typer(contract.app, name="contract", help="Offer contracts and list them.")
app.command("train")(train.train)
app.add_typer(shards.app, name="shards", help="List, export and import admitted shards.")
app.add_typer(build.router_app, name="router", help="Build the router of a group's shards.")
app.command("assemble")(build.assemble)
app.command("sample")(build.sample)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("ledger", epilog=ledger.EXAMPLE)(ledger.ledger)
app.command("readiness", epilog=readiness.EXAMPLE)(readiness.readiness)
app.add_typer(removals.app, name="remove", help=removals.HELP, epilog=removals.GROUP_EXAMPLE)
app.command("removals", epilog=removals.EXAMPLE)(removals.removals)
app.command("prove", epilog=prove.EXAMPLE)(prove.prove)
app.command("notices", epilog=notices.EXAMPLE)(notices.notices)
app.command("receipt", epilog=receipt.EXAMPLE)(receipt.receipt)
app.command("report", epilog=report.EXAMPLE)(report.report)
app.add_typer(recall.app, name="recall", help="List, show and export recalls, and take answers to them.")
app.add_typer(recipient.app, name="recipient", help="Who is handed copies, and what they were handed.")
app.command("backup", epilog=backup.BACKUP_EXAMPLE)(backup.backup)
app.command("restore", epilog=backup.RESTORE_EXAMPLE)(backup.restore)
app.command("keys-backups")(backup.keys_backups)
app.add_typer(log.app, name="log")
app.add_typer(certificate.app, name="certificate", help="Renew the servers' certificate.")


def main() -> None:
    """Run the command line; exits 0, 1 on a refusal or failure (one line on stderr), 2 on wrong usage."""
    try:
        app()
    except (CoordinatorError, TrustError) as error:
        sys.exit(f"severable-coordinator: {error}")
    except KeyboardInterrupt:
        sys.exit("severable-coordinator: interrupted; what was finished is kept, run the command again to go on")
