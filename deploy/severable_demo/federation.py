"""The federation's life as the commands that its people type; `demo.py` and the integration test walk through it."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from severable_demo.processes import Processes

GROUP = "licensees"


@dataclass(frozen=True, slots=True)
class Federation:
    """One coordinator, its data owners, and a second coordinator, each with a directory of its own below `root`."""

    processes: Processes
    root: Path
    owners: Mapping[str, Path]  # party id -> its image folder

    @property
    def coordinator(self) -> Path:
        """The coordinator's home."""
        return self.root / "coordinator"

    @property
    def witness(self) -> Path:
        """The second coordinator's home."""
        return self.root / "witness"

    def home(self, owner: str) -> Path:
        """An owner's home."""
        return self.root / owner

    def start_coordinator(self) -> None:
        """Make the coordinator and start its servers."""
        self._init("federation", self.coordinator)
        self.processes.start(
            "coordinator", "severable-coordinator", "up", "--home", str(self.coordinator), ready="is up"
        )

    def join(self) -> None:
        """Invite every owner, let it join, and start its daemon."""
        self.processes.together(*(partial(self._join, owner) for owner in self.owners))

    def await_owners(self) -> None:
        """Wait until every owner's daemon is up."""
        for owner in self.owners:
            self.processes.await_ready(owner, f"owner {owner} is up")

    def _join(self, owner: str) -> None:
        invite = self.root / f"{owner}.invite"
        self._coordinate("party", "invite", owner, "--approved", "--out", str(invite))
        self._own(owner, "join", str(invite), "--data", str(self.owners[owner]))
        invite.unlink()
        self.processes.launch(owner, "severable-client", "up", "--home", str(self.home(owner)))

    def agree(self, recipe: Path, *, min_images: int, ceiling: float, sub_shards: int = 1) -> None:
        """Offer, review and sign one contract per owner, and approve its recipe."""
        self._coordinate(
            "contract", "offer", *self.owners, "--recipe", str(recipe), "--target", "digits", "--group", GROUP,
            "--min-images", str(min_images), "--ceiling", str(ceiling), "--sub-shards", str(sub_shards),
        )  # fmt: skip
        self.processes.together(*(partial(self._sign, owner) for owner in self.owners))

    def _sign(self, owner: str) -> None:
        self._own(owner, "contract", "review")
        self._own(owner, "contract", "sign", "--yes")
        self._own(owner, "approve", "--yes")

    def train(self) -> None:
        """Have every owner train and ship its shard."""
        self._coordinate("train")

    def compose(self, out: Path) -> str:
        """Draw banks, build the router, assemble the composite and hand it to its recipient; returns its digest."""
        return _digest(self._coordinate("assemble", "--group", GROUP, "--out", str(out)))

    def sample(self, out: Path, images: int) -> None:
        """Write the pictures of the live composite."""
        self._coordinate("sample", "--group", GROUP, "--images", str(images), "--out", str(out))

    def erase(self, owner: str, *records: str) -> dict[str, object]:
        """Let an owner erase records, for good or with --dry-run; returns what the command says."""
        return dict(json.loads(self._own(owner, "erase", *records, "--format", "json")))

    def terminate(self, owner: str, reason: str) -> None:
        """Let an owner end its contract; daemons stay up."""
        self._own(owner, "contract", "terminate", "--reason", reason, "--yes")

    def remove(self, owner: str, receipt: Path) -> str:
        """Carry the removal out; returns the new composite's digest, "" when none remains."""
        said = self._coordinate("remove", owner, "--out", str(receipt), "--format", "json")
        return str(json.loads(said)["composites"][0]["after"])

    def prove(self, owner: str) -> bool:
        """Whether what the removal left, built from scratch beside it, is equal file by file."""
        return bool(json.loads(self._coordinate("prove", owner, "--format", "json"))["equal"])

    def report(self, owner: str, before: Path, out: Path) -> None:
        """Write the page of a removal, with a picture from before."""
        self._coordinate("report", owner, "--before", str(before), "--out", str(out))

    def assembled(self, digest: str) -> Path:
        """Where the coordinator keeps the composite of a digest."""
        return self.coordinator / "composites" / GROUP / digest.removeprefix("sha256:")[:16]

    def hand_over(self) -> Path:
        """Export the shards that may still be distributed; returns the directory."""
        handover = self.root / "handover"
        self._coordinate("shards", "export", "--out", str(handover))
        return handover

    def reproduce(self, handover: Path, out: Path) -> str:
        """Put exported shards together at a second coordinator, which never saw others; returns the digest."""
        self._init("witness", self.witness)
        home = ("--home", str(self.witness))
        root = ("--trust-root", str(self.coordinator / "trust-root.json"))
        self.processes.run("severable-coordinator", "shards", "import", str(handover), *root, *home)
        return _digest(
            self.processes.run("severable-coordinator", "assemble", "--group", GROUP, "--out", str(out), *home)
        )

    def export_log(self, out: Path) -> None:
        """Write the whole log as one file that a stranger can verify."""
        self._coordinate("log", "export", "--out", str(out))

    def listing(self, *command: str) -> list[dict[str, object]]:
        """What a listing of the coordinator says."""
        home = ("--home", str(self.coordinator), "--format", "json")
        rows = json.loads(self.processes.run("severable-coordinator", *command, *home, show=False))
        return list(rows)

    def _init(self, name: str, home: Path) -> None:
        ports = [f"--{kind}-port={port}" for kind, port in zip(_KINDS, free_ports(len(_KINDS)), strict=True)]
        self.processes.run("severable-coordinator", "init", "--id", name, "--home", str(home), *ports)

    def _coordinate(self, *command: str) -> str:
        return self.processes.run("severable-coordinator", *command, "--home", str(self.coordinator))

    def _own(self, owner: str, *command: str) -> str:
        return self.processes.run("severable-client", *command, "--home", str(self.home(owner)))


_KINDS = ("enrolment", "exchange", "fleet", "control")


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on at this moment."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _digest(said: str) -> str:
    """The digest in `composite sha256:... of N shards`."""
    return said.partition("composite ")[2].partition(" ")[0]
