"""`data check`: what a data folder holds, and what must be mended before anything is trained on it."""

from pathlib import Path
from typing import Annotated

import typer

from severable_client.adapters.cli.options import DEFAULT_HOME, Format, FormatOption, HomeOption, write_json
from severable_client.adapters.cli.progress import Progress
from severable_client.adapters.contact_sheet import ContactSheet
from severable_client.adapters.data_check import check as look_at
from severable_client.adapters.data_folder import open_source
from severable_client.adapters.salt import data_salt
from severable_client.bootstrap import open_home
from severable_client.catalogue import EVERYTHING
from severable_client.data_report import as_plain, as_text
from severable_client.erasure import Remaining
from severable_client.errors import HomeError
from severable_client.home import Layout
from severable_trust.terms import MAX_SUB_SHARDS

app = typer.Typer(no_args_is_help=True)


@app.callback()
def data() -> None:
    """Look at the images before they are trained on."""


@app.command(epilog="Example: severable-client data check ~/images --sheet sheet.png")
def check(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="The folder of images; default: the home's.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Write a contact sheet (PNG): a few images of each class.")
    ] = None,
    sub_shards: Annotated[
        int | None,
        typer.Option(
            "--sub-shards", min=2, max=MAX_SUB_SHARDS, help="Tell how many images each of so many would hold."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    how: FormatOption = Format.TEXT,
) -> None:
    """Look at every image: counts, sizes, modes, duplicates, what must be mended, and the digest that claims carry.

    Nothing is changed and nothing is sent. Exits 1 if something must be mended; duplicates are only told. A folder can
    be checked without a home too, before joining; it then has no digest. Records that were erased are left out.
    """
    layout = Layout(home.expanduser().absolute())
    opened = open_home(home) if folder is None or layout.config.exists() else None
    looked = folder.expanduser() if folder is not None else Path(opened.config.data if opened else "")
    gathered, progress = (ContactSheet() if sheet is not None else None), Progress("looked at")
    salt = data_salt(opened.layout) if opened else None
    if salt is None and sub_shards is not None:
        raise HomeError("--sub-shards: a home's secret says which record goes where; join first")
    choice = Remaining(salt, opened.erased.all()) if opened and salt is not None else EVERYTHING
    source = open_source(looked, choice)
    report = look_at(source, str(looked), salt, progress, gathered, sub_shards=sub_shards or 0)
    progress.end()
    if gathered is not None and sheet is not None:
        gathered.save(sheet.expanduser())
    if how is Format.JSON:
        write_json(as_plain(report) | {"sheet": None if sheet is None else str(sheet)})
    else:
        for line in as_text(report):
            typer.echo(line)
        if sheet is not None:
            typer.echo(f"contact sheet: {sheet}; it shows images of yours, keep it as you keep them")
    if not report.well:
        raise typer.Exit(1)
