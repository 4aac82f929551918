"""`certificate renew`: the servers' own certificate, by hand."""

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, Home
from severable_coordinator.adapters.server_certificate import keep_current
from severable_coordinator.bootstrap import open_home

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _certificate() -> None:
    """Renew the servers' certificate by hand; `up` does it by itself after a third of its term."""


@app.command(epilog="Example: severable-coordinator certificate renew --home ./coordinator")
def renew(home: Home = DEFAULT_HOME) -> None:
    """Renew the servers' certificate now, over the same key: after the host's name has changed, say."""
    coordinator = open_home(home)
    keep_current(coordinator, anyway=True)
    print("renewed for 90 days; a running `up` shows it at the next connection, Flower's port when `up` starts again")
