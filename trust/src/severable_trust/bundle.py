"""Receipt bundles: a receipt with everything a stranger needs to check it offline, given a trust root.

One canonical JSON file: the receipt, the request or order it answers, the contract both rest on, the roster that says
whose the keys are (all as signed envelopes), and the proof that the receipt is in the log. Every part is authenticated
by the trust root, directly or through another part, and there is one spelling of each, so a change of any one byte is
refused.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from severable_trust.agreement import open_agreement
from severable_trust.canonical import decode, encode
from severable_trust.contract import Contract
from severable_trust.directory import COMPOSITE_MANIFEST, SHARD_CLAIM, verify_composite, verify_shard
from severable_trust.entry import LogEntry
from severable_trust.envelope import Envelope
from severable_trust.errors import MalformedError, StatementError
from severable_trust.merkle import leaf_hash, verify_inclusion
from severable_trust.note import Checkpoint, Cosigned, LogKey, LogProof, open_cosigned
from severable_trust.order import RemovalOrder, open_trigger
from severable_trust.removal import ErasureRequest, Receipt
from severable_trust.roster import Roster
from severable_trust.statement import Proven, open_statement
from severable_trust.trust_root import TRUST_ROOT_FORMAT, TrustRoot, known_witnesses, open_roster

__all__ = [
    "COMPOSITE_MANIFEST",
    "RECEIPT_FORMAT",
    "SHARD_CLAIM",
    "TRUST_ROOT_FORMAT",
    "ReceiptBundle",
    "TrustRoot",
    "VerifiedReceipt",
    "open_roster",
    "verify_composite",
    "verify_receipt",
    "verify_shard",
]

RECEIPT_FORMAT = "severable-receipt/v1"
MAX_BUNDLE = 8 << 20  # bytes
_ENVELOPES = ("receipt", "request", "contract", "roster")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptBundle:
    """The parts of a receipt file, as they stand in it; nothing is verified yet.

    Law: `ReceiptBundle.parse(b.to_bytes()) == b` and `ReceiptBundle.parse(d).to_bytes() == d`.

    Attributes:
        receipt: signed by the coordinator.
        request: signed by the party; or an order, signed by the coordinator.
        contract: signed by both.
        roster: signed by the coordinator.
        proof: that the receipt's entry is in the log (C2SP tlog-proof).
    """

    receipt: Envelope
    request: Envelope
    contract: Envelope
    roster: Envelope
    proof: LogProof

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The bundle that canonical JSON bytes hold.

        Raises:
            MalformedError: not the one accepted form.
        """
        value = decode(data, "receipt bundle", MAX_BUNDLE)
        if not isinstance(value, dict) or value.get("format") != RECEIPT_FORMAT:
            raise MalformedError(f"receipt bundle: format is not {RECEIPT_FORMAT!r}")
        if value.keys() != {"format", "proof", *_ENVELOPES} or not isinstance(value["proof"], str):
            raise MalformedError(f"receipt bundle: members are not format, proof, {', '.join(_ENVELOPES)}")
        envelopes = {name: Envelope.from_object(value[name]) for name in _ENVELOPES}
        return cls(**envelopes, proof=LogProof.parse(value["proof"]))

    def to_bytes(self) -> bytes:
        """The bundle as canonical JSON."""
        envelopes = {name: getattr(self, name).to_object() for name in _ENVELOPES}
        return encode({"format": RECEIPT_FORMAT, "proof": self.proof.to_text(), **envelopes})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt:
    """A receipt all of whose parts have been verified. Only `verify_receipt` makes one.

    Attributes:
        receipt: what the coordinator states.
        request: what the party asked, or what the coordinator ordered.
        contract: what both had agreed.
        roster: whose the keys are.
        log_index: the receipt's place in the log, from 0.
        checkpoint: the log's commitment under which it is.
        cosigners: the party (or witness) and the time (UTC) of every cosignature under that commitment.
    """

    receipt: Proven[Receipt]
    request: Proven[ErasureRequest] | Proven[RemovalOrder]
    contract: Proven[Contract]
    roster: Proven[Roster]
    log_index: int
    checkpoint: Checkpoint
    cosigners: tuple[tuple[str, datetime], ...]

    @property
    def tree_size(self) -> int:
        """Number of entries of the log at the checkpoint."""
        return self.checkpoint.size


def verify_receipt(data: bytes, root: TrustRoot) -> VerifiedReceipt:
    """The receipt that this file proves, given whose signatures count.

    It proves that the coordinator states the removal, that the party asked for it or the contract let the coordinator
    order it, and that the statement is in the log. It does not prove that no copy was ever made.

    Raises:
        TrustError: a part is malformed, not signed by whom it must be, not in the log, or does not fit the others.
    """
    # (1) The file is a bundle of the one accepted form.
    bundle = ReceiptBundle.parse(data)
    # (2) The coordinator of the trust root signed the roster and the receipt, while the roster was in force.
    roster = open_roster(bundle.roster, root)
    receipt = open_statement(bundle.receipt, Receipt, [root.coordinator_key])
    _same("receipt's publisher", receipt.value.publisher, root.coordinator_id)
    roster.value.require_current(receipt.value.issued)
    # (3) The receipt's entry is in the log, under a checkpoint that the log (and every witness) signed.
    cosigned = _verify_logged(receipt, bundle.proof, root, roster.value)
    # (4) The party signed the request that the receipt answers, by a key that may have been revoked or replaced since;
    # or the coordinator signed the order.
    party = roster.value.find(receipt.value.party)
    request = open_trigger(bundle.request, party.keys, root.coordinator_key)
    # (5) The party and the coordinator both signed the contract that receipt and request rest on.
    contract = open_agreement(bundle.contract, party.keys, [root.coordinator_key])
    # (6) The four say the same.
    _check_agreement(receipt, request, contract)
    return VerifiedReceipt(
        receipt=receipt,
        request=request,
        contract=contract,
        roster=roster,
        log_index=bundle.proof.index,
        checkpoint=cosigned.checkpoint,
        cosigners=tuple((LogKey.parse(vkey).name, at) for vkey, at in cosigned.cosigners),
    )


def _verify_logged(receipt: Proven[Receipt], proof: LogProof, root: TrustRoot, roster: Roster) -> Cosigned:
    cosigned = open_cosigned(proof.checkpoint, root.log_vkey, root.witnesses, known_witnesses(root, roster))
    leaf, checkpoint = leaf_hash(LogEntry.of(receipt).leaf), cosigned.checkpoint
    verify_inclusion(proof.index, checkpoint.size, leaf, proof.hashes, checkpoint.root)
    return cosigned


def _check_agreement(
    receipt: Proven[Receipt], request: Proven[ErasureRequest] | Proven[RemovalOrder], contract: Proven[Contract]
) -> None:
    said, asked, agreed = receipt.value, request.value, contract.value
    _same("receipt's request", said.request, request.id)
    _same("receipt's contract", said.contract, contract.id)
    _same("request's contract", asked.contract, contract.id)
    _same("request's party", asked.party, said.party)
    _same("contract's assigner", agreed.assigner.id, said.party)
    _same("contract's assignee", agreed.assignee.id, said.publisher)
    if missing := sorted(set(asked.subjects) - set(said.subjects)):
        raise StatementError(f"receipt: shard {missing[0]} was asked for but is not among the removed")
    if asked.submitted > said.issued:
        raise StatementError("receipt: was issued before its request was made")
    if isinstance(asked, RemovalOrder):
        _same("order's publisher", asked.publisher, said.publisher)
        asked.require_allowed(agreed)


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise StatementError(f"{what} is {found}, expected {expected}")
