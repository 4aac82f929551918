"""`log` and `log export`: what is in the log, and all of it as one file for an auditor."""

from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.adapters.new_file import write_new_file
from severable_coordinator.bootstrap import open_home
from severable_coordinator.log_export import bundle_of

app = typer.Typer()


@app.callback(invoke_without_command=True)
def log(
    context: typer.Context,
    checkpoint: Annotated[bool, typer.Option("--checkpoint", help="Print the newest signed checkpoint only.")] = False,
    how: As = Format.TEXT,
    home: Home = DEFAULT_HOME,
) -> None:
    """List the log's entries: kind and digest of every statement, and whether its body is still held.

    Example: severable-coordinator log --format json
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    kept = open_home(home).log
    if checkpoint:
        print(kept.checkpoint()[1], end="")
        return
    rows: list[dict[str, object]] = [
        {
            "index": index,
            "kind": entry.kind.value,
            "body": "held" if held else "erased",
            "statement": str(entry.statement),
        }
        for index, entry, held in kept.entries()
    ]
    listing(rows, how, "the log is empty")


@app.command(epilog="Example: severable-coordinator log export --out log.json")
def export(
    out: Annotated[Path, typer.Option(help="A new file for the whole log.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Write the whole log to one file that an auditor verifies offline: every entry, every statement still held."""
    coordinator = open_home(home)
    bundle = bundle_of(coordinator.log)
    data = bundle.to_bytes()
    write_new_file(out, data)
    verify = f"severable-verify log {out} --trust-root {coordinator.layout.trust_root}"
    print(f"{out}: {len(bundle.entries)} entries, {len(data)} bytes; verify it with: {verify}")


def _refuse_options(context: typer.Context) -> None:
    """`log --home X export` would otherwise export another home than the one it names."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter("options of `log export` stand after `export`")
