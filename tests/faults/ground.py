"""One coordinator as it really runs, SuperLink and all, which the owners of many fault tests share."""

import json
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from client.samples import invite_of
from coordinator.federation import GROUP, REPOSITORY, terms
from faults.processes import PATIENCE_S, Process, command, end, noted, start, until

from severable_client.invite import FORMAT, Invite, parse_invite
from severable_coordinator.adapters.engine import submit
from severable_coordinator.adapters.founding import found_home
from severable_coordinator.adapters.recipes import record_of
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.config import Config, Layout, Ports
from severable_coordinator.dispatch import Task
from severable_coordinator.ports import RecipeRecord
from severable_coordinator.stores import utc_now
from severable_demo.federation import free_ports
from severable_diffusion.recipe import Recipe
from severable_trust.instant import format_instant

TINY = REPOSITORY / "deploy/severable_demo/recipes/tiny.json"
_LONG: dict[str, Any] = {"training": {"max_steps": 600, "epochs": 100_000}, "bank": {"steps": 100}}
_WIDE: dict[str, Any] = {
    "training": {"max_steps": 4}, "architecture": {"block_out_channels": [112]}, "bank": {"steps": 2},
}  # fmt: skip
_BOTH: dict[str, Any] = _WIDE | {"training": {"max_steps": 60, "epochs": 100_000}, "bank": {"steps": 4}}


def _recipe(name: str, **changes: dict[str, Any]) -> RecipeRecord:
    plain: dict[str, Any] = json.loads(TINY.read_text())
    fields = {part: plain[part] | change for part, change in changes.items()}
    return record_of(Recipe.from_dict(plain | fields | {"name": name}))


@dataclass
class Ground:
    """A coordinator's home and its process.

    Attributes:
        home: its home.
        took_s: seconds that its first start took: a measure of the machine.
    """

    home: Path
    took_s: float = 0.0
    _process: Process | None = field(default=None)

    @classmethod
    def founded(cls, root: Path) -> "Ground":
        """A new coordinator that runs."""
        enrolment, exchange, fleet, control = free_ports(4)
        ports = Ports(enrolment=enrolment, exchange=exchange, fleet=fleet, control=control)
        made = cls(root / "coordinator")
        config = Config(id="federation", legal_name="Federation", host="127.0.0.1", ports=ports)
        found_home(Layout(made.home), config, REPOSITORY / "deploy/flower-app", utc_now())
        made.coordinator.logbook.issue_roster()
        began_s = time.monotonic()
        made.up()
        made.took_s = time.monotonic() - began_s
        return made

    @cached_property
    def coordinator(self) -> Coordinator:
        """What an operator's command sees."""
        return open_home(self.home)

    @cached_property
    def long(self) -> RecipeRecord:
        """A recipe that trains for seconds, and whose gate takes one."""
        return _recipe("long", **_LONG)

    @cached_property
    def wide(self) -> RecipeRecord:
        """A recipe of some megabytes of weights, trained in no time."""
        return _recipe("wide", **_WIDE)

    @cached_property
    def both(self) -> RecipeRecord:
        """A recipe of some megabytes of weights that trains for seconds."""
        return _recipe("both", **_BOTH)

    @property
    def pid(self) -> int:
        """The coordinator's process."""
        return self._process.pid if self._process else 0

    @property
    def superlink(self) -> int:
        """SuperLink's process."""
        return noted(self.coordinator.layout.children, "adapters.superlink")

    @property
    def said(self) -> str:
        """All that the coordinator said since its last start."""
        return self._log.read_text(errors="replace")

    @property
    def _log(self) -> Path:
        return self.home.parent / "coordinator.log"

    def up(self) -> None:
        """Start it, as an administrator or systemd would, unless it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        self._log.write_text("")
        self._process = start(command("severable_coordinator", "up", "--home", str(self.home)), self._log)
        runs = self._process
        until(lambda: " is up;" in self.said, "the coordinator is up", lambda: runs.poll() is None)

    def wait(self) -> int:
        """Wait for its end; return how it ended."""
        assert self._process is not None
        try:
            return self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise AssertionError("the coordinator did not end") from error

    def end(self) -> None:
        """End it and all that it started."""
        end(self._process, self.coordinator.layout.children)

    def invite(self, party: str) -> Invite:
        """An invite that lets a party in at once."""
        token, expires = self.coordinator.enrolment.invite(party, approved=True)
        fields = {
            "format": FORMAT,
            "party": party,
            "coordinator": self.coordinator.config.enrolment_address,
            "ca_pem": self.coordinator.authority.certificate.decode(),
            "token": token,
            "expires": format_instant(expires),
        }
        return parse_invite(invite_of(fields))

    def offer(self, party: str, recipe: RecipeRecord) -> None:
        """Offer a contract over one recipe."""
        self.coordinator.contracting.offer(party, recipe, terms(recipients=(GROUP,), memorization_ceiling=1.0), None)

    def ask(self, party: str, recipe: RecipeRecord, *, by_message: bool) -> Task:
        """Open a party's task, and let Flower carry the message if wanted."""
        batch, (task,) = self.coordinator.training.open_batch(recipe.digest, frozenset({party}))
        if by_message:
            submit(self.coordinator.engine, self.coordinator.layout.bundle, {"batch": batch})
        return task

    @contextmanager
    def nothing_can_be_written(self) -> Iterator[None]:
        """Hold the database's write lock: an admission comes as far as its first entry and waits there."""
        connection = sqlite3.connect(self.coordinator.layout.database, isolation_level=None, timeout=60.0)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
        finally:
            connection.close()
