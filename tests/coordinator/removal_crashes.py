"""A removal killed at its durable operations, then gone on with by a new process: for every trigger, at every point.

    python -P -m coordinator.removal_crashes --work DIR [--trigger NAME] [--points N] [--seed N]

writes one JSON line for each point. Each point has a copy of one home and two processes: the first is killed (SIGKILL)
by the guillotine, the second does what an operator or a party would do next, and looks whether all is as after a
removal that nothing disturbed. Both are forks of this one, which has loaded torch once.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from coordinator.byte_scan import Secret, found_in, of_key, of_weights
from coordinator.federation import GROUP, ManualClock, World, quiet, shard_files
from coordinator.guillotine import Guillotine

from severable_coordinator.adapters.carrying import carry_out
from severable_coordinator.adapters.cli.app import main as command_line
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.orders import Cause
from severable_coordinator.ports import ShardState
from severable_coordinator.stores import utc_now
from severable_trust.bundle import verify_receipt
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.order import OrderClause, OrderReason
from severable_trust.receipt import Receipt
from severable_trust.removal import RECORDS, TERMINATION, ErasureRequest
from severable_trust.statement import Kind, sign_statement, statement_id

PARTIES = ("archive", "clinic", "agency")
LEAVING = "agency"
# The last one holds a number of entries; a kill between its writing and its renaming leaves it to the next append.
_PASSING = {"coordinator.db-wal", "coordinator.db-shm", "keys/clock.mark", "keys/log.mark.partial"}
_TURNS = "turns/"  # files of locks, which a killed process leaves behind; they hold nothing


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """How a removal begins.

    Attributes:
        run: what the process does that is killed, and the next one again.
        clause: of the party's request, where there is one.
        asked: what has happened before.
        ago: how long ago the federation was made, as its own clocks say.
        days: the leaving party's contract's term.
    """

    run: Callable[[Coordinator, Envelope], object]
    clause: str = TERMINATION
    asked: Callable[[Coordinator, Envelope], object] = lambda _coordinator, _request: None
    ago: timedelta = timedelta()
    days: int = 365


def _receive(coordinator: Coordinator, request: Envelope) -> object:
    return coordinator.requests.receive(LEAVING, request)


def _ask_and_run(coordinator: Coordinator, request: Envelope) -> object:
    return coordinator.removal.run(coordinator.requests.receive(LEAVING, request), quiet)


def _command(coordinator: Coordinator, _request: Envelope) -> None:
    """The operator's command; there is nothing to do where the receipt is there already."""
    home = coordinator.layout.home
    if all(record.state == "fulfilled" for record in coordinator.removals.removals()):
        return
    coordinator.database.close()
    sys.argv = ["severable-coordinator", "remove", LEAVING, "--home", str(home)]
    try:
        command_line()
    except SystemExit as ended:
        if ended.code not in {0, None}:
            raise RuntimeError(str(ended.code)) from ended


def _enforce(coordinator: Coordinator, _request: Envelope) -> None:
    """A look of `up` and the work of its worker."""
    now = coordinator.clock()
    coordinator.enforcement.settle(now)
    for record in coordinator.enforcement.due(now):
        carry_out(coordinator, record.request, quiet, lambda _line: None)


def _order(cause: Cause) -> Callable[[Coordinator, Envelope], None]:
    """The operator orders it, unless it was ordered already, and `up` carries it out."""

    def run(coordinator: Coordinator, request: Envelope) -> None:
        if not coordinator.removals.removals():
            coordinator.orders.order(coordinator.contracts.contracts(LEAVING)[0].id, cause)
        _enforce(coordinator, request)

    return run


