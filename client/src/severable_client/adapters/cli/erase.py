"""`erase`: records that are never read again; the sub-shards that held them are withdrawn and trained anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from severable_client.adapters.cli.options import (
    DEFAULT_HOME,
    Format,
    FormatOption,
    HomeOption,
    YesOption,
    short,
    write_json,
)
from severable_client.adapters.record_search import Found, count_remaining, find_records, read_list
from severable_client.adapters.salt import data_salt
from severable_client.adapters.upkeep import settle_erasures
from severable_client.bootstrap import Home, now, open_home
from severable_client.catalogue import place
from severable_client.errors import DataFolderError, UnreachableError
from severable_client.ports import ContractRecord, JournalEntry, JournalKind
from severable_trust.contract import Contract, ContractState
from severable_trust.digest import Digest
from severable_trust.statement import read_unverified

EXAMPLE = "Example: severable-client erase patient-0042 --dry-run"
_STANDING = frozenset({ContractState.SIGNED, ContractState.ACTIVE, ContractState.SUSPENDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an erasure means for one contract in force.

    Attributes:
        contract: its id.
        count: over how many sub-shards it divides the records.
        least: fewest images that a shard may be trained on.
        remaining: images of each sub-shard that held a record that was not erased before, without it.
        images: images that remain in all of them.
        shards: admitted shards that are asked back.
    """

    contract: str
    count: int
    least: int
    remaining: dict[int, int]
    images: int
    shards: tuple[Digest, ...]

    @property
    def retrained(self) -> int:
        """How many images are trained on anew."""
        return sum(self.remaining.values())

    @property
    def share(self) -> float:
        """Their share of all images, 0 to 1."""
        return self.retrained / self.images if self.images else 0.0


def erase(
    records: Annotated[
        list[str] | None, typer.Argument(metavar="[RECORD]...", help="Record ids, or files of the data folder.")
    ] = None,
    listed: Annotated[Path | None, typer.Option("--file", help="A file that names records, one a line.")] = None,
    gone: Annotated[
        bool, typer.Option("--gone", help="Take ids that the data folder does not have: their images went before.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be trained anew.")] = False,
    home: HomeOption = DEFAULT_HOME,
    yes: YesOption = False,
    how: FormatOption = Format.TEXT,
) -> None:
    """Erase records for good: no training, check or digest reads them again, and shards trained on them are replaced.

    The images themselves are yours to delete; their files are listed. Said again for the same records it changes
    nothing. Without the coordinator the request waits, and the daemon sends it.
    """
    given = [*(records or []), *(read_list(listed) if listed is not None else [])]
    if not given:
        raise DataFolderError("no record is named; give record ids or files, or --file LIST")
    opened = open_home(home)
    salt, before, folder = data_salt(opened.layout), opened.erased.all(), Path(opened.config.data)
    found = find_records(folder, given, salt, before, gone=gone)
    effects = _effects(opened, salt, found)
    if dry_run:
        _tell(found, effects, how, dry_run=True, asked=None)
        return
    if not yes:
        _tell(found, effects, Format.TEXT, dry_run=True, asked=None)
        typer.confirm(f"Erase {len(found.hashes)} records? This cannot be taken back.", abort=True)
    new = opened.erased.add(found.hashes)  # from here on nothing reads them
    opened.journal.note(_entry(new, effects))
    opened.traces.forget_images()
    opened.erasures.sweep()
    _tell(found, effects, how, dry_run=False, asked=_ask(opened))


def _effects(home: Home, salt: bytes, found: Found) -> list[Effect]:
    before = home.erased.all()
    known = frozenset(before)
    new = [hashed for hashed in found.hashes if hashed not in known]
    to_withdraw = {record.id: shards for record, shards in home.erasures.to_withdraw(new)}
    standing = [record for record in home.contracts.all() if record.state in _STANDING]
    return [_effect(home, salt, before, new, record, to_withdraw.get(record.id, ())) for record in standing]


