"""`recall list`, `show`, `export` and `acknowledge`: what was asked back, and what the recipients answered."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.adapters.new_file import write_new_file
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.errors import ConfigError
from severable_coordinator.recalls import RecallRecord, Standing
from severable_trust.canonical import MAX_BYTES
from severable_trust.instant import format_instant
from severable_trust.recall import Answer, RecallAnswer
from severable_trust.recall_bundle import verify_recall

app = typer.Typer(no_args_is_help=True)
RecallId = Annotated[str, typer.Argument(metavar="RECALL", help="The recall's id, or its beginning.")]


@app.command("list", epilog="Example: severable-coordinator recall list --overdue --format json")
def list_recalls(
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those whose answer is overdue.")] = False,
    how: As = Format.TEXT,
    home: Home = DEFAULT_HOME,
) -> None:
    """List recalls and where they stand now; one without an answer is overdue for ever."""
    coordinator = open_home(home)
    now = coordinator.clock()
    shown = coordinator.recalling.overdue(now) if overdue else coordinator.recalls.recalls()
    empty = "no recall is overdue" if overdue else "nothing was recalled; a removal recalls what was handed out"
    listing([_row(coordinator, record, now) for record in shown], how, empty)


@app.command(epilog="Example: severable-coordinator recall show sha256:3f2a")
def show(recall: RecallId, how: As = Format.TEXT, home: Home = DEFAULT_HOME) -> None:
    """Show one recall with the newest answer to it."""
    coordinator = open_home(home)
    record = coordinator.recalling.find(recall)
    facts = _facts(coordinator, record)
    if how is Format.JSON:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        print(f"{name.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else value}")


@app.command(epilog="Example: severable-coordinator recall export sha256:3f2a --out museum.recall.json")
def export(
    recall: RecallId,
    out: Annotated[Path, typer.Option(help="A new file for the recipient.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Write a recall to a file that its recipient verifies offline. Beside a composite it keeps that from loading."""
    coordinator = open_home(home)
    record = coordinator.recalling.find(recall)
    bundle = coordinator.recalling.bundle(record)
    verify_recall(bundle, coordinator.trust_root)  # nothing is handed out that would be refused
    write_new_file(out, bundle)
    print(f"recall for {record.said.recipient}: {out}")
    print(f"to check it: severable-verify recall {out.name} --trust-root {coordinator.layout.trust_root.name}")


@app.command(epilog="Example: severable-coordinator recall acknowledge sha256:3f2a --file answer.json")
def acknowledge(
    recall: RecallId,
    file: Annotated[Path | None, typer.Option(help="The answer that the recipient signed.")] = None,
    answer: Annotated[Answer | None, typer.Option(help="Or what it said, where it has no key on record.")] = None,
    said_by: Annotated[str, typer.Option(help="Who at the recipient said so.")] = "",
    on: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"], help="When it was said (UTC); now if left out."),
    ] = None,
    note: Annotated[str, typer.Option(help="A line about it.")] = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Take a recipient's answer: the file that it signed, or what somebody there said and when."""
    coordinator = open_home(home)
    record = coordinator.recalling.find(recall)
    if file is not None and answer is None and not (said_by or note or on):
        said = coordinator.recalling.take_answer(record, _read(file))
    elif file is None and answer is not None:
        at = coordinator.clock() if on is None else on.replace(tzinfo=UTC)
        said = coordinator.recalling.enter_answer(record, answer, said_by, at, note)
    else:
        raise ConfigError("give --file with the signed answer, or --answer with --said-by, and --on and --note with it")
    print(f"{said.recipient} answered {said.answer.value!r} on {said.answered:%Y-%m-%d %H:%M} UTC; it is in the log")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the recipient's answer") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: longer than {MAX_BYTES} bytes, which no answer is")
    return data


def _row(coordinator: Coordinator, record: RecallRecord, now: datetime) -> dict[str, object]:
    said, standing = record.said, record.standing(now)
    late = f" by {(now - said.answer_by).days} days" if standing is Standing.OVERDUE else ""
    return {
        "recipient": said.recipient,
        "standing": f"{standing}{late}",
        "what": said.artifact.value,
        "recalled": str(said.recalled)[:19],
        "issued": f"{said.issued:%Y-%m-%d %H:%M}",
        "answer_by": f"{said.answer_by:%Y-%m-%d %H:%M}",
        "answer": _answer(record.answered),
        "signs": "yes" if coordinator.recalling.key_of(said.recipient) else "no key on record",
        "id": str(record.id),
    }


def _answer(said: RecallAnswer | None) -> str:
    return "" if said is None else said.answer.value


def _facts(coordinator: Coordinator, record: RecallRecord) -> dict[str, object]:
    said, answer = record.said, record.answered
    facts: dict[str, object] = {
        "recall": str(record.id),
        "standing": record.standing(coordinator.clock()).value,
        "recipient": said.recipient,
        "recalled": f"{said.artifact} {said.recalled}",
        "replacement": str(said.replacement) if said.replacement else "none",
        "removal": str(said.removal),
        "removed_shards": [str(shard) for shard in said.shards],
        "exported": format_instant(said.exported),
        "issued": format_instant(said.issued),
        "answer_by": format_instant(said.answer_by),
        "answer": _answer(answer) or "none",
    }
    if answer is not None:
        by = f"{answer.said_by}, entered by the operator" if answer.said_by else "the recipient's own key"
        facts |= {"answered": format_instant(answer.answered), "signed_by": by, "note": answer.note}
    return facts
