"""`severable-verify recall`: check a recall offline, and sign the answer to it."""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from severable_trust.canonical import MAX_BYTES
from severable_trust.cli_files import read_file
from severable_trust.errors import MalformedError
from severable_trust.instant import format_instant
from severable_trust.keys import PemSigner
from severable_trust.recall import Answer, RecallAnswer
from severable_trust.recall_bundle import MAX_RECALL, VerifiedRecall, require_answer_to, verify_recall
from severable_trust.statement import sign_statement
from severable_trust.trust_root import TrustRoot

EXAMPLE = (
    "severable-verify recall recall.json --trust-root trust-root.json --answer erased --key licensee.pem --out "
    "answer.json"
)


def add_recall_options(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    command.add_argument("file", type=Path, metavar="FILE", help="the recall that the coordinator sent")
    command.add_argument(
        "--answer", choices=[answer.value for answer in Answer], help="once the recall is verified, sign this answer"
    )
    command.add_argument("--key", type=Path, metavar="FILE", help="your private key (PEM), for --answer")
    command.add_argument("--out", type=Path, metavar="FILE", help="a new file for the signed answer, for --answer")
    command.add_argument("--note", default="", help="a line to the coordinator, with --answer")


def run_recall(options: argparse.Namespace) -> dict[str, Any]:
    """Verify a recall, sign the answer if one is given, and return what to print. TrustError, OSError."""
    given = [options.answer is not None, options.key is not None, options.out is not None]
    if any(given) and not all(given):
        raise MalformedError("--answer, --key and --out belong together: give all three, or none to verify only")
    root = TrustRoot.parse(read_file(options.trust_root, MAX_BYTES))
    verified = verify_recall(read_file(options.file, MAX_RECALL), root)
    report = recall_report(verified)
    if all(given):
        _sign(verified, options)
        report["answer"] = f"{options.answer}, signed into {options.out}; send it to {verified.recall.value.publisher}"
    return report


def recall_report(verified: VerifiedRecall) -> dict[str, Any]:
    """A verified recall as a JSON object."""
    recall = verified.recall.value
    return {
        "verified": "recall",
        "statement": str(verified.recall.id),
        "publisher": recall.publisher,
        "recipient": recall.recipient,
        "recalled": f"{recall.artifact} {recall.recalled}",
        "replacement": str(recall.replacement) if recall.replacement else "none",
        "removed_shards": [str(shard) for shard in recall.shards],
        "removal": str(recall.removal),
        "exported": format_instant(recall.exported),
        "issued": format_instant(recall.issued),
        "answer_by": format_instant(recall.answer_by),
        "what_to_do": "destroy every copy of what is recalled, use the replacement, and answer: " + EXAMPLE,
        "log": {
            "origin": verified.checkpoint.origin,
            "index": verified.log_index,
            "tree_size": verified.checkpoint.size,
            "root": verified.checkpoint.root.hex(),
            "cosigned_by": {name: format_instant(at) for name, at in verified.cosigners},
        },
    }


def _sign(verified: VerifiedRecall, options: argparse.Namespace) -> None:
    now = max(datetime.now(UTC).replace(microsecond=0), verified.recall.value.issued)
    said = RecallAnswer(
        recall=verified.recall.id,
        recipient=verified.recall.value.recipient,
        answer=Answer(options.answer),
        answered=now,
        note=options.note,
    )
    require_answer_to(said, verified.recall)
    envelope = sign_statement(said, PemSigner(read_file(options.key, MAX_BYTES)))
    descriptor = os.open(options.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)  # never over a file
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(envelope.to_bytes())
