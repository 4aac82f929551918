"""`severable-verify`: check a receipt, recall, contract, composite, shard or a whole log offline, given a trust root.

Exit codes: 0 verified, 1 refused (one line on stderr says why), 2 wrong usage or a file that cannot be read.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from severable_trust.agreement import verify_contract
from severable_trust.bundle import (
    COMPOSITE_MANIFEST,
    MAX_BUNDLE,
    SHARD_CLAIM,
    TrustRoot,
    verify_composite,
    verify_receipt,
    verify_shard,
)
from severable_trust.canonical import MAX_BYTES
from severable_trust.cli_files import list_directory, read_file
from severable_trust.cli_recall import EXAMPLE as RECALL_EXAMPLE
from severable_trust.cli_recall import add_recall_options, run_recall
from severable_trust.cli_text import composite_report, contract_report, log_report, receipt_report, render, shard_report
from severable_trust.errors import LogError, TrustError
from severable_trust.log_bundle import MAX_LOG_BUNDLE, verify_log_bundle

EXIT_VERIFIED, EXIT_REFUSED, EXIT_USAGE = 0, 1, 2

_EPILOG = "Exit codes: 0 verified, 1 refused, 2 wrong usage or unreadable file. Nothing is sent anywhere."
_EXAMPLES = {
    "receipt": "severable-verify receipt receipt.json --trust-root trust-root.json",
    "contract": "severable-verify contract contract.dsse.json --roster roster.dsse.json --trust-root trust-root.json",
    "composite": "severable-verify composite composites/public --trust-root trust-root.json --format json",
    "shard": "severable-verify shard shards/alice --trust-root trust-root.json --roster roster.dsse.json",
    "recall": RECALL_EXAMPLE,
    "log": "severable-verify log log.json --trust-root trust-root.json",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(argv)
    try:
        report = options.run(options)
    except TrustError as error:
        print(f"refused: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except OSError as error:
        print(f"cannot read {error.filename}: {error.strerror}", file=sys.stderr)
        return EXIT_USAGE
    print(json.dumps(report, indent=2) if options.format == "json" else render(report))
    return EXIT_VERIFIED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="severable-verify", description=_describe(), epilog=_EPILOG)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    receipt = _command(commands, "receipt", "check a receipt of removal, its log proof included")
    receipt.add_argument("file", type=Path, metavar="FILE", help="the receipt bundle")
    _add_cosigners(receipt)
    receipt.set_defaults(run=_receipt)
    recall = _command(commands, "recall", "check a recall of what you were handed, and sign the answer to it")
    add_recall_options(recall)
    recall.set_defaults(run=run_recall)
    contract = _command(commands, "contract", "check a contract that both sides signed, and say it in plain sentences")
    contract.add_argument("file", type=Path, metavar="FILE", help="the contract's envelope")
    _add_roster(contract)
    contract.set_defaults(run=_contract)
    composite = _command(commands, "composite", f"check a composite directory against its {COMPOSITE_MANIFEST}")
    composite.add_argument("directory", type=Path, metavar="DIR", help="the composite's directory")
    composite.set_defaults(run=_composite)
    shard = _command(commands, "shard", f"check a shard directory against its {SHARD_CLAIM}")
    shard.add_argument("directory", type=Path, metavar="DIR", help="the shard's directory")
    _add_roster(shard)
    shard.set_defaults(run=_shard)
    log = _command(commands, "log", "check a whole log: its checkpoint, every entry and every statement still held")
    log.add_argument("file", type=Path, metavar="FILE", help="the log bundle, of `severable-coordinator log export`")
    _add_cosigners(log)
    log.set_defaults(run=_log)
    return parser


def _describe() -> str:
    return "Check offline what a coordinator or a data owner signed. Example: " + _EXAMPLES["receipt"]


def _command(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", epilog=f"Example: {_EXAMPLES[name]}"
    )
    parser.add_argument("--trust-root", type=Path, required=True, metavar="FILE", help="whose signatures count")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    return parser


def _add_roster(command: argparse.ArgumentParser) -> None:
    command.add_argument("--roster", type=Path, required=True, metavar="FILE", help="the coordinator's signed roster")


def _add_cosigners(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--cosigners", type=int, default=0, metavar="N", help="refuse it unless so many parties cosigned the checkpoint"
    )


def _require_cosigners(found: int, options: argparse.Namespace) -> None:
    """How many witnesses are enough is the verifier's own policy."""
    if found < options.cosigners:
        raise LogError(f"checkpoint: cosigned by {found} of the {options.cosigners} parties that are asked for")


def _trust_root(options: argparse.Namespace) -> TrustRoot:
    return TrustRoot.parse(read_file(options.trust_root, MAX_BYTES))


def _receipt(options: argparse.Namespace) -> dict[str, Any]:
    verified = verify_receipt(read_file(options.file, MAX_BUNDLE), _trust_root(options))
    _require_cosigners(len(verified.cosigners), options)
    return receipt_report(verified)


def _contract(options: argparse.Namespace) -> dict[str, Any]:
    envelope, roster = read_file(options.file, MAX_BYTES), read_file(options.roster, MAX_BYTES)
    return contract_report(verify_contract(envelope, roster, _trust_root(options)))


def _composite(options: argparse.Namespace) -> dict[str, Any]:
    files = list_directory(options.directory, COMPOSITE_MANIFEST)  # first: it refuses links and pipes unread
    manifest = read_file(options.directory / COMPOSITE_MANIFEST, MAX_BYTES)
    return composite_report(verify_composite(manifest, files, _trust_root(options)))


def _shard(options: argparse.Namespace) -> dict[str, Any]:
    files = list_directory(options.directory, SHARD_CLAIM)  # first: it refuses links and pipes unread
    claim = read_file(options.directory / SHARD_CLAIM, MAX_BYTES)
    roster = read_file(options.roster, MAX_BYTES)
    return shard_report(verify_shard(claim, roster, files, _trust_root(options)))


def _log(options: argparse.Namespace) -> dict[str, Any]:
    verified = verify_log_bundle(read_file(options.file, MAX_LOG_BUNDLE), _trust_root(options))
    _require_cosigners(len(verified.cosigners), options)
    return log_report(verified)


if __name__ == "__main__":
    sys.exit(main())