_BREACH = Cause(clause=OrderClause.BREACH, code=OrderReason.FALSE_STATEMENT, evidence="the claim names other images")
_TERMINATION = Cause(clause=OrderClause.TERMINATION, code=OrderReason.LEGAL_ORDER, reason="ordered")
TRIGGERS: Mapping[str, Trigger] = {
    "the party's request": Trigger(run=_ask_and_run),
    "erasure of records": Trigger(clause=RECORDS, run=_ask_and_run),
    "the operator's command": Trigger(asked=_receive, run=_command),
    "a term that ends": Trigger(run=_enforce, ago=timedelta(days=3), days=2),
    "a breach": Trigger(run=_order(_BREACH)),
    "the operator's order": Trigger(run=_order(_TERMINATION)),
}
"""Every test and the benchmark take them from here."""


@dataclass(frozen=True)
class Outcome:
    """How one point ended; `why` is empty where all is as it must be."""

    trigger: str
    point: int
    operation: str
    why: str


@dataclass(frozen=True, kw_only=True)
class State:
    """What must be the same after any crash: compared with an undisturbed removal's."""

    receipt: tuple[object, ...]
    shards: tuple[tuple[str, str], ...]
    contracts: tuple[tuple[str, str], ...]
    composite: str
    open_tasks: int
    files: tuple[str, ...]


class Scene:
    """One home in which a removal is about to begin, and how to do it.

    Args:
        work: where homes are made.
        name: the trigger's.
    """

    def __init__(self, work: Path, name: str) -> None:
        self.name, self.trigger = name, TRIGGERS[name]
        self.home, self.template = work / "home", work / "template"
        world = World(self.template, clock=ManualClock(utc_now() - self.trigger.ago))
        for party in PARTIES:
            world.join(party)
            world.agree(party, **({"days": self.trigger.days} if party == LEAVING else {}))
        shards = {party: world.ship(party) for party in PARTIES}
        world.coordinator.building.assemble(GROUP, quiet)
        self.shard = shards[LEAVING]
        self.secrets = _secrets(world, self.shard)
        self.request = _request(world, self.trigger.clause, self.shard)
        self.trigger.asked(world.coordinator, self.request)
        world.coordinator.database.close()
        self.operations = json.loads(self._in_a_fork(lambda: json.dumps(self._run(0))))
        self.undisturbed = self._in_a_fork(lambda: json.dumps(self._state()))
        if left := self._in_a_fork(lambda: "; ".join(found_in(self.home, self.secrets))):
            raise AssertionError(f"{name}: an undisturbed removal leaves {left}")

    def points(self, wanted: int, seed: int) -> list[int]:
        """So many points at equal distances from a random first one; 0 means all."""
        every = range(1, len(self.operations) + 1)
        if not wanted or wanted >= len(every):
            return list(every)
        step = len(every) / wanted
        first = random.Random(seed).random() * step  # noqa: S311  # which points are looked at is no secret
        return [1 + int(first + number * step) for number in range(wanted)]

    def outcome(self, point: int) -> Outcome:
        """Kill at one point, go on, and look."""
        self._copy()
        status = self._fork(lambda _write: self._run(point))
        why = "" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else f"it ended with {status}"
        return Outcome(self.name, point, self.operations[point - 1], why or self._in_a_fork(self._resumed))

    def _run(self, point: int) -> list[str]:
        if not point:
            self._copy()
        guillotine = Guillotine(self.home, point)
        coordinator = open_home(self.home)
        guillotine.arm()
        self.trigger.run(coordinator, self.request)
        coordinator.database.close()
        return guillotine.heard

    def _resumed(self) -> str:
        coordinator = open_home(self.home)
        self.trigger.run(coordinator, self.request)
        coordinator.database.close()
        if left := found_in(self.home, self.secrets):
            return "; ".join(left)
        found, wanted = self._state(), json.loads(self.undisturbed)
        different = [name for name in wanted if found[name] != wanted[name]]
        return "; ".join(f"{name}: {_difference(found[name], wanted[name])}" for name in different)

    def _state(self) -> dict[str, Any]:
        coordinator = open_home(self.home)
        (record,) = coordinator.removals.removals()
        ids = [statement_id(Envelope.parse(coordinator.log.body(d))) for d in coordinator.log.statements(Kind.RECEIPT)]
        receipt = verify_receipt(coordinator.requests.receipt(record), coordinator.trust_root).receipt
        if record.state != "fulfilled" or ids != [receipt.id]:
            raise AssertionError(f"removal is {record.state}, receipts in the log: {len(ids)}")
        if coordinator.vault.names(LEAVING) or coordinator.building.compartments([self.shard]):
            raise AssertionError("files of the party, or of its routers, are left")
        states = coordinator.shards.shards(None)
        if {s.state for s in states if s.id == self.shard} != {ShardState.ERASED}:
            raise AssertionError("the shard is no tombstone")
        state = State(
            receipt=_said(receipt.value),
            shards=tuple((str(shard.id), shard.state.value) for shard in states),
            contracts=tuple((record.party, record.state.value) for record in coordinator.contracts.contracts()),
            composite=str(coordinator.building.live(GROUP).id),
            open_tasks=len(coordinator.tasks.unfinished()),
            files=(),
        )
        coordinator.database.close()
        files = (path.relative_to(self.home).as_posix() for path in sorted(self.home.rglob("*")) if path.is_file())
        complete = replace(state, files=tuple(n for n in files if n not in _PASSING and not n.startswith(_TURNS)))
        return dict(json.loads(json.dumps(asdict(complete))))

    def _copy(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.template, self.home)

    def _in_a_fork(self, work: Callable[[], str]) -> str:
        """What a process of its own says, or how it failed."""
        said = self.home.with_name("said")
        said.unlink(missing_ok=True)
        status = self._fork(lambda write: write(work()))
        text = said.read_text() if said.is_file() else ""
        return text if status == 0 else f"it ended with {status}: {text}"

    def _fork(self, work: Callable[[Callable[[str], object]], object]) -> int:
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return os.waitpid(pid, 0)[1]
        write = self.home.with_name("said").write_text
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work(write)
        except BaseException:  # noqa: BLE001  # a fork must not go on as its parent
            write(traceback.format_exc(limit=-3).replace("\n", " | "))
            os._exit(1)
        os._exit(0)


