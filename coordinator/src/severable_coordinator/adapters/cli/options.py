"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How a listing is written."""

    TEXT = "text"
    JSON = "json"


Home = Annotated[
    Path,
    typer.Option(
        "--home", envvar="SEVERABLE_COORDINATOR_HOME", help="The coordinator's home directory.", show_default=True
    ),
]
As = Annotated[Format, typer.Option("--format", help="How to write it.")]
Group = Annotated[str, typer.Option("--group", help="The access group that will hold the composite.")]

DEFAULT_HOME = Path("coordinator")
DEFAULT_GROUP = "licensees"
