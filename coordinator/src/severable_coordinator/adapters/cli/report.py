"""`report`: one page for people about one removal."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, Home
from severable_coordinator.adapters.cli.output import ProgressLines
from severable_coordinator.adapters.new_file import write_new_file
from severable_coordinator.adapters.print_page import find_browser, print_page
from severable_coordinator.adapters.removal_page import Picture, page
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.errors import ConfigError, ConflictError, CoordinatorError
from severable_trust.errors import ContractError

EXAMPLE = "Example: severable-coordinator report hospital-a --out removal.html --pdf removal.pdf"
_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_PICTURE = 16 << 20  # bytes
_SEED = 0


def report(
    removal: Annotated[str, typer.Argument(help="A party, for its newest removal; or the request's id, or beginning.")],
    out: Annotated[Path, typer.Option(help="A new HTML file.")] = Path("removal.html"),
    pdf: Annotated[Path | None, typer.Option(help="A new PDF file too, printed by a browser of this machine.")] = None,
    images: Annotated[
        int, typer.Option(min=0, max=96, help="Samples to draw from each rebuilt composite; they count in the ledger.")
    ] = 16,
    before: Annotated[
        Path | None,
        typer.Option(help="A picture (PNG) from before that you kept; it may show what the removed shard made."),
    ] = None,
    names: Annotated[
        bool, typer.Option("--name-recipients", help="Name recipients of copies, for your own use only.")
    ] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Write one self-contained page: what was asked, what was done when, samples, digests, residual, how to verify."""
    coordinator = open_home(home)
    record = coordinator.reporting.find(removal)
    for path in (out, pdf):
        if path is not None and os.path.lexists(path):
            raise ConflictError(f"{path}: exists already and is left as it is; choose another name")
    browser = "" if pdf is None else find_browser()  # first: nothing is written where the PDF cannot be
    pictures = [] if before is None else [_kept(before)]
    facts = coordinator.reporting.facts(record, named=names)
    pictures += _drawn(coordinator, facts, images) if images else []
    text = page(facts, pictures)
    write_new_file(out, text.encode("utf-8"))
    print(out)
    if pdf is not None:
        print_page(browser, text, pdf)
        print(pdf)


def _kept(path: Path) -> Picture:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_PICTURE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a PNG, or leave --before out") from error
    if not data.startswith(_PNG) or len(data) > _MAX_PICTURE:
        raise ConfigError(f"{path}: is no PNG of at most {_MAX_PICTURE >> 20} MiB; give the grid.png of a `sample`")
    return Picture(data, "before the removal, kept by the operator: may show images that the removed shard made")


def _drawn(coordinator: Coordinator, facts: dict[str, Any], images: int) -> list[Picture]:
    """Samples of the composites that the removal built, where they are in use still and may be drawn from."""
    pictures = []
    for change in facts["composites"]:
        group, after = change["group"], change["after"]
        live = {composite.group: str(composite.id) for composite in coordinator.composites.composites()}
        if not after or live.get(group) != after:
            continue
        with tempfile.TemporaryDirectory(prefix="severable-report-") as scratch:
            try:
                drawn = coordinator.inference.sample(
                    group, Path(scratch) / "grid", images=images, seed=_SEED, progress=ProgressLines()
                )
            except (CoordinatorError, ContractError) as error:
                print(f"no picture of {group}: {error}", file=sys.stderr)
                continue
            caption = f"after the removal: {images} samples of {group}'s composite {after[:19]}, seed {_SEED}"
            pictures.append(Picture(drawn[0].read_bytes(), caption))
    return pictures
