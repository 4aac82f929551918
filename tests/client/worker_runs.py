"""One job at a home that joined, and the worker processes that work at it: shared by tests and benchmarks/resume.py."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from client.exchange_service import Service, serving
from client.samples import NONCE, RECIPE_BYTES, Federation, item, make_home

from severable_client.adapters.config import write_config
from severable_client.adapters.keys import read_signer
from severable_client.adapters.training_folder import CHECKPOINT
from severable_client.bootstrap import Home, job_desk, now, open_home
from severable_client.contracts import receive
from severable_client.placement import Placement
from severable_client.ports import Job, JobReport, JobRequest, JobState
from severable_client.shipping import Patience
from severable_client.training import read_recipe
from severable_client.worker import Worker
from severable_diffusion import network
from severable_diffusion.images import read_image_folder
from severable_diffusion.training import Trainer
from severable_trust.contract import ContractState
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.statement import sign_statement, statement_id

QUICK = Patience(tries=2, first_s=0.01)


@contextmanager
def served_home(federation: Federation, root: Path, service: Service, **changes: Any) -> Iterator[Home]:
    """A home whose coordinator is the service, with other values of some fields of its configuration."""
    with serving(service, federation) as address:
        made = make_home(federation, root, address)
        write_config(made / "config.yaml", replace(open_home(made).config, **changes))
        opened = open_home(made)
        service.owner = opened.sides.own
        yield opened


def keeping_home(
    federation: Federation, root: Path, service: Service, device: str = "cpu"
) -> AbstractContextManager[Home]:
    """A home whose trainings are kept and drawn as often as a configuration allows."""
    return served_home(federation, root, service, checkpoint_minutes=0.01, grid_minutes=0.01, device=device)


def in_force(home: Home, federation: Federation, recipe: bytes = RECIPE_BYTES) -> Envelope:
    """A contract over one recipe that both sides have signed, as the home keeps it."""
    contract = federation.contract(owner=home.sides.own, begins=now(), recipes=(Digest.of(recipe),))
    signed = sign_statement(contract, federation.coordinator).countersigned(read_signer(home.layout))
    receive(item(signed, "active", recipe), home.holdings)
    return signed


def queued(home: Home, federation: Federation, recipe: bytes = RECIPE_BYTES) -> Job:
    """The home's one job, asked for and approved."""
    contract = str(statement_id(in_force(home, federation, recipe)))
    request = JobRequest(task="t", nonce=NONCE, contract=contract, recipe=str(Digest.of(recipe)))
    assert job_desk(home.layout.root)(request).state is JobState.QUEUED
    (job,) = home.jobs.all()
    return job


def command(home: Home, job: Job) -> list[str]:
    """The command line of the job's worker."""
    root = str(home.layout.root)
    return [sys.executable, "-P", "-m", "severable_client.worker", "--home", root, "--job", job.id]


def start(home: Home, job: Job) -> subprocess.Popen[str]:
    """Start the job's worker as a process of its own, on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command(home, job), env=environment, stdout=pipe, stderr=pipe, text=True)


def checkpoint(home: Home, job: Job) -> Path:
    """Where the job's training is kept."""
    return home.layout.jobs / job.id / "training" / CHECKPOINT


def uninterrupted(home: Home, job: Job, recipe: bytes) -> bytes:
    """The weights' file of the same training, run in this process from its first step to its last."""
    wanted = read_recipe(recipe)
    images_NCHW = read_image_folder(Path(home.config.data), wanted.image).images_NCHW
    plan = Placement(device=home.config.device, precision=home.config.precision.value).plan()
    return network.dump(Trainer(wanted, images_NCHW, job.seed, plan=plan).run().state_dict)


def work(home: Home, job: Job, tether: Callable[[], None] = lambda: None) -> JobReport:
    return Worker(home, job, tether, QUICK).run()


def end(home: Home) -> None:
    (record,) = home.contracts.all()
    home.contracts.put(replace(record, state=ContractState.TERMINATED))
