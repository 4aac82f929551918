"""What else goes wrong at an owner while it trains and ships: after each fault one whole shard has arrived, once."""

import os
import re
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from client.small_disk import require_mountable, small_disk
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from faults.clock import WrongClock
from faults.conftest import Joining
from faults.ground import Ground
from faults.owner import IMAGES, Owner
from faults.processes import PATIENCE_S, command, until
from faults.stages import STALL_BYTES, comes_to_upload

from severable_client.adapters.keys import certificate_term
from severable_client.ports import JobState
from severable_coordinator.dispatch import JobState as TaskState

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),  # flwr's own use of pathspec
]

HOUR_S = 3600
MOST_SENT = 1.45  # times a shard's bytes, of an upload that was cut after three fifths: begun anew it would be 1.6


@pytest.mark.soak  # in `make test`: a part of the day on which everything is killed once
def test_a_link_that_is_cut_mid_upload(ground: Ground, joined: Joining) -> None:
    with joined(ground.wide) as owner:
        owner.link.stall_after(STALL_BYTES)
        owner.up()
        owner.train()
        comes_to_upload(owner)
        owner.link.cut()
        owner.link.flow()
        owner.ships()
        sent = sum(entry.bytes for entry in owner.opened.journal.all() if entry.what == "shard, upload begun")
        assert sent < owner.link.carried < MOST_SENT * sent


@pytest.mark.soak  # in `make test`: a worker's full disks, in tests/client/test_interrupted.py
def test_a_full_disk(ground: Ground, joined: Joining, tmp_path: Path) -> None:
    require_mountable(tmp_path)
    with joined(ground.long) as owner:
        owner.up(small_disk(owner.opened.layout.jobs, "8m", ballast=(8 << 20) - (16 << 10)))
        owner.sight = Path(f"/proc/{owner.pid}/root")
        owner.train()
        until(lambda: "the disk is full; free some space" in owner.said, "the disk is full")
        until(lambda: owner.worker == 0, "the worker has ended")
        (owner.sight / owner.opened.layout.jobs.relative_to("/") / "ballast").unlink()
        os.kill(owner.pid, signal.SIGHUP)  # or wait for a minute
        owner.ships()
        assert len(re.findall("the disk is full", owner.said)) == 1
        assert owner.job is not None
        assert owner.job.attempts == 1  # the one without space is not counted


@pytest.mark.soak  # in `make test`: the same line, in tests/client/test_upkeep.py
@pytest.mark.parametrize(
    ("shift_s", "line"),
    [
        pytest.param(HOUR_S, r"this machine's clock is 3[56]\d\d\.\d s ahead of the coordinator's", id="clock ahead"),
        pytest.param(-HOUR_S, r"check the address, the network and this machine's clock", id="clock behind"),
    ],
)  # fmt: skip
def test_a_clock_that_is_an_hour_off(ground: Ground, joined: Joining, tmp_path: Path, shift_s: int, line: str) -> None:
    clock = WrongClock.made(tmp_path, shift_s)
    with joined(ground.long) as owner:
        owner.up(**clock.environment)
        owner.train(by_message=True)
        until(lambda: re.search(line, owner.said) is not None, "the clock's line")
        assert owner.job is None
        clock.set(0)
        owner.ships()
        assert len(re.findall(line, owner.said)) == 1


@pytest.mark.soak  # in `make test`: a part of the day on which everything is killed once
def test_a_data_file_that_vanishes_during_training(ground: Ground, joined: Joining) -> None:
    with joined(ground.long) as owner:
        owner.up()
        owner.train()
        owner.comes_to_train()
        (owner.images / "003.png").unlink()  # what is trained on was read and prepared before
        owner.ships()
        assert owner.claim.images == IMAGES


@pytest.mark.soak  # in `make test`: an image that is gone, in tests/client/test_prepared_images.py
def test_a_data_file_that_vanishes_between_check_and_training(ground: Ground, joined: Joining, tmp_path: Path) -> None:
    with joined(ground.long) as owner:
        names = sorted(path.name for path in owner.images.iterdir())
        (owner.images / "metadata.csv").write_text("file_name\n" + "".join(f"{name}\n" for name in names))
        check = command("severable_client", "data", "check", "--home", str(owner.home))
        assert subprocess.run(check, capture_output=True, check=False).returncode == 0
        (owner.images / "003.png").rename(tmp_path / "003.png")
        owner.up()
        owner.train(by_message=True)
        owner.comes_to(lambda job: job.report.state is JobState.FAILED, "failed for want of an image")
        assert owner.job is not None
        assert "003.png" in owner.job.report.detail
        assert len(owner.job.report.detail.splitlines()) == 1
        until(lambda: owner.tasks()[-1].report.state is TaskState.FAILED, "the coordinator knows")
        assert "003.png" not in owner.tasks()[-1].report.detail + owner.said
        (tmp_path / "003.png").rename(owner.images / "003.png")
        owner.train(by_message=True)
        owner.ships()
        assert owner.claim.images == IMAGES


@pytest.mark.soak  # in `make test`: a part of the day on which everything is killed once
def test_two_daemons_on_one_home(ground: Ground, joined: Joining) -> None:
    with joined(ground.long) as owner:
        owner.up()
        owner.train()
        owner.comes_to_train()
        second = command("severable_client", "up", "--home", str(owner.home))
        refused = subprocess.run(second, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert refused.returncode == 1
        assert f"has a daemon already (process {owner.pid})" in refused.stderr
        assert len((refused.stdout + refused.stderr).splitlines()) == 1
        owner.ships()


@pytest.mark.soak  # in `make test`: renewal itself, in tests/client/test_renewal.py
def test_a_certificate_that_expires_mid_training(ground: Ground, joined: Joining) -> None:
    with joined(ground.long) as owner:
        ends = datetime.now(UTC) + timedelta(seconds=max(20.0, 3 * ground.took_s))
        shorten(owner, ends)
        owner.up()
        owner.train()
        owner.comes_to_train()
        os.kill(owner.worker, signal.SIGSTOP)  # a training that outlasts the certificate
        until(lambda: certificate_term(owner.opened.layout)[1] > ends, "the certificate is renewed")
        time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()))
        os.kill(owner.worker, signal.SIGCONT)
        owner.ships()


def shorten(owner: Owner, ends: datetime) -> None:
    """Have the authority issue the owner's certificate again, over the same key and for a moment only."""
    authority = owner.ground.coordinator.authority
    key = serialization.load_pem_private_key(authority.private_key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    path = owner.opened.layout.tls_certificate
    held = x509.load_pem_x509_certificate(path.read_bytes())
    built = (
        x509.CertificateBuilder(held.issuer, held.subject, held.public_key(), x509.random_serial_number())
        .not_valid_before(held.not_valid_before_utc)
        .not_valid_after(ends)
    )
    for extension in held.extensions:
        built = built.add_extension(extension.value, extension.critical)
    path.write_bytes(built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
