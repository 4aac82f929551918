"""The stages of a job, and how it is brought to one and held there while something is killed."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum

from faults.owner import Owner
from faults.processes import kill, until

from severable_client.ports import JobState
from severable_coordinator.uploads import CHUNK_BYTES
from severable_trust.shard import WEIGHTS

STALL_BYTES = 3 * CHUNK_BYTES  # of a shard of some five


class Stage(StrEnum):
    """Where a job is when something is killed."""

    TRAINING = "training"
    GATE = "the gate"
    UPLOAD = "the upload"
    ADMISSION = "the admission"


class Victim(StrEnum):
    """What is killed."""

    DAEMON = "daemon"
    SUPERNODE = "SuperNode"
    WORKER = "worker"
    SUPERLINK = "SuperLink"
    COORDINATOR = "coordinator"


def ships(stage: Stage) -> bool:
    """Whether a stage needs a shard of some size."""
    return stage in {Stage.UPLOAD, Stage.ADMISSION}


@contextmanager
def held_at(stage: Stage, owner: Owner) -> Iterator[None]:
    """Have the owner train, and give the block while its job is at a stage.

    An upload is held by a link that carries nothing more, an admission by the coordinator's own database, which lets it
    write nothing.
    """
    if ships(stage):
        owner.link.stall_after(STALL_BYTES)
    owner.up()
    owner.train(by_message=True)
    with ExitStack() as holds:
        match stage:
            case Stage.TRAINING:
                owner.comes_to_train()
            case Stage.GATE:
                owner.comes_to(lambda job: job.report.state is JobState.GATING, "the gate")
            case Stage.UPLOAD:
                holds.callback(owner.link.flow)
                comes_to_upload(owner)
            case Stage.ADMISSION:
                comes_to_upload(owner)
                holds.enter_context(held_in_admission(owner))
        yield


@contextmanager
def held_in_admission(owner: Owner) -> Iterator[None]:
    """Let the link flow, and give the block while every byte is there, verified and kept, and not yet in the log."""
    with owner.ground.nothing_can_be_written():
        owner.link.flow()
        vault = owner.ground.coordinator.vault
        until(lambda: _in(vault.names(owner.party), "shards/"), "every byte verified and kept")
        yield


def comes_to_upload(owner: Owner) -> None:
    """Wait until a link that was told to stall does, and the coordinator holds a part of the weights."""
    until(owner.link.stalled.is_set, "the middle of the upload")
    vault = owner.ground.coordinator.vault
    until(lambda: _in(vault.names(owner.party), f"/{WEIGHTS}.growing"), "a part of the weights is held")


def _in(names: list[str], part: str) -> bool:
    return any(part in name for name in names)


def strike(victim: Victim, owner: Owner) -> None:
    """kill -9 one process."""
    ground = owner.ground
    pids = {
        Victim.DAEMON: owner.pid,
        Victim.SUPERNODE: owner.supernode,
        Victim.WORKER: owner.worker,
        Victim.SUPERLINK: ground.superlink,
        Victim.COORDINATOR: ground.pid,
    }
    kill(pids[victim])


def mend(victim: Victim, owner: Owner) -> None:
    """Start what an administrator or systemd would start again; the rest must get up by itself."""
    match victim:
        case Victim.DAEMON:
            owner.up()
        case Victim.SUPERLINK:
            assert owner.ground.wait() == 1
            assert "SuperLink ended with status -9" in owner.ground.said
            owner.ground.up()
        case Victim.COORDINATOR:
            assert owner.ground.wait() == -signal.SIGKILL
            owner.ground.up()
