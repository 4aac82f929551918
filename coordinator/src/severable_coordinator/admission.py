"""A shard's way in: open the upload, take its chunks, verify, keep.

Bytes are encrypted as they arrive, once, into files that grow and can be gone on with; what the weights hold is looked
at as they pass (reading.py). The one verifier (`severable_trust.verifier.admit`) decides; nothing it refuses is kept.
"""

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO

from severable_coordinator.allowance import require_fitting, require_large_chunks
from severable_coordinator.contracting import Contracting
from severable_coordinator.dispatch import JobReport, JobState, Task
from severable_coordinator.errors import ConflictError, NotFoundError, RefusedError
from severable_coordinator.intake import Intakes
from severable_coordinator.logbook import Logbook
from severable_coordinator.ports import (
    Clock,
    ContractStore,
    ShardRecord,
    ShardState,
    ShardStore,
    UploadRecord,
    UploadStore,
)
from severable_coordinator.tombstones import Tombstones
from severable_coordinator.uploads import (
    CHUNK_BYTES,
    MAX_SHARD_BYTES,
    Nonces,
    Verdict,
    claim_of,
    files_of,
    grown_as,
    incoming,
    require_unanswered,
    shard_file,
)
from severable_coordinator.vault_port import Vault
from severable_coordinator.weight_sketch import WeightSketch
from severable_trust.contract import ContractState
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import TrustError
from severable_trust.shard import WEIGHTS, ShardClaim
from severable_trust.statement import Kind, open_statement, statement_id
from severable_trust.tensors import TensorSpec
from severable_trust.verifier import AdmissionPolicy, admit
from severable_trust.weights import WeightsFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Takes shards in."""

    contracts: ContractStore
    contracting: Contracting
    uploads: UploadStore
    shards: ShardStore
    tasks: Nonces
    vault: Vault
    logbook: Logbook
    clock: Clock
    tombstones: Tombstones
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock, compare=False)
    intakes: Intakes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "intakes", Intakes(self.vault, self.tombstones.sketching))

    def open(self, party: str, claim_bytes: bytes) -> UploadRecord:
        """Begin an upload, or find it again. RefusedError, SignatureError: nothing unsigned takes up space."""
        key = self.logbook.roster().value.party(party).statement_key
        claim = open_statement(claim_bytes, ShardClaim, [key])
        if claim.value.party != party:
            raise RefusedError(f"the claim is {claim.value.party}'s, the connection is {party}'s")
        status = self.tasks.by_nonce(claim.value.nonce)
        if status.task.party != party:
            raise RefusedError("the task that this shard answers was given to another party")
        if sum(file.size for file in claim.value.files) > MAX_SHARD_BYTES:
            raise RefusedError(f"the shard is larger than {MAX_SHARD_BYTES} bytes")
        require_fitting(claim.value.files, self.contracts.recipe(Digest.parse(status.task.recipe)))
        self.tombstones.refuse_id(claim.id)
        try:
            return self.uploads.upload(claim.id.hex)
        except NotFoundError:
            require_unanswered(status)
        self._give_up_others(status.task)
        record = UploadRecord(id=claim.id.hex, party=party, task=status.task.id, claim=claim_bytes, state="open")
        return self.uploads.open_upload(record)

    def _give_up_others(self, task: Task) -> None:
        """A task has one open upload: a party that claims another shard for it gives the first one up, and its disk."""
        for other in self.uploads.open_of(task.id):
            self.intakes.forget(other.id)
            self.vault.unlink(other.party, incoming(other) + "/")
            self.uploads.settle(other.id, "refused", "given up for another shard of the same task")

    def received(self, upload: UploadRecord) -> dict[str, int]:
        """Bytes already held of each file of an open upload."""
        intake = self.intakes.of(upload)
        with intake.turn:
            return {name: self.intakes.growing(intake, upload, name).size for name in intake.files}

    def take(self, upload: UploadRecord, name: str, offset: int, data: bytes) -> None:
        """Keep one chunk. RefusedError when it does not follow on what is held, or is more than was claimed."""
        if upload.state != "open":
            raise ConflictError(f"upload {upload.id[:12]} has ended ({upload.state})")
        intake = self.intakes.of(upload)
        file = intake.files.get(name)
        if file is None:
            raise RefusedError(f"{name[:80]!r} is not a file of this claim")
        if not data or len(data) > CHUNK_BYTES:
            raise RefusedError(f"{name}: a chunk has 1 to {CHUNK_BYTES} bytes, this one {len(data)}")
        with intake.turn:
            growing = self.intakes.growing(intake, upload, name)
            require_large_chunks(name, intake.chunks[name], growing.size)
            if not offset and self.uploads.upload(upload.id).state != "open":  # a removal came meanwhile
                raise ConflictError(f"upload {upload.id[:12]} has ended")
            if offset != growing.size:
                raise RefusedError(
                    f"{name}: chunk at {offset}, but {growing.size} bytes are held; open the upload again"
                )
            if growing.size + len(data) > file.size:
                raise RefusedError(f"{name}: more bytes than the {file.size} that were claimed")
            growing.write(data)
            intake.chunks[name] += 1
            if growing.size == file.size:
                growing.finish()

    def finish(self, upload: UploadRecord) -> Verdict:
        """Verify an upload and keep the shard, or refuse it and keep nothing."""
        if upload.state != "open":
            return _ended(upload)
        with self.intakes.of(upload).turn:
            upload = self.uploads.upload(upload.id)  # it may have been finished while this call waited
            if upload.state == "open":
                return self._finish(upload)
        self.intakes.forget(upload.id)
        return _ended(upload)

    def _finish(self, upload: UploadRecord) -> Verdict:
        shard_id = Digest(upload.id)
        try:
            weights, sketch = self._received(upload)
            claim = self._verify(upload, weights)
            self.tombstones.refuse_weights(sketch)
        except (TrustError, RefusedError, NotFoundError) as error:
            verdict = self._refuse(upload, str(error))
            report = JobReport(state=JobState.FAILED, detail=f"refused by the coordinator: {error}")
            self.tasks.report(upload.task, report)
            return verdict
        with self.one_at_a_time:
            status = self.tasks.by_nonce(claim.nonce)
            if status.report.state.final and not self._is_kept(shard_id):
                return self._refuse(upload, "the task that this shard answers has been answered by another one")
            self._keep(upload, claim, sketch)
        return self._still_wanted(upload, claim)

    def _still_wanted(self, upload: UploadRecord, claim: ShardClaim) -> Verdict:
        """Look at the contract once more: a removal that ran meanwhile did not see this shard."""
        shard_id = Digest(upload.id)
        state = self.contracting.governing(claim.contract).state
        if state is ContractState.ACTIVE:
            return Verdict(admitted=True, shard=shard_id)
        self.vault.unlink(upload.party, shard_file(shard_id, ""))
        self.shards.set_state(shard_id, ShardState.ERASED)
        self.logbook.log.erase_body(shard_id)
        return self._refuse(upload, f"its contract became {state} while the shard was being admitted")

    def _refuse(self, upload: UploadRecord, reason: str) -> Verdict:
        self.intakes.forget(upload.id)
        self.vault.unlink(upload.party, incoming(upload) + "/")
        if not self._is_kept(Digest(upload.id)):  # after a crash its files may be there already
            self.vault.unlink(upload.party, shard_file(Digest(upload.id), ""))
        self.uploads.settle(upload.id, "refused", reason)
        return Verdict(admitted=False, shard=Digest(upload.id), reason=reason)

    def _is_kept(self, shard_id: Digest) -> bool:
        return any(shard.id == shard_id for shard in self.shards.shards())

    def _verify(self, upload: UploadRecord, weights: WeightsFile) -> ShardClaim:
        task = self.tasks.by_nonce(claim_of(upload).nonce).task
        contract = self.contracts.contract(Digest.parse(task.contract))
        recipe = self.contracts.recipe(Digest.parse(task.recipe))
        self.tombstones.refuse_id(Digest(upload.id))
        policy = AdmissionPolicy(
            party=upload.party,
            nonce=task.nonce,
            roster=self.logbook.roster().value,
            contract=self.contracting.prove(contract),
            state=contract.state,
            recipe=recipe.digest,
            config=recipe.config,
            tensors={name: TensorSpec(dtype, shape) for name, (dtype, shape) in recipe.tensors.items()},
            now=self.clock(),
            max_bytes=MAX_SHARD_BYTES,
            sub_shard=task.sub_shard,
        )
        with ExitStack() as opened:
            files: dict[str, BinaryIO] = {
                file.name: opened.enter_context(self.vault.grown(upload.party, *grown_as(upload, file.name)))
                for file in files_of(upload)
                if file.name != WEIGHTS
            }
            return admit(upload.claim, files, policy, weights).claim.value

    def _received(self, upload: UploadRecord) -> tuple[WeightsFile, WeightSketch]:
        """What the weights hold, once every file of the claim is whole. RefusedError."""
        intake = self.intakes.of(upload)
        for name, file in intake.files.items():
            held = self.intakes.growing(intake, upload, name).size
            if held != file.size:
                raise RefusedError(f"{name}: {held} of the {file.size} bytes of its claim came")
        if intake.reading is None:
            raise RefusedError(f"the claim lists no {WEIGHTS}")
        return intake.reading.found()

    def _keep(self, upload: UploadRecord, claim: ShardClaim, sketch: WeightSketch) -> None:
        for file in claim.files:  # as they came and were verified, under another name
            self.vault.keep(upload.party, *grown_as(upload, file.name))
        self.tombstones.keep(Digest(upload.id), sketch)  # before anybody can hear of the shard
        envelope = Envelope.parse(upload.claim)
        self.logbook.record(Kind.SHARD, envelope)
        self._add(
            ShardRecord(
                id=statement_id(envelope),
                party=upload.party,
                contract=claim.contract,
                recipe=claim.recipe,
                claim=upload.claim,
                admitted=self.clock(),
                state=ShardState.LIVE,
            )
        )
        self.intakes.forget(upload.id)
        self.uploads.settle(upload.id, "admitted", "")
        self.vault.unlink(upload.party, incoming(upload) + "/")
        self.tasks.report(
            upload.task,
            JobReport(state=JobState.SHIPPED, step=claim.steps, steps=claim.steps, detail=str(Digest(upload.id))),
        )

    def _add(self, shard: ShardRecord) -> None:
        """Add a shard, unless a crash came between adding it and settling its upload."""
        try:
            self.shards.add(shard)
        except ConflictError:
            return


def _ended(upload: UploadRecord) -> Verdict:
    """What an upload that has ended came to."""
    return Verdict(admitted=upload.state == "admitted", shard=Digest(upload.id), reason=upload.detail)
