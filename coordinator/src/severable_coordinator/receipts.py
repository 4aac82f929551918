"""What a receipt says, from the facts that a removal's steps recorded. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from severable_coordinator.ports import RemovalRecord
from severable_coordinator.recalls import RecallRecord
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.instant import format_instant, parse_instant
from severable_trust.receipt import (
    ChangeStatus,
    Check,
    CompositeChange,
    ErasureAction,
    RecallNotice,
    Receipt,
    Residual,
    Retained,
)
from severable_trust.statement import statement_id

Facts = Mapping[str, Any]

_SEALED = "AES-256-GCM data key destroyed, file unlinked; consistent with cryptographic erase (NIST SP 800-88)"
_SHARED = "unlink of the encrypted file; its data key stays in use for the party's other shards"
_PLAIN = "unlink; the file system may keep the blocks until they are overwritten"


def erasure_actions(facts: Mapping[str, Facts]) -> tuple[ErasureAction, ...]:
    """One action for every shard, bank, router, composite and key that was erased.

    An artifact without a digest of its own in the records (bank, key) is named by the digest of its name.
    """
    at = parse_instant(facts["erase"]["done"])
    files = facts["erase"]["files"]
    method = _SEALED if facts["erase"]["key"] else _SHARED
    actions = [_action("shard", Digest.parse(subject), method, at) for subject in facts["plan"]["subjects"]]
    banks = [name for _, name in files if name.startswith("banks/")]
    actions += [_action("bank", Digest.of(name.encode()), method, at) for name in banks]
    if facts["erase"]["key"]:
        actions.append(_action("key", Digest.of(facts["erase"]["key"].encode()), "key overwritten and unlinked", at))
    routers = sorted({router for _, _, router, _ in facts["plan"]["composites"]})
    actions += [_action("router", Digest.parse(router), _SEALED, at) for router in routers]
    composites = sorted({before for _, before, _, _ in facts["plan"]["composites"]})
    actions += [_action("composite", Digest.parse(before), _PLAIN, at) for before in composites]
    return tuple(actions)


def receipt_of(
    record: RemovalRecord,
    *,
    receipt_id: str,
    publisher: str,
    issued: datetime,
    facts: Mapping[str, Facts],
    actions: tuple[ErasureAction, ...],
    recalls: tuple[RecallRecord, ...] = (),
) -> Receipt:
    """The receipt of a removal whose steps all have facts."""
    erased = facts["erase"]
    left = erased["left"]
    checked = parse_instant(erased["done"])
    return Receipt(
        receipt_id=receipt_id,
        issued=issued,
        publisher=publisher,
        party=record.party,
        request=record.request,
        contract=record.contract,
        subjects=tuple(Digest.parse(subject) for subject in facts["plan"]["subjects"]),
        actions=actions,
        composites=tuple(_change(*change[:5]) for change in facts["rebuild"]["composites"]),
        checks=(
            Check(
                "no file of the shards is left in the coordinator's store",
                f"still there: {', '.join(left)}" if left else f"none left of {len(erased['files'])} files erased",
                checked,
            ),
            *_ledger_check(erased, checked),
            *_quality_checks(facts),
            *_proof_checks(facts),
        ),
        residual=(
            *_copies(recalls),
            *_residual(key_gone=bool(erased["key"]), copies=bool(erased.get("keys_backups"))),
            *_keys_backups(erased),
            *_ledger_residual(erased),
        ),
        retained=_retained(erased),
        outcome="fulfilled" if not left and not erased.get("ledger_left", 0) else "partially_fulfilled",
        recalls=notices(recalls) or None,
    )


def _retained(erased: Facts) -> tuple[Retained, ...]:
    """What is kept on purpose."""
    return (
        Retained("contract, erasure request, acknowledgement, this receipt", "evidence of the removal"),
        Retained(
            "the shards' ids and a sketch of 128 bytes of each one's weights, as tombstones",
            "a removed shard does not come back; a sketch reveals no weights",
        ),
        Retained("digests of the shards' statements in the log", "the log is append-only; digests reveal no content"),
        *_ledger_total(erased),
    )


def _keys_backups(erased: Facts) -> tuple[Residual, ...]:
    """Copies of the destroyed data key that were made and are not known to be destroyed."""
    return tuple(
        Residual(
            f"backup of the keys taken {taken}, {digest}",
            "it holds a copy of the destroyed data key: with it, backups of the store could be opened",
            "the operator destroys it",
        )
        for digest, taken in erased.get("keys_backups", ())
    )


def notices(recalls: Iterable[RecallRecord]) -> tuple[RecallNotice, ...]:
    """What a receipt says of recalls: their ids, which reveal no recipient."""
    return tuple(
        RecallNotice(
            recall=record.id,
            artifact=said.artifact,
            recalled=said.recalled,
            replacement=said.replacement,
            answer_by=said.answer_by,
            answer=statement_id(Envelope.parse(record.answer)) if record.answer else None,
        )
        for record, said in ((record, record.said) for record in recalls)
    )


def _copies(recalls: tuple[RecallRecord, ...]) -> tuple[Residual, ...]:
    """The copies that were handed out and are not said to be gone."""
    left = [record for record in recalls if not (answer := record.answered) or not answer.answer.settles]
    if not left:
        return ()
    what = f"exported copies not yet acknowledged as gone: {len(left)}, named under `recalls` by their recalls' ids"
    until = f"their recipients answer, due by {format_instant(max(record.said.answer_by for record in left))}; or never"
    return (Residual(what, "recalled; a recipient's word is all that can be had", until),)


def _residual(*, key_gone: bool, copies: bool = False) -> tuple[Residual, ...]:
    backups = "the data key is destroyed: what they hold cannot be decrypted"
    if copies:
        backups = "the data key is destroyed here: what they hold opens only with a backup of the keys"
    if not key_gone:
        backups = "the data key stays in use for the party's other shards: it opens what they hold of this one"
    return (
        Residual("copies that recipients passed on or loaded", "out of the coordinator's reach", "unknown"),
        Residual("images sampled before the removal", "out of the coordinator's reach", "unknown"),
        Residual(
            "disk blocks of assembled composites, which lay in plain files for diffusers to load",
            "unlinked, not overwritten",
            "the file system reuses them; an encrypted disk closes this",
        ),
        Residual(
            "backups of the coordinator's store",
            backups,
            "the operator rotates them",
        ),
    )


def _ledger_check(erased: Facts, at: datetime) -> tuple[Check, ...]:
    """What is said of the ledger, where it knew of the shards; removals of earlier versions have no such facts."""
    lines, left = erased.get("ledger_lines", 0), erased.get("ledger_left", 0)
    if not lines:
        return ()
    result = f"lines erased: {lines}; left: {left}"
    return (Check("no line of the shards is left in the coordinator's ledger of draws", result, at),)


def _quality_checks(facts: Mapping[str, Facts]) -> tuple[Check, ...]:
    """What the removal changed for the others, where it was measured."""
    told = facts.get("quality")
    if told is None:
        return ()
    at = parse_instant(told["done"])
    return tuple(
        Check(
            f"what the removal changes for the others in the composite of {one['group']}, measured on their banks",
            quality_line(one),
            at,
        )
        for one in told["composites"]
        if "not_measured" not in one
    )


def quality_line(one: Facts) -> str:
    """What was measured of the others' quality, in one line."""
    return (
        f"{one['measure']}: {one['before']:.4g} before, {one['after']:.4g} after; change {one['change']:+.2%} of "
        f"{one['scale']:.4g}, the distance of a constant; standard error {one['standard_error']:.2%}; "
        f"{one['samples']} samples, seed {one['seed']}"
    )


