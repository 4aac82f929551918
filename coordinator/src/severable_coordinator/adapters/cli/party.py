"""`party`: inviting, letting in, certifying, revoking, seeing out, listing."""

import base64
from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.authority import fingerprint
from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.adapters.cli.removals import said
from severable_coordinator.adapters.disk import write_private
from severable_coordinator.bootstrap import open_home
from severable_coordinator.errors import RefusedError
from severable_trust import canonical
from severable_trust.instant import format_instant
from severable_trust.roster import Roster
from severable_trust.statement import open_statement

app = typer.Typer(no_args_is_help=True)

_MIN_KEY_DIGITS = 8


@app.command(epilog="Example: severable-coordinator party invite hospital-a --out hospital-a.invite")
def invite(
    name: Annotated[str, typer.Argument(help="The party's id: lower-case letters, digits, hyphens.")],
    out: Annotated[Path | None, typer.Option(help="Write the invite to this file instead of printing it.")] = None,
    approved: Annotated[
        bool, typer.Option("--approved", help="Let whoever brings it in at once, without `party approve`.")
    ] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Make a one-time invite for a data owner, valid for a day. Hand it over by a channel you trust."""
    coordinator = open_home(home)
    token, expires = coordinator.enrolment.invite(name, approved=approved)
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


@app.command(epilog="Example: severable-coordinator party approve hospital-a")
def approve(
    name: Annotated[str, typer.Argument(help="The party's id, as `party list` shows it.")],
    key: Annotated[str, typer.Option(help="Refuse unless its statement key begins so (8 digits or more).")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Let a party in that used its invite: into the roster and Flower, with a certificate. Compare its key first."""
    coordinator = open_home(home)
    facts = coordinator.enrolment.application(name).facts
    key_id = facts.statement_key.key_id
    if key and (len(key) < _MIN_KEY_DIGITS or not key_id.startswith(key.lower())):
        raise RefusedError(f"{name} sent statement key {key_id}, which does not begin with {key!r}: do not let it in")
    if not yes and not key:
        print(f"{name} calls itself {facts.legal_name!r}; its statement key is\n  {key_id}")
        typer.confirm("did its administrator read this key to you?", abort=True)
    roster = open_statement(coordinator.enrolment.approve(name), Roster, [coordinator.logbook.key]).value
    print(f"{name} is let in; the roster is now version {roster.version}; its `join` goes on by itself")


@app.command(epilog="Example: severable-coordinator party decline hospital-a")
def decline(
    name: Annotated[str, typer.Argument(help="The party's id, as `party list` shows it.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Turn a party away that waits to join. Its invite is used up; make a new one if it was a mistake."""
    open_home(home).enrolment.decline(name)
    print(f"{name} is turned away")


@app.command(epilog="Example: severable-coordinator party certify hospital-a hospital-a.csr --out hospital-a.crt")
def certify(
    name: Annotated[str, typer.Argument(help="The party's id; the request's own subject is ignored.")],
    request: Annotated[Path, typer.Argument(help="The request that the owner sent (PEM).", exists=True)],
    out: Annotated[Path, typer.Option(help="Where to write the certificate, to send back to the owner.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Answer an owner's certificate request by hand: when its certificate has expired. Know whom you answer."""
    certificate = open_home(home).enrolment.renew(name, request.read_bytes()[:65536])
    write_private(out, certificate)
    print(f"certificate for {name}: {out}; the owner runs `severable-client certificate install`")


@app.command(epilog="Example: severable-coordinator party revoke hospital-a --yes")
def revoke(
    name: Annotated[str, typer.Argument(help="The party's id, as `party list` shows it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Refuse a party's keys and certificates from now on, for good: after a lost or stolen key."""
    coordinator = open_home(home)
    coordinator.parties.party(name)
    if not yes:
        typer.confirm(f"revoke {name} for good? What it signed before stays valid", abort=True)
    version = open_statement(coordinator.standing.revoke(name), Roster, [coordinator.logbook.key]).value.version
    print(f"{name} is revoked; the roster is now version {version}")
    print(
        f"its contracts are on hold; whether its shards go, you decide: `remove order {name} --reason-code key-revoked`"
    )


@app.command("exit", epilog="Example: severable-coordinator party exit hospital-a --yes")
def see_out(
    name: Annotated[str, typer.Argument(help="The party's id, as `party list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why, in words; the party reads them.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """See a party out: its contract is terminated, its shards removed; then its keys, node and invites are revoked."""
    coordinator = open_home(home)
    coordinator.parties.party(name)
    if not yes:
        typer.confirm(f"end the contract of {name}, remove its shards and revoke it for good?", abort=True)
    record = coordinator.exits.ask(name, reason)
    if record is None:
        print(f"{name} has left: certificates, roster entry, Flower node and invites are revoked")
        return
    said(coordinator, record)
    print(f"once it is fulfilled, `up` revokes {name}'s certificates, roster entry, Flower node and invites")


@app.command("list", epilog="Example: severable-coordinator party list --format json")
def list_parties(how: As = Format.TEXT, home: Home = DEFAULT_HOME) -> None:
    """List the parties that have joined, and those that wait to."""
    parties = open_home(home).parties
    rows: list[dict[str, object]] = [
        {
            "party": party.id,
            "legal_name": party.legal_name,
            "status": party.status,
            "statement_key": party.statement_key.key_id[:16],
        }
        for party in parties.parties()
    ]
    rows += [
        {
            "party": waiting.party,
            "legal_name": waiting.facts.legal_name,
            "status": "waiting for `party approve`",
            "statement_key": waiting.facts.statement_key.key_id[:16],
        }
        for waiting in parties.applications()
        if waiting.approved is None
    ]
    listing(rows, how, "nobody has joined; invite someone with `party invite NAME`")
