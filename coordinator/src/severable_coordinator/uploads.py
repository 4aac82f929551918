"""An upload's vocabulary: its limits, its verdict, where its pieces lie, and which task it answers."""

from dataclasses import dataclass
from typing import Protocol

from severable_coordinator.dispatch import JobReport, Task
from severable_coordinator.errors import RefusedError
from severable_coordinator.ports import UploadRecord
from severable_trust.digest import Digest, FileDigest
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified

CHUNK_BYTES = 1 << 20
MAX_SHARD_BYTES = 8 << 30


class Nonces(Protocol):
    """Which task a nonce was given to."""

    def by_nonce(self, nonce: str) -> "Statused":
        """The task of a nonce. NotFoundError."""

    def report(self, task_id: str, report: JobReport) -> None:
        """Record how far a task is."""


class Statused(Protocol):
    """A task as the store knows it."""

    @property
    def task(self) -> Task:
        """What was asked of whom."""

    @property
    def report(self) -> JobReport:
        """How far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an upload ended."""

    admitted: bool
    shard: Digest
    reason: str = ""


def require_unanswered(status: Statused) -> None:
    """Refuse a task that has ended. RefusedError."""
    if status.report.state.final:
        raise RefusedError("the task that this shard answers has ended; a nonce is good for one shard")


def shard_file(shard: Digest, name: str) -> str:
    """Where a shard's file is kept in its party's vault."""
    return f"shards/{shard.hex}/{name}"


def incoming(upload: UploadRecord) -> str:
    """Where an upload's files grow until it ends."""
    return f"incoming/{upload.id}"


def grown_as(upload: UploadRecord, name: str) -> tuple[str, str]:
    """Where a file of an upload grows, and what it is kept as once it was verified."""
    return f"{incoming(upload)}/{name}", shard_file(Digest(upload.id), name)


def claim_of(upload: UploadRecord) -> ShardClaim:
    """The claim inside an upload; its signature was verified when the upload was opened."""
    return read_unverified(upload.claim, ShardClaim)


def files_of(upload: UploadRecord) -> tuple[FileDigest, ...]:
    """The files that an upload's claim lists."""
    return claim_of(upload).files
