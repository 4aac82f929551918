"""What `severable-verify` prints: reports as plain JSON values, and the same as text."""

from typing import Any

from severable_trust.agreement import VerifiedContract
from severable_trust.bundle import VerifiedReceipt
from severable_trust.composite import CompositeManifest
from severable_trust.contract import describe
from severable_trust.instant import format_instant
from severable_trust.log_bundle import VerifiedLog
from severable_trust.order import RemovalOrder
from severable_trust.record import to_plain
from severable_trust.shard import ShardClaim
from severable_trust.statement import Proven


def receipt_report(verified: VerifiedReceipt) -> dict[str, Any]:
    """A verified receipt as a JSON object."""
    receipt, agreed = verified.receipt.value, verified.contract.value
    return {
        "verified": "receipt",
        "statement": str(verified.receipt.id),
        "receipt": receipt.receipt_id,
        "issued": format_instant(receipt.issued),
        "outcome": receipt.outcome,
        "publisher": receipt.publisher,
        "party": receipt.party,
        "contract": f"{agreed.uid} version {agreed.version}",
        "request": f"{verified.request.value.request_id} of {format_instant(verified.request.value.submitted)}",
        **_ordered(verified),
        "shards_erased": [str(subject) for subject in receipt.subjects],
        "actions": to_plain(receipt.actions),
        "composites": to_plain(receipt.composites),
        "checks": to_plain(receipt.checks),
        "residual": to_plain(receipt.residual),
        "retained": to_plain(receipt.retained),
        **({} if receipt.recalls is None else {"recalls": to_plain(receipt.recalls)}),
        "log": {
            "origin": verified.checkpoint.origin,
            "index": verified.log_index,
            "tree_size": verified.tree_size,
            "root": verified.checkpoint.root.hex(),
            "cosigned_by": {name: format_instant(at) for name, at in verified.cosigners},
        },
    }


def _ordered(verified: VerifiedReceipt) -> dict[str, Any]:
    """What is said beside, where the coordinator ordered the removal and the party did not ask for it."""
    order = verified.request.value
    if not isinstance(order, RemovalOrder):
        return {}
    words = {"reason": order.reason, "evidence": order.evidence}
    return {
        "ordered_by": f"{order.publisher} on {order.clause}: {order.reason_code}",
        **{name: text for name, text in words.items() if text},
    }


def contract_report(verified: VerifiedContract) -> dict[str, Any]:
    """A verified contract as a JSON object, its terms in plain sentences under `terms`."""
    agreed = verified.contract.value
    return {
        "verified": "contract",
        "statement": str(verified.contract.id),
        "contract": f"{agreed.uid} version {agreed.version}",
        "signed_by": {side.id: f"key {side.key_id}" for side in (agreed.assigner, agreed.assignee)},
        "party_now": f"{verified.party.status} in roster version {verified.roster.value.version}",
        "valid_from": format_instant(agreed.valid_from),
        "valid_until": format_instant(agreed.valid_until),
        "terms": describe(agreed).split("\n"),
    }


def composite_report(proven: Proven[CompositeManifest]) -> dict[str, Any]:
    """A verified composite as a JSON object."""
    manifest = proven.value
    return {
        "verified": "composite",
        "statement": str(proven.id),
        "composite": str(manifest.content.digest),
        "group": manifest.group,
        "issued": format_instant(manifest.issued),
        "recipe": str(manifest.content.recipe),
        "members": to_plain(manifest.content.members),
        "router": str(manifest.content.router),
        "files": len(manifest.files),
        "environment": dict(manifest.environment),
    }


def shard_report(proven: Proven[ShardClaim]) -> dict[str, Any]:
    """A verified shard as a JSON object."""
    claim = proven.value
    return {
        "verified": "shard",
        "statement": str(proven.id),
        "party": claim.party,
        "contract": str(claim.contract),
        "recipe": str(claim.recipe),
        "images": claim.images,
        "images_of_each_class": {entry.name: entry.images for entry in claim.data.classes},
        "images_root": str(claim.data.root),
        "steps": claim.steps,
        "gate": to_plain(claim.gate),
        **({} if claim.privacy is None else {"privacy": to_plain(claim.privacy)}),
        "files": {file.name: str(file.digest) for file in claim.files},
    }


def log_report(verified: VerifiedLog) -> dict[str, Any]:
    """A verified log as a JSON object: what it holds of each kind, and what could not be verified."""
    checkpoint, roster, total = verified.checkpoint, verified.roster.value, verified.total
    return {
        "verified": "log",
        "origin": checkpoint.origin,
        "entries": total.entries,
        "root": checkpoint.root.hex(),
        "cosigned_by": {name: format_instant(at) for name, at in verified.cosigners},
        "roster": f"version {roster.version}, {len(roster.parties)} parties, statement {verified.roster.id}",
        "statements_verified": total.verified,
        "statements_unverifiable": total.unverifiable,
        "bodies_erased": total.erased,
        "kinds": [{"kind": kind.value, **to_plain(tally)} for kind, tally in verified.tallies],
        "unverifiable_entries": list(verified.unverifiable),
    }


def render(report: dict[str, Any]) -> str:
    """A report as text for people: one line a fact, lists indented below their name."""
    lines = [f"verified: {report['verified']}"]
    for name, value in report.items():
        if name != "verified":
            lines += _fact(name.replace("_", " "), value)
    return "\n".join(lines)


def _fact(name: str, value: Any) -> list[str]:
    if value in ([], {}):
        return [f"{name}: none"]
    if isinstance(value, list):
        return [f"{name}:", *(f"  - {_line(item)}" for item in value)]
    if isinstance(value, dict):
        return [f"{name}:", *(f"  {key.replace('_', ' ')}: {_inline(item)}" for key, item in value.items())]
    return [f"{name}: {value}"]


def _inline(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(f"{key} at {item}" for key, item in value.items()) or "nobody"  # who cosigned, and when


def _line(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    if "before" in item:  # a composite's change reads best as an arrow
        return f"{item['group']}: {item['before']} -> {item['after'] or 'none'} ({item['status']})"
    return ", ".join(f"{key} {value}" for key, value in item.items())