def _difference(found: object, wanted: object) -> str:
    if isinstance(found, list) and isinstance(wanted, list):
        return f"{[item for item in found if item not in wanted]} for {[item for item in wanted if item not in found]}"
    return f"{found} for {wanted}"


def _said(receipt: Receipt) -> tuple[object, ...]:
    """What a receipt says but for times and its own name."""
    return (
        receipt.outcome,
        sorted((action.artifact, str(action.digest)) for action in receipt.actions if action.artifact != "key"),
        [(change.group, str(change.after), change.status.value) for change in receipt.composites],
        [check.result for check in receipt.checks],
    )


def _secrets(world: World, shard: Digest) -> list[Secret]:
    keys = [LEAVING, *world.coordinator.building.compartments([shard])]
    found = of_weights(LEAVING, shard_files(LEAVING)["model.safetensors"])
    for name in keys:
        found += of_key(name, (world.coordinator.layout.data_keys / f"{name}.json").read_bytes())
    return found


def _request(world: World, clause: str, shard: Digest) -> Envelope:
    request = ErasureRequest(
        request_id=str(uuid.uuid4()),
        party=LEAVING,
        contract=world.coordinator.contracts.contracts(LEAVING)[0].id,
        clause=clause,
        reason_code="consent-withdrawn",
        reason="",
        subjects=(shard,) if clause == RECORDS else (),
        submitted=world.clock(),
    )
    return sign_statement(request, world.owners[LEAVING].signer)


def outcomes(work: Path, triggers: list[str], points: int, seed: int) -> Iterator[Outcome]:
    """Every wanted point of every wanted trigger, one after the other."""
    for number, name in enumerate(triggers):
        folder = work / str(number)
        folder.mkdir(parents=True)
        scene = Scene(folder, name)
        yield from map(scene.outcome, scene.points(points, seed))
        shutil.rmtree(folder)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--trigger", choices=[*TRIGGERS], action="append")
    parser.add_argument("--points", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for outcome in outcomes(chosen.work, chosen.trigger or [*TRIGGERS], chosen.points, chosen.seed):
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
