"""`journal show | verify | restore`: the record of what left this machine, and whether it is whole."""

from pathlib import Path
from typing import Annotated

import typer

from severable_client.adapters.cli.options import (
    DEFAULT_HOME,
    Format,
    FormatOption,
    HomeOption,
    YesOption,
    write_json,
    write_table,
)
from severable_client.adapters.journal import read_journal
from severable_client.bootstrap import now, open_home
from severable_client.journal import Head, head_of, require_head
from severable_client.ports import JournalEntry, JournalKind

app = typer.Typer(no_args_is_help=True)

HeadOption = Annotated[
    str, typer.Option("--head", metavar="N:HASH", help="A head that you noted earlier; it must still be in there.")
]


@app.command(epilog="Example: severable-client journal show --format json")
def show(home: HomeOption = DEFAULT_HOME, how: FormatOption = Format.TEXT) -> None:
    """Show every entry: what left this machine, and what its owner decided."""
    links = open_home(home).journal.links()
    if how is Format.JSON:
        rows = [(link, link.entry) for link in links]
        write_json([
            {
                "number": link.number, "at": entry.at.isoformat(), "kind": entry.kind.value, "what": entry.what,
                "of": entry.subject, "bytes": entry.bytes, "previous": link.previous, "hash": link.hash,
            }
            for link, entry in rows
        ])  # fmt: skip
        return
    write_table(
        [
            {
                "number": str(link.number), "when": f"{link.entry.at:%Y-%m-%d %H:%M:%S}", "kind": link.entry.kind.value,
                "what": link.entry.what, "of": link.entry.subject[:24], "bytes": str(link.entry.bytes),
                "hash": link.hash[:16],
            }
            for link in links
        ],
        "nothing yet",
    )  # fmt: skip


@app.command(epilog="Example: severable-client journal verify --head 12:5f0c...")
def verify(
    head: HeadOption = "",
    file: Annotated[
        Path | None, typer.Option("--file", help="Verify this copy of a journal.jsonl alone; no home is needed.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    how: FormatOption = Format.TEXT,
) -> None:
    """Check offline that no entry was altered, removed, added, moved or cut off; shows the head.

    The home's file is compared with its database. Note the head somewhere else now and then, and give it with --head:
    whoever rewrites both cannot rewrite your note.
    """
    noted = Head.parse(head) if head else None
    if file is None:
        found = open_home(home).journal.verify(noted)
    else:
        links = read_journal(file)
        if noted is not None:
            require_head(links, noted, str(file))
        found = head_of(links)
    if how is Format.JSON:
        write_json({"entries": found.number if found else 0, "head": str(found) if found else None})
        return
    typer.echo(f"the journal holds; {found.number if found else 0} entries, head {found or 'none'}")


@app.command(epilog="Example: severable-client journal restore")
def restore(yes: YesOption = False, home: HomeOption = DEFAULT_HOME) -> None:
    """Write journal.jsonl anew from the database, where the file was lost or damaged; the old one is kept beside it."""
    journal = open_home(home).journal
    if not yes:
        typer.confirm("write journal.jsonl anew from the database? Compare both with a backup first", abort=True)
    kept = journal.restore()
    entry = JournalEntry(at=now(), what="journal file restored", subject="journal", bytes=0, kind=JournalKind.DECIDED)
    journal.note(entry)
    typer.echo(f"restored from the database; {f'the old file is {kept}' if kept else 'there was no file'}")
