"""kill -9 of every process at every stage of a job: the shard arrives, once and whole, and nobody has to be called."""

import subprocess

import pytest
from faults.conftest import Joining
from faults.ground import Ground
from faults.owner import IMAGES, Owner
from faults.processes import PATIENCE_S, command, until
from faults.stages import STALL_BYTES, Stage, Victim, comes_to_upload, held_at, held_in_admission, mend, ships, strike

from severable_client.ports import JobState
from severable_coordinator.uploads import CHUNK_BYTES

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),  # flwr's own use of pathspec
]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("victim", "stage"),
    [pytest.param(victim, stage, id=f"{victim} killed during {stage}") for victim in Victim for stage in Stage],
)
def test_one_whole_shard_arrives_though_a_process_is_killed(
    ground: Ground, joined: Joining, victim: Victim, stage: Stage
) -> None:
    with joined(ground.wide if ships(stage) else ground.long) as owner:
        with held_at(stage, owner):
            strike(victim, owner)
        mend(victim, owner)
        owner.ships()


def test_a_day_on_which_everything_is_killed_once(ground: Ground, joined: Joining) -> None:
    """What `make soak` tries one by one, for one shard: every process, a second daemon, a file, and the line."""
    with joined(ground.both) as owner:
        owner.link.stall_after(STALL_BYTES)
        owner.up()
        owner.train(by_message=True)
        owner.comes_to_train()
        refuses_a_second_daemon(owner)
        strike(Victim.SUPERNODE, owner)
        strike(Victim.WORKER, owner)
        owner.comes_to_train(attempt=2)
        (owner.images / "003.png").unlink()  # what is trained on was read before
        owner.comes_to(lambda job: job.report.state is JobState.GATING, "the gate")
        strike(Victim.SUPERLINK, owner)
        mend(Victim.SUPERLINK, owner)
        comes_to_upload(owner)
        orphan = owner.worker
        strike(Victim.DAEMON, owner)
        owner.link.cut()
        mend(Victim.DAEMON, owner)
        until(lambda: owner.worker not in {0, orphan}, "another worker")
        owner.link.stall_after(CHUNK_BYTES)  # the coordinator has opened the upload again before it can write nothing
        owner.link.flow()
        comes_to_upload(owner)
        with held_in_admission(owner):
            strike(Victim.COORDINATOR, owner)
        mend(Victim.COORDINATOR, owner)
        owner.ships()
        assert owner.claim.images == IMAGES


def refuses_a_second_daemon(owner: Owner) -> None:
    second = command("severable_client", "up", "--home", str(owner.home))
    refused = subprocess.run(second, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert refused.returncode == 1
    assert f"has a daemon already (process {owner.pid})" in refused.stderr
    assert len((refused.stdout + refused.stderr).splitlines()) == 1
