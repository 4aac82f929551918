"""`router build`, `assemble` and `sample`."""

from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_GROUP, DEFAULT_HOME, Group, Home
from severable_coordinator.adapters.cli.output import ProgressLines
from severable_coordinator.bootstrap import open_home

router_app = typer.Typer(no_args_is_help=True)


@router_app.callback()
def _router() -> None:
    """Keeps `build` a subcommand while it is the only one."""


@router_app.command("build", epilog="Example: severable-coordinator router build --group licensees")
def build_router(group: Group = DEFAULT_GROUP, home: Home = DEFAULT_HOME) -> None:
    """Draw the banks that are missing and build the router of a group's shards; a built one is kept."""
    coordinator = open_home(home)
    members = coordinator.building.members(group)
    coordinator.building.router(members, ProgressLines())
    print(f"router of {len(members.shards)} shards is built: {', '.join(shard.party for shard in members.shards)}")


def assemble(
    group: Group = DEFAULT_GROUP,
    out: Annotated[Path | None, typer.Option(help="Copy the composite's directory here, for its recipient.")] = None,
    recipient: Annotated[
        str, typer.Option(help="Whom the copy is for, as recalls will name it; the group if left out.")
    ] = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Assemble the composite that a group may hold now, and sign its manifest.

    Example: severable-coordinator assemble --group licensees --out ./composite --recipient museum
    """
    coordinator = open_home(home)
    record, directory = coordinator.building.assemble(group, ProgressLines())
    print(f"composite {record.id} of {len(record.members)} shards")
    print(directory if out is None else coordinator.exporting.export(record, out, recipient))


def sample(
    out: Annotated[Path, typer.Option(help="Directory for grid.png, weights.png and attribution.json.")],
    images: Annotated[int, typer.Option(min=1, max=4096, help="How many images.")] = 24,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    group: Group = DEFAULT_GROUP,
    home: Home = DEFAULT_HOME,
) -> None:
    """Sample a group's live composite: a grid labelled with attribution, and the router's weights as a plot.

    Example: severable-coordinator sample --group licensees --images 24 --out ./samples
    """
    inference = open_home(home).inference
    for path in inference.sample(group, out, images=images, seed=seed, progress=ProgressLines()):
        print(path)
