"""Ending a contract: the request, the acknowledgement, and what a broken line in between leaves behind."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from client.memory_coordinator import MemoryCoordinator
from client.samples import NOON, RECIPE_BYTES, Federation, holdings_of, item

from severable_client.adapters.files import FolderRemovalStore
from severable_client.contracts import Holdings, receive
from severable_client.errors import (
    AnswerError,
    ContractProblemError,
    RefusedByCoordinatorError,
    UnreachableError,
)
from severable_client.exchange import ReceiptStatus
from severable_client.ports import ContractRecord, Job, JobReport, JobRequest, JobState
from severable_client.removal import fetch_receipt, make_request, shipped_shards, terminate
from severable_trust.contract import ContractState
from severable_trust.denial import Denial, DenialReason
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.keys import PemSigner, Signer
from severable_trust.removal import Acknowledgement, ErasureRequest
from severable_trust.statement import open_statement, sign_statement, statement_id

SHARD = Digest.of(b"a shard")
UUID = "0a6f9c1e-0a55-4c39-9d5e-1f4b7c9f2a10"


@dataclass
class Erasing(MemoryCoordinator):
    """A coordinator in memory that answers erasure requests with what `answer` makes of them."""

    answer: Callable[[bytes], bytes] = field(default=lambda _: b"")
    received: list[bytes] = field(default_factory=list)
    bundle: bytes = b""
    denial: bytes = b""

    def request_erasure(self, envelope: bytes) -> bytes:
        self.received.append(envelope)
        return self.answer(envelope)

    def receipt(self, request: str) -> ReceiptStatus:
        assert request.startswith("sha256:")
        return ReceiptStatus(
            "denied" if self.denial else "fulfilled" if self.bundle else "open", self.bundle, self.denial
        )


def acknowledge(signer: Signer, of: Digest | None = None) -> Callable[[bytes], bytes]:
    def answer(envelope: bytes) -> bytes:
        request = of or statement_id(Envelope.parse(envelope))
        made = Acknowledgement(request=request, received=NOON, expected_completion=NOON + timedelta(days=7))
        return sign_statement(made, signer).to_bytes()

    return answer


def in_force(federation: Federation) -> tuple[Holdings, ContractRecord]:
    holdings = holdings_of(federation)
    return holdings, receive(item(federation.signed(), "active", RECIPE_BYTES), holdings)


def asked(record: ContractRecord, reason: str = "consent withdrawn", request_id: str = UUID) -> ErasureRequest:
    return make_request(record, (SHARD,), party="owner-a", reason=reason, request_id=request_id, at=NOON)


def store_in(folder: Path) -> FolderRemovalStore:
    return FolderRemovalStore(folder)


def test_an_acknowledged_request_ends_the_contract_and_is_kept(federation: Federation, tmp_path: Path) -> None:
    holdings, record = in_force(federation)
    coordinator = Erasing(answer=acknowledge(federation.coordinator))
    removal = terminate(record, asked(record), federation.owner, coordinator, holdings, removals=store_in(tmp_path))
    assert store_in(tmp_path).all() == (removal,)
    assert removal.answer is not None
    assert removal.answer.expected_completion == NOON + timedelta(days=7)
    (sent,) = coordinator.received
    assert open_statement(sent, ErasureRequest, [federation.owner.public_key]).value.subjects == (SHARD,)
    held = holdings.contracts.get(record.id)
    assert held is not None
    assert held.state is ContractState.TERMINATED
    with pytest.raises(ContractProblemError, match="cannot be terminated"):
        asked(held)


def test_without_an_answer_the_next_try_sends_the_same_bytes(federation: Federation, tmp_path: Path) -> None:
    def silence(_envelope: bytes) -> bytes:
        raise UnreachableError("no answer")

    holdings, record = in_force(federation)
    coordinator, removals = Erasing(answer=silence), store_in(tmp_path)
    with pytest.raises(UnreachableError):
        terminate(record, asked(record), federation.owner, coordinator, holdings, removals=removals)
    assert holdings.contracts.get(record.id) == record
    coordinator.answer = acknowledge(federation.coordinator)
    later = asked(record, request_id="1b7f9c1e-0a55-4c39-9d5e-1f4b7c9f2a10")
    terminate(record, later, federation.owner, coordinator, holdings, removals=removals)
    assert coordinator.received[0] == coordinator.received[1]
    assert len(removals.all()) == 1


def test_a_refused_request_leaves_nothing_behind(federation: Federation, tmp_path: Path) -> None:
    def refuse(_envelope: bytes) -> bytes:
        raise RefusedByCoordinatorError("PERMISSION_DENIED", "not yours")

    holdings, record = in_force(federation)
    with pytest.raises(RefusedByCoordinatorError, match="not yours"):
        terminate(
            record, asked(record), federation.owner, Erasing(answer=refuse), holdings, removals=store_in(tmp_path)
        )
    assert store_in(tmp_path).all() == ()
    assert holdings.contracts.get(record.id) == record


@pytest.mark.parametrize("other_request", [True, False])
def test_a_wrong_acknowledgement_does_not_end_the_contract(
    federation: Federation, tmp_path: Path, other_request: bool
) -> None:
    holdings, record = in_force(federation)
    wrong = (
        acknowledge(federation.coordinator, Digest.of(b"another request"))
        if other_request
        else acknowledge(PemSigner.generate())
    )
    with pytest.raises(AnswerError, match="acknowledgement"):
        terminate(record, asked(record), federation.owner, Erasing(answer=wrong), holdings, removals=store_in(tmp_path))
    assert holdings.contracts.get(record.id) == record


def test_a_reason_of_several_lines_is_refused(federation: Federation) -> None:
    _, record = in_force(federation)
    with pytest.raises(ContractProblemError, match="one line"):
        asked(record, reason="a\nb")


def test_a_receipt_that_proves_nothing_is_not_kept(federation: Federation, tmp_path: Path) -> None:
    holdings, record = in_force(federation)
    coordinator, removals = Erasing(answer=acknowledge(federation.coordinator)), store_in(tmp_path)
    removal = terminate(record, asked(record), federation.owner, coordinator, holdings, removals=removals)
    assert fetch_receipt(removal, coordinator, removals, federation.trust_root) == removal
    coordinator.bundle = b"{}"
    with pytest.raises(AnswerError, match="receipt does not hold"):
        fetch_receipt(removal, coordinator, removals, federation.trust_root)
    assert removals.all() == (removal,)


def denial_of(request: Digest, signer: Signer) -> bytes:
    said = Denial(
        request=request,
        publisher="federation",
        party="owner-a",
        reason_code=DenialReason.RETAINED_BY_LAW,
        reason="a court ordered it kept",
        decided=NOON,
    )
    return sign_statement(said, signer).to_bytes()


def test_a_denial_is_verified_and_kept_and_the_next_request_is_a_new_one(
    federation: Federation, tmp_path: Path
) -> None:
    holdings, record = in_force(federation)
    coordinator, removals = Erasing(answer=acknowledge(federation.coordinator)), store_in(tmp_path)
    removal = terminate(record, asked(record), federation.owner, coordinator, holdings, removals=removals)
    for wrong in (denial_of(removal.id, PemSigner.generate()), denial_of(SHARD, federation.coordinator)):
        coordinator.denial = wrong
        with pytest.raises(AnswerError, match="denial"):
            fetch_receipt(removal, coordinator, removals, federation.trust_root)
        assert removals.all() == (removal,)
    coordinator.denial = denial_of(removal.id, federation.coordinator)
    denied = fetch_receipt(removal, coordinator, removals, federation.trust_root)
    assert (denied.ended, removals.all()) == (True, (denied,))
    assert denied.refusal is not None
    assert denied.refusal.reason_code is DenialReason.RETAINED_BY_LAW
    other = asked(record, request_id="1b6f9c1e-0a55-4c39-9d5e-1f4b7c9f2a10")
    again = terminate(record, other, federation.owner, coordinator, holdings, removals=removals)
    assert again.id != removal.id


def test_the_shards_of_a_contract_are_those_that_were_admitted_under_it() -> None:
    def job(number: int, contract: str, state: JobState) -> Job:
        shard = str(Digest.of(bytes([number])))
        request = JobRequest(task="t", nonce="5a" * 32, contract=contract, recipe="sha256:" + "0" * 64)
        report = JobReport(state=state, detail=shard)
        return Job(id=f"{number:064x}", request=request, seed=1, report=report, created=NOON, updated=NOON)

    jobs = [job(1, "a", JobState.SHIPPED), job(2, "a", JobState.FAILED), job(3, "b", JobState.SHIPPED)]
    assert shipped_shards(jobs, "a") == (Digest.of(bytes([1])),)