def _effect(
    home: Home,
    salt: bytes,
    before: Sequence[bytes],
    new: Sequence[bytes],
    record: ContractRecord,
    shards: tuple[Digest, ...],
) -> Effect:
    limits = read_unverified(record.envelope, Contract).limits  # verified when it was received
    sizes = count_remaining(Path(home.config.data), salt, (*before, *new), limits.shards)
    held = sorted({place(hashed, limits.shards) for hashed in new})
    return Effect(
        contract=record.id,
        count=limits.shards,
        least=limits.min_images,
        remaining={index: sizes[index] for index in held},
        images=sizes.total(),
        shards=shards,
    )


def _entry(new: int, effects: Sequence[Effect]) -> JournalEntry:
    """What the journal says: numbers and ids of contracts, nothing that names a record."""
    parts = "; ".join(f"{len(e.remaining)} of {e.count} sub-shards of contract {short(e.contract)}" for e in effects)
    subject = parts or "no contract in force"
    return JournalEntry(at=now(), what=f"records erased: {new}", subject=subject, bytes=0, kind=JournalKind.DECIDED)


def _ask(home: Home) -> bool | None:
    """Ask the coordinator for what is to be replaced; None where nothing is, False where it does not answer now."""
    if not home.erasures.to_withdraw() and not home.erasures.unanswered():
        return None
    try:
        with home.exchange() as exchange:
            settle_erasures(home, exchange)
    except UnreachableError as error:
        typer.echo(f"severable-client: {error}; the request is kept, and `up` sends it", err=True)
        return False
    return True


def _tell(found: Found, effects: Sequence[Effect], how: Format, *, dry_run: bool, asked: bool | None) -> None:
    if how is Format.JSON:
        write_json(_plain(found, effects, dry_run=dry_run, asked=asked))
        return
    verb = "would be" if dry_run else "are"
    typer.echo(f"{len(found.hashes)} records {verb} erased: they are never read again")
    if not effects:
        typer.echo("no contract is in force: nothing is trained anew")
    for effect in effects:
        for line in _lines(effect, verb):
            typer.echo(line)
    if asked:
        typer.echo("the coordinator has the request; the receipt comes with `severable-client status`")
    typer.echo(f"their {len(found.places)} images are still there; delete them, and their rows in the metadata:")
    for where in found.places:
        typer.echo(f"  {where}")


def _lines(effect: Effect, verb: str) -> list[str]:
    if not effect.remaining and not effect.shards:
        return [f"contract {short(effect.contract)}: nothing more is trained anew, they were erased before"]
    named = ", ".join(map(str, effect.remaining))
    what = f"sub-shards {named} of {effect.count} (counted from 0)" if effect.count > 1 else "the shard"
    images = f"{effect.retrained:,} of {effect.images:,} images ({effect.share:.1%})"
    lines = [f"contract {short(effect.contract)}: {what} {verb} trained anew, {images}"]
    lines += [f"  shard {shard} {verb} withdrawn and replaced" for shard in effect.shards]
    lines += ["  no admitted shard held them" for _ in range(not effect.shards)]
    few = {index: images for index, images in effect.remaining.items() if images < effect.least}
    return lines + [
        f"  sub-shard {index} keeps {left} images, fewer than the {effect.least} of the contract: it is not replaced"
        for index, left in few.items()
    ]


def _plain(found: Found, effects: Sequence[Effect], *, dry_run: bool, asked: bool | None) -> dict[str, Any]:
    return {
        "records": len(found.hashes),
        "erased": not dry_run,
        "contracts": [
            {
                "contract": effect.contract,
                "sub_shards": effect.count,
                "retrained": list(effect.remaining),
                "images": effect.retrained,
                "of_images": effect.images,
                "share": effect.share,
                "shards": [str(shard) for shard in effect.shards],
            }
            for effect in effects
        ],
        "asked_coordinator": asked,
        "files_to_delete": list(found.places),
    }
