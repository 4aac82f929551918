"""`receipt`: hand the receipt of a removal to whoever is to check it."""

from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, Home
from severable_coordinator.bootstrap import open_home
from severable_coordinator.errors import ConflictError, NotFoundError
from severable_trust.bundle import verify_receipt

EXAMPLE = "Example: severable-coordinator receipt hospital-a --out receipt.json"


def receipt(
    party: Annotated[str, typer.Argument(help="The party whose removal it is.")],
    out: Annotated[Path, typer.Option(help="Where to write the receipt's bundle; it must not exist.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Write the receipt of a party's newest removal, with the log proof that most parties have cosigned so far."""
    coordinator = open_home(home)
    done = [r for r in coordinator.removals.removals() if r.party == party and r.bundle]
    if not done:
        raise NotFoundError(f"no removal of {party} has a receipt; see `remove --list`")
    if out.exists():
        raise ConflictError(f"{out}: exists already; choose another file")
    bundle = coordinator.requests.receipt(done[-1])
    verified = verify_receipt(bundle, coordinator.trust_root)  # nothing is handed out that would be refused
    out.write_bytes(bundle)
    names = ", ".join(name for name, _ in verified.cosigners) or "nobody yet"
    print(f"receipt {verified.receipt.value.receipt_id} of {party}: {out}; cosigned by {names}")
    print(f"to check it: severable-verify receipt {out.name} --trust-root {coordinator.layout.trust_root.name}")
