"""`up` as it really runs carries out what is due, goes on after kill -9, and its services stay."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from coordinator.federation import ManualClock, World
from coordinator.mailboxes import WebServer, taking_posts
from faults.processes import Process, command, end, start, until

from severable_coordinator.ports import RemovalRecord
from severable_coordinator.stores import utc_now
from severable_demo.federation import free_ports
from severable_trust.bundle import verify_receipt
from severable_trust.contract import ContractState
from severable_trust.digest import Digest
from severable_trust.order import RemovalOrder

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),  # flwr's own use of pathspec
]

PARTIES = ("archive", "clinic", "agency")


@dataclass
class Running:
    """A world whose coordinator runs as a process of its own."""

    world: World
    process: Process | None = None
    contracts: dict[str, Digest] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.world.home.parent / "up.log"

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def up(self) -> None:
        """Start it, and wait until it is up."""
        self.log.write_text("")
        self.process = start(command("severable_coordinator", "up", "--home", str(self.world.home)), self.log)
        runs = self.process
        until(lambda: " is up;" in self.said, "the coordinator is up", lambda: runs.poll() is None)

    def kill(self) -> None:
        """kill -9, of `up` alone: its children stay behind."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def operator(self, *words: str) -> str:
        """What one of the operator's commands prints."""
        line = command("severable_coordinator", *words, "--home", str(self.world.home))
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout

    def removal(self, party: str) -> RemovalRecord | None:
        found = [record for record in self.world.reopened().removals.removals() if record.party == party]
        return found[-1] if found else None

    def fulfilled(self, party: str) -> RemovalRecord:
        """A party's removal once it is fulfilled; `up` must run meanwhile."""

        def done() -> bool:
            record = self.removal(party)
            return record is not None and record.state == "fulfilled"

        until(
            done,
            f"the removal of {party} is fulfilled",
            lambda: self.process is not None and self.process.poll() is None,
        )
        record = self.removal(party)
        assert record is not None
        return record


@pytest.fixture
def web() -> Iterator[WebServer]:
    with taking_posts() as server:
        yield server


@pytest.fixture
def running(tmp_path: Path, web: WebServer) -> Iterator[Running]:
    """Three parties with a shard each; the contract of clinic is over before the coordinator runs."""
    world = World(tmp_path / "home", clock=ManualClock(utc_now() - timedelta(days=2)))
    made = Running(world)
    for name in PARTIES:
        world.join(name)
        made.contracts[name] = world.agree(name, days=1 if name == "clinic" else 365)
        world.ship(name)
    world.clock.now = utc_now()
    layout = world.coordinator.layout
    plain = yaml.safe_load(layout.config.read_text())
    plain["ports"] = dict(zip(("enrolment", "exchange", "fleet", "control"), free_ports(4), strict=True))
    plain["enforcement"] = {"confirm_s": 4, "look_s": 0.5, "exit_after_days": 0}
    (layout.keys / "webhook.secret").write_text("a secret")
    url = f"http://127.0.0.1:{web.port}/"
    plain["notices"] = {"webhook_secret": "keys/webhook.secret", "operator": {"webhook": url}}
    layout.config.write_text(yaml.safe_dump(plain))
    yield made
    end(made.process, layout.children)
    end(None, layout.worker)


def test_up_enforces_what_is_due_goes_on_after_a_kill_and_sees_parties_out(running: Running, web: WebServer) -> None:
    running.up()
    ended = running.fulfilled("clinic")  # its term was over while the coordinator was down
    verified = verify_receipt(ended.bundle, running.world.coordinator.trust_root)
    assert isinstance(verified.request.value, RemovalOrder)
    assert verified.request.value.clause == "expiry"

    world = running.world
    world.clock.now = utc_now()
    asked = world.ask_for_erasure("archive", running.contracts["archive"])
    world.reopened().requests.receive("archive", asked)
    running.fulfilled("archive")

    evidence = ("--reason-code", "false-statement", "--evidence", "the claim names other images")
    running.operator("contract", "breach", running.contracts["agency"].hex[:10], *evidence)
    until(lambda: "removal of agency (breach) begins" in running.said, "the worker of agency's removal")
    running.kill()
    running.up()
    done = running.fulfilled("agency")
    assert world.reopened().contracts.contract(done.contract).state is ContractState.BREACHED
    with socket.create_connection(tuple(world.reopened().config.exchange_address.split(":")), timeout=10):  # type: ignore[arg-type]  # a port may be text
        pass
    states = {row["party"]: row["state"] for row in json.loads(running.operator("removals", "--format", "json"))}
    assert states == dict.fromkeys(PARTIES, "fulfilled")

    until(lambda: {p.status for p in world.reopened().parties.parties()} == {"revoked"}, "every party has left")
    until(lambda: len(web.posts) >= 8, "both orders, three receipts and three exits are told")
    events = sorted(json.loads(body)["event"] for _, _, body in web.posts)
    assert events == ["party-exit"] * 3 + ["removal-fulfilled"] * 3 + ["removal-ordered"] * 2
