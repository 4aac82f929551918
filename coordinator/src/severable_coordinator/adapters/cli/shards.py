"""`shards list`, `shards export` and `shards import`."""

from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.adapters.handover_out import SOMEBODY, export_shards
from severable_coordinator.bootstrap import import_shards, open_home
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified

app = typer.Typer(no_args_is_help=True)


@app.command("list", epilog="Example: severable-coordinator shards list --format json")
def list_shards(how: As = Format.TEXT, home: Home = DEFAULT_HOME) -> None:
    """List shards, also withdrawn ones and the tombstones of erased ones."""
    rows: list[dict[str, object]] = []
    for shard in open_home(home).shards.shards(None):
        claim = read_unverified(shard.claim, ShardClaim) if shard.claim else None
        rows.append(
            {
                "party": shard.party,
                "state": shard.state.value,
                "sub_shard": claim.sub_shard.index if claim and claim.sub_shard else "",
                "images": claim.images if claim else "",
                "steps": claim.steps if claim else "",
                "admitted": f"{shard.admitted:%Y-%m-%d %H:%M}",
                "id": str(shard.id),
            }
        )
    listing(rows, how, "no shard yet; start a training batch with `train`")


@app.command(epilog="Example: severable-coordinator shards export --out ./handover")
def export(
    out: Annotated[Path, typer.Option(help="A new directory for the shards with all that proves them.")],
    recipient: Annotated[str, typer.Option(help="Whom they are for, as recalls will name it.")] = SOMEBODY,
    home: Home = DEFAULT_HOME,
) -> None:
    """Export the live shards whose contracts permit distribution, for another coordinator to import."""
    for folder in export_shards(open_home(home), out, recipient):
        print(f"{folder}: {out / folder}")


@app.command("import", epilog="Example: severable-coordinator shards import ./handover --trust-root trust-root.json")
def import_(
    directory: Annotated[Path, typer.Argument(help="What `shards export` wrote.")],
    trust_root: Annotated[Path, typer.Option(help="The exporting coordinator's trust root.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Import shards of another coordinator: verified like an upload, against its roster and contracts."""
    for shard in import_shards(open_home(home), directory, trust_root):
        print(f"{shard.party}: shard {shard.id}")
