"""`party invite` and `party list`."""

import base64
from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.authority import fingerprint
from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.adapters.vault import write_private
from severable_coordinator.bootstrap import open_home
from severable_trust import canonical
from severable_trust.instant import format_instant

app = typer.Typer(no_args_is_help=True)


@app.command(epilog="Example: severable-coordinator party invite hospital-a --out hospital-a.invite")
def invite(
    name: Annotated[str, typer.Argument(help="The party's id: lower-case letters, digits, hyphens.")],
    out: Annotated[Path | None, typer.Option(help="Write the invite to this file instead of printing it.")] = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Make a one-time invite for a data owner, valid for a day. Hand it over by a channel you trust."""
    coordinator = open_home(home)
    token, expires = coordinator.enrolment.invite(name)
    body = {
        "format": "severable-invite/v1",
        "party": name,
        "coordinator": coordinator.config.enrolment_address,
        "ca_pem": coordinator.authority.certificate.decode(),
        "token": token,
        "expires": format_instant(expires),
    }
    text = "severable-invite-v1." + base64.urlsafe_b64encode(canonical.encode(body)).decode().rstrip("=")
    if out is None:
        print(text)
        return
    write_private(out, (text + "\n").encode())
    print(f"invite for {name}: {out}, until {expires:%Y-%m-%d %H:%M} UTC")
    print(f"tell {name} this fingerprint by another channel: {fingerprint(coordinator.authority.certificate)}")


@app.command("list", epilog="Example: severable-coordinator party list --format json")
def list_parties(how: As = Format.TEXT, home: Home = DEFAULT_HOME) -> None:
    """List the parties that have joined."""
    rows: list[dict[str, object]] = [
        {
            "party": party.id,
            "legal_name": party.legal_name,
            "status": party.status,
            "statement_key": party.statement_key.key_id[:16],
        }
        for party in open_home(home).parties.parties()
    ]
    listing(rows, how, "nobody has joined; invite someone with `party invite NAME`")
