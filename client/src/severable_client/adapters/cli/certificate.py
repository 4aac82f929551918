"""`certificate renew`, `request` and `install`: the TLS certificate by hand, where the daemon did not renew it."""

from pathlib import Path
from typing import Annotated

import typer

from severable_client.adapters import renewal
from severable_client.adapters.cli.options import DEFAULT_HOME, HomeOption
from severable_client.adapters.files import storage, write_whole
from severable_client.adapters.keys import certificate_request
from severable_client.bootstrap import open_home

app = typer.Typer(no_args_is_help=True)

_MAX_BYTES = 65536


@app.command(epilog="Example: severable-client certificate renew")
def renew(home: HomeOption = DEFAULT_HOME) -> None:
    """Renew the TLS certificate now. The daemon does it by itself after a third of the term."""
    opened = open_home(home)
    with opened.exchange() as exchange:
        ends = renewal.renew(opened.layout, opened.config.party, exchange)
    print(f"renewed; valid until {ends:%Y-%m-%d %H:%M} UTC")


@app.command(epilog="Example: severable-client certificate request --out hospital-a.csr")
def request(
    out: Annotated[Path, typer.Option(help="Where to write the request (PEM; it holds nothing secret).")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Write a request for a new certificate, to send to the coordinator when the present one has expired."""
    opened = open_home(home)
    write_whole(out, certificate_request(opened.layout, opened.config.party))
    print(f"wrote {out}; the coordinator answers it with `severable-coordinator party certify {opened.config.party}`")


@app.command(epilog="Example: severable-client certificate install hospital-a.crt")
def install(
    certificate: Annotated[Path, typer.Argument(help="The certificate that came back (PEM).")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Put a certificate in place that the coordinator issued for this home's key."""
    opened = open_home(home)
    with storage(f"{certificate} cannot be read"), certificate.open("rb") as stream:
        pem = stream.read(_MAX_BYTES)
    ends = renewal.install(opened.layout, pem)
    print(f"installed; valid until {ends:%Y-%m-%d %H:%M} UTC")
