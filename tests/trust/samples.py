"""A small federation in memory: keys, contract, shard, removal, log. Everything is real; only the weights are tiny."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from trust.shard_data import CONFIG, TENSORS, shard_files

from severable_trust.bundle import ReceiptBundle, TrustRoot
from severable_trust.composite import CompositeContent, CompositeManifest, Member
from severable_trust.contract import Action, Contract, ContractState, DeletionDuty, Limits, PartyRef
from severable_trust.digest import Digest, FileDigest
from severable_trust.entry import LogEntry
from severable_trust.envelope import Envelope
from severable_trust.keys import PemSigner, PublicKey, Signer
from severable_trust.merkle import completed_nodes, inclusion_proof, leaf_hash, root
from severable_trust.note import Checkpoint, LogProof, LogSigner, sign_note
from severable_trust.order import OrderClause, OrderReason, RemovalOrder
from severable_trust.receipt import ChangeStatus
from severable_trust.removal import (
    Check,
    CompositeChange,
    ErasureAction,
    ErasureRequest,
    Receipt,
    Residual,
    Retained,
)
from severable_trust.roster import PartyStatus, Roster, RosterParty
from severable_trust.shard import ClassCount, DataDigest, GateReport, ShardClaim
from severable_trust.statement import Predicate, Proven, T, open_statement, sign_statement, statement_id
from severable_trust.verifier import AdmissionPolicy

NOON = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
NONCE = "5a" * 32
RECIPE = Digest.of(b"recipe")
APP = Digest.of(b"app")
LOG_NAME = "log.example"


def at(hour: int) -> datetime:
    """That hour of the day on which everything here happens."""
    return NOON.replace(hour=hour)


@dataclass
class MemoryLog:
    """A `HashStore` in a dictionary, with the append that a real log does."""

    nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)
    size: int = 0

    def get(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def append(self, data: bytes) -> int:
        for level, index, value in completed_nodes(self, self.size, leaf_hash(data)):
            self.nodes[level, index] = value
        self.size += 1
        return self.size - 1


@dataclass(frozen=True)
class Keys:
    """Who signs in the federation."""

    coordinator: Signer
    alice: Signer
    bob: Signer
    log: LogSigner

    @classmethod
    def generate(cls) -> "Keys":
        return cls(PemSigner.generate(), PemSigner.generate(), PemSigner.generate(), LogSigner.generate(LOG_NAME))


def make_roster(keys: Keys, alice: PartyStatus = PartyStatus.ACTIVE) -> Roster:
    def entry(name: str, key: PublicKey, status: PartyStatus = PartyStatus.ACTIVE) -> RosterParty:
        node = f"ecdsa-sha2-nistp384 {name.upper()} {name}@node"
        return RosterParty(id=name, legal_name=f"{name.title()} Ltd", statement_key=key, node_key=node, status=status)

    return Roster(
        version=1,
        expires=NOON.replace(year=2027),
        coordinator_id="hub",
        coordinator_key=keys.coordinator.public_key,
        parties=(entry("alice", keys.alice.public_key, alice), entry("bob", keys.bob.public_key)),
    )


def make_contract(keys: Keys) -> Contract:
    return Contract(
        uid="contract-alice",
        version=1,
        assigner=PartyRef("alice", "Alice Ltd", keys.alice.public_key.key_id),
        assignee=PartyRef("hub", "Hub AG", keys.coordinator.public_key.key_id),
        target="digits",
        permissions=(Action.TRAIN, Action.COMPOSE, Action.INFER),
        recipients=("public",),
        valid_from=at(0),
        valid_until=NOON.replace(year=2027),
        notice_days=30,
        weight=1.5,
        recipes=(RECIPE,),
        apps=(APP,),
        limits=Limits(min_images=10, memorization_ceiling=0.02),
        deletion=DeletionDuty(
            deadline_days=7, scope=("shard", "bank"), evidence="receipt", triggers=("request", "termination")
        ),
        governing_law="Switzerland",
        legal_basis="contract",
        previous=None,
    )


def make_claim(contract: Digest, files: Mapping[str, bytes]) -> ShardClaim:
    return ShardClaim(
        party="alice",
        contract=contract,
        recipe=RECIPE,
        nonce=NONCE,
        files=tuple(FileDigest.of(name, data) for name, data in files.items()),
        images=100,
        data=DataDigest(
            images=100, classes=(ClassCount("nine", 60), ClassCount("one", 40)), root=Digest.of(b"images of alice")
        ),
        steps=50,
        loss=0.125,
        gate=GateReport(finite=True, images=100, bytes=len(files["model.safetensors"]), memorized_share=0.01),
        software=(("torch", "2.13.0"), ("diffusers", "0.42.1")),
    )


def make_request(contract: Digest, *shards: Digest) -> ErasureRequest:
    return ErasureRequest(
        request_id="8d7f9a52-0e0b-4c57-9a1b-0a2f6d1c7e11",
        party="alice",
        contract=contract,
        clause="termination",
        reason_code="termination",
        reason="the project ended",
        subjects=shards,
        submitted=at(13),
    )


def make_order(contract: Digest, *shards: Digest) -> RemovalOrder:
    return RemovalOrder(
        request_id="3f0c1f6e-54a0-4a53-9d0f-6d3f1b2a9c77",
        publisher="hub",
        party="alice",
        contract=contract,
        clause=OrderClause.TERMINATION,
        reason_code=OrderReason.LEGAL_ORDER,
        reason="the supervisory authority forbids the use",
        evidence="decision 2026/114 of the authority",
        subjects=shards,
        submitted=at(13),
    )


def make_receipt(request: Digest, contract: Digest, *shards: Digest) -> Receipt:
    erased = tuple(
        ErasureAction(artifact="shard", digest=shard, kind="Erase", method="cryptographic erase, unlink", at=at(14))
        for shard in shards
    )
    change = CompositeChange(
        group="public",
        before=Digest.of(b"composite of three"),
        after=Digest.of(b"composite of two"),
        router_before=Digest.of(b"router of three"),
        router_after=Digest.of(b"router of two"),
        status=ChangeStatus.REBUILT,
    )
    return Receipt(
        receipt_id="receipt-1",
        issued=at(15),
        publisher="hub",
        party="alice",
        request=request,
        contract=contract,
        subjects=shards,
        actions=erased,
        composites=(change,),
        checks=(Check("the key no longer opens the shard", "holds", at(14)),),
        residual=(Residual("backups", "unreadable without the key", "2026-07-01"),),
        retained=(Retained("the contract", "legal duty"),),
        outcome="complete",
    )


def make_manifest(files: Mapping[str, bytes]) -> CompositeManifest:
    members = (Member(Digest.of(b"shard of alice"), 1.5), Member(Digest.of(b"shard of bob"), 1.0))
    content = CompositeContent(
        recipe=RECIPE, members=members, router=Digest.of(b"router"), scheduler=Digest.of(b"scheduler")
    )
    return CompositeManifest(
        content=content,
        group="public",
        issued=at(12),
        files=tuple(FileDigest.of(name, data) for name, data in files.items()),
        environment=(("torch", "2.13.0"), ("threads", "1")),
    )


def prove(value: T, *signers: Signer) -> Proven[T]:
    envelope = sign_statement(value, *signers)
    return open_statement(envelope, type(value), [signer.public_key for signer in signers], len(signers))


@dataclass(frozen=True)
class Federation:
    """Keys and the statements that follow from them, up to a logged receipt."""

    keys: Keys
    roster: Proven[Roster]
    contract: Proven[Contract]
    claim: Proven[ShardClaim]
    request: Proven[ErasureRequest]
    receipt: Proven[Receipt]
    root: TrustRoot

    @classmethod
    def build(cls, keys: Keys) -> "Federation":
        contract = prove(make_contract(keys), keys.alice, keys.coordinator)
        claim = prove(make_claim(contract.id, shard_files()), keys.alice)
        request = prove(make_request(contract.id, claim.id), keys.alice)
        return cls(
            keys=keys,
            roster=prove(make_roster(keys), keys.coordinator),
            contract=contract,
            claim=claim,
            request=request,
            receipt=prove(make_receipt(request.id, contract.id, claim.id), keys.coordinator),
            root=TrustRoot(coordinator_id="hub", coordinator_key=keys.coordinator.public_key, log_vkey=keys.log.vkey),
        )

    def policy(self) -> AdmissionPolicy:
        return AdmissionPolicy(
            party="alice",
            nonce=NONCE,
            roster=self.roster.value,
            contract=self.contract,
            state=ContractState.ACTIVE,
            recipe=RECIPE,
            config=CONFIG,
            tensors=TENSORS,
            now=NOON,
            max_bytes=10_000,
        )

    def proof(self, receipt: Envelope | None = None, others: int = 2) -> LogProof:
        """The receipt logged after two other entries and before one more."""
        envelope = self.receipt.envelope if receipt is None else receipt
        log = MemoryLog()
        for number in range(others):
            log.append(b"entry %d" % number)
        signers = tuple(signature.key_id for signature in envelope.signatures)
        entry = LogEntry(kind=Receipt.KIND, statement=statement_id(envelope), signers=signers)
        index = log.append(entry.leaf)
        log.append(b"later")
        checkpoint = Checkpoint(LOG_NAME, log.size, root(log, log.size))
        return LogProof(index, inclusion_proof(log, index, log.size), sign_note(checkpoint.text, self.keys.log))

    def bundle(self) -> ReceiptBundle:
        return ReceiptBundle(
            receipt=self.receipt.envelope,
            request=self.request.envelope,
            contract=self.contract.envelope,
            roster=self.roster.envelope,
            proof=self.proof(),
        )

    def statements(self) -> tuple[Predicate, ...]:
        return (
            self.roster.value,
            self.contract.value,
            self.claim.value,
            self.request.value,
            self.receipt.value,
            make_manifest({"model_index.json": b"{}"}),
        )


def ordered(
    federation: Federation,
    order: RemovalOrder | None = None,
    signer: Signer | None = None,
    contract: Envelope | None = None,
) -> ReceiptBundle:
    """The bundle of a removal that the coordinator ordered, logged like the usual one."""
    agreed = federation.contract.envelope if contract is None else contract
    shard = federation.claim.id
    value = make_order(statement_id(agreed), shard) if order is None else order
    request = sign_statement(value, signer or federation.keys.coordinator)
    said = make_receipt(statement_id(request), statement_id(agreed), shard)
    receipt = sign_statement(said, federation.keys.coordinator)
    return ReceiptBundle(
        receipt=receipt,
        request=request,
        contract=agreed,
        roster=federation.roster.envelope,
        proof=federation.proof(receipt),
    )