def _proof_checks(facts: Mapping[str, Facts]) -> tuple[Check, ...]:
    """What building from scratch gave, where it was asked for."""
    told = facts.get("prove")
    if told is None:
        return ()
    at = parse_instant(told["done"])
    return tuple(
        Check(
            f"the composite of {one['group']} equals, file by file, one built from scratch without the shards",
            _proof_result(one),
            at,
        )
        for one in told["composites"]
    )


def _proof_result(one: Facts) -> str:
    if "not_proven" in one:
        return f"not compared: {one['not_proven']}"
    return f"differing: {', '.join(one['differing'])}" if one["differing"] else f"all {one['files']} files are equal"


def _ledger_residual(erased: Facts) -> tuple[Residual, ...]:
    if not erased.get("ledger_lines", 0):
        return ()
    what = "the shards' ledger lines in backups of the coordinator's database"
    return (Residual(what, "out of the running coordinator's reach", "the operator rotates them"),)


def _ledger_total(erased: Facts) -> tuple[Retained, ...]:
    if not erased.get("ledger_lines", 0):
        return ()
    what = "one total for the contract: number of images drawn, and the credit in them"
    return (Retained(what, "an invoice needs it; it says nothing about images"),)


def _action(artifact: str, digest: Digest, method: str, at: datetime) -> ErasureAction:
    return ErasureAction(artifact=artifact, digest=digest, kind="Erase", method=method, at=at)


def _change(group: str, before: str, router_before: str, after: str, router_after: str) -> CompositeChange:
    return CompositeChange(
        group=group,
        before=Digest.parse(before),
        after=Digest.parse(after) if after else None,
        router_before=Digest.parse(router_before),
        router_after=Digest.parse(router_after) if router_after else None,
        status=ChangeStatus.REBUILT if after else ChangeStatus.RETIRED,
    )
