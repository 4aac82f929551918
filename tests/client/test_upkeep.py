"""What the daemon does besides training: giving up on a job, and keeping in step with the coordinator."""

from dataclasses import replace
from pathlib import Path
from threading import Event

from client.exchange_service import Log, Service, serving
from client.fleet_service import fleet_port
from client.samples import NONCE, RECIPE, RECIPE_BYTES, Federation, make_home

from severable_client.adapters.backlog import ATTEMPTS, Backlog
from severable_client.adapters.keys import read_signer, read_witness
from severable_client.adapters.leftovers import Leftovers
from severable_client.adapters.upkeep import Upkeep, in_step
from severable_client.bootstrap import Home, now, open_home
from severable_client.ports import ContractRecord, Job, JobReport, JobRequest, JobState
from severable_protos.v1 import exchange_pb2 as wire
from severable_trust.contract import ContractState
from severable_trust.note import open_checkpoint
from severable_trust.statement import sign_statement, statement_id


def a_job(attempts: int) -> Job:
    request = JobRequest(task="t", nonce=NONCE, contract=str(RECIPE), recipe=str(RECIPE))
    report = JobReport(state=JobState.TRAINING, step=3, steps=9)
    return Job(id="ab" * 32, request=request, seed=1, report=report, attempts=attempts, created=now(), updated=now())


def listed(home: Home, federation: Federation, state: str) -> wire.ContractItem:
    contract = federation.contract(owner=home.sides.own, begins=now())
    signed = sign_statement(contract, federation.coordinator).countersigned(read_signer(home.layout))
    return wire.ContractItem(
        id=str(statement_id(signed)), envelope=signed.to_bytes(), state=state, recipes=[RECIPE_BYTES]
    )


def test_a_job_whose_worker_kept_ending_fails_and_names_the_log(federation: Federation, tmp_path: Path) -> None:
    home, said = open_home(make_home(federation, tmp_path)), list[str]()
    home.jobs.add(a_job(attempts=ATTEMPTS))
    backlog = Backlog(home, Leftovers(home.layout.children), said.append)
    backlog.tend()
    (job,) = home.jobs.all()
    assert job.report.state is JobState.FAILED
    assert "worker.log" in job.report.detail
    assert backlog.worker is None
    assert len(said) == 1


def test_a_contract_that_the_coordinator_ended_is_ended_here(federation: Federation, tmp_path: Path) -> None:
    service = Service()
    with serving(service, federation) as address:
        home = open_home(make_home(federation, tmp_path, address))
        service.log, service.roster = Log(federation.log), home.layout.roster.read_bytes()
        item = listed(home, federation, "active")
        service.contracts.append(item)
        in_step(home, lambda _: None)
        held = home.contracts.get(item.id)
        assert held == ContractRecord(id=item.id, envelope=item.envelope, state=ContractState.ACTIVE)
        item.state = "breached"
        in_step(home, lambda _: None)
        assert home.contracts.get(item.id) == replace(held, state=ContractState.BREACHED)


def test_an_unreachable_coordinator_is_told_once(federation: Federation, tmp_path: Path) -> None:
    home, said, spoken = open_home(make_home(federation, tmp_path, "127.0.0.1:9")), list[str](), Event()

    def say(line: str) -> None:
        said.append(line)
        spoken.set()

    upkeep = Upkeep(home, say, every_s=0.01)
    upkeep.start()
    assert spoken.wait(10)
    upkeep.stop()
    assert "does not answer" in said[0]
    assert len(said) == 1


def test_a_clock_that_is_an_hour_off_is_told_once_and_with_what_to_do(federation: Federation, tmp_path: Path) -> None:
    service, said, told = Service(), list[str](), Event()
    with serving(service, federation) as address, fleet_port(federation.authority, -3600.0) as fleet:
        home = open_home(make_home(federation, tmp_path, address))
        home = replace(home, config=replace(home.config, fleet=fleet))
        service.log, service.roster = Log(federation.log), home.layout.roster.read_bytes()

        def say(line: str) -> None:
            said.append(line)
            told.set()

        upkeep = Upkeep(home, say, every_s=0.01)
        upkeep.start()
        assert told.wait(60)
        upkeep.stop()
    assert "this machine's clock is 3" in said[0]
    assert "ahead of the coordinator's" in said[0]
    assert "set this machine's clock" in said[0]
    assert len(said) == 1


def test_the_daemon_cosigns_each_checkpoint_once_under_its_own_key(federation: Federation, tmp_path: Path) -> None:
    service = Service()
    with serving(service, federation) as address:
        home = open_home(make_home(federation, tmp_path, address))
        log = service.log = Log(federation.log, [b"a"])
        service.roster = home.layout.roster.read_bytes()
        in_step(home, lambda _: None)
        in_step(home, lambda _: None)
        log.leaves.append(b"b")
        in_step(home, lambda _: None)
    witness = read_witness(home.layout, home.config.party).vkey
    sizes = [open_checkpoint(note, federation.log.vkey, [witness]).size for note in service.cosigned]
    assert sizes == [1, 2]


def test_a_cosignature_that_is_not_taken_is_told_and_holds_nothing_up(federation: Federation, tmp_path: Path) -> None:
    service, told = Service(refuse_cosignature="no witness key"), list[str]()
    with serving(service, federation) as address:
        home = open_home(make_home(federation, tmp_path, address))
        service.log, service.roster = Log(federation.log, [b"a"]), home.layout.roster.read_bytes()
        item = listed(home, federation, "active")
        service.contracts.append(item)
        in_step(home, told.append)
    assert ["no witness key" in line for line in told] == [True]
    assert home.contracts.get(item.id) is not None
