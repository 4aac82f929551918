"""A gated SuperLink, its executor and SuperNodes as real processes on loopback, each in its own directory."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from severable_client.adapters import flower_node
from severable_client.adapters.flower_node import NodeConfig
from severable_coordinator.adapters import engine
from severable_coordinator.adapters.authority import issue_server, new_authority
from severable_coordinator.adapters.control import RunStatus
from severable_coordinator.adapters.engine import EngineConfig

FIXTURE = Path(__file__).parent
APP = FIXTURE / "app"
_STOP_S = 8.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 600.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.1)


@dataclass
class Processes:
    """Everything started here; leaving the block ends it all, whatever happened."""

    running: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            _wait(process)

    def start(self, command: list[str], environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self.running.append(process)
        return process


def _wait(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class Owner:
    """One owner's throw-away home: a node key, a list of allowed bundles, what its desk was asked."""

    home: Path
    config: NodeConfig

    @property
    def public_key(self) -> Path:
        return self.home / "node.pub"

    def allow(self, *bundles: str) -> None:
        (self.home / "bundles").write_text("\n".join(bundles))

    def asked(self) -> list[dict[str, str]]:
        return _lines(self.home / "asked.jsonl")

    def log(self, name: str) -> str:
        return (self.home / name).read_text(errors="replace")


@dataclass
class Federation:
    """A SuperLink on loopback and what is needed to talk to it."""

    root: Path
    processes: Processes
    config: EngineConfig

    @property
    def mark(self) -> Path:
        """Where a bundle's own code would leave a mark on an owner's machine."""
        return self.root / "bundle-code-ran"

    def add_owner(self, name: str, superlink_port: int | None = None) -> Owner:
        home = self.root / name
        home.mkdir()
        _write_key(home)
        config = NodeConfig(
            directory=home / "flower",
            superlink=f"127.0.0.1:{superlink_port or self.config.fleet_port}",
            ca=self.config.ca,
            private_key=home / "node",
            runtime_port=free_port(),
        )
        flower_node.prepare(config)
        owner = Owner(home, config)
        owner.allow()
        return owner

    def start_node(self, owner: Owner) -> "subprocess.Popen[bytes]":
        environment = self._marked(flower_node.environment(owner.config))
        return self.processes.start(
            flower_node.supernode_command(owner.config), environment, owner.home / "supernode.log"
        )

    def start_executor(self, owner: Owner) -> "subprocess.Popen[bytes]":
        runtime = f"127.0.0.1:{owner.config.runtime_port}"
        command = [sys.executable, "-P", str(FIXTURE / "owner.py"), runtime, str(owner.config.secret), str(owner.home)]
        environment = self._marked(flower_node.environment(owner.config))
        return self.processes.start(command, environment, owner.home / "executor.log")

    def start(self) -> None:
        engine.prepare(self.config)
        environment = self._marked(engine.environment(self.config)) | {"SEVERABLE_HOME": str(self.root)}
        superlink = self.processes.start(
            engine.superlink_command(self.config), environment, self.root / "superlink.log"
        )
        self.processes.start(engine.executor_command(self.config), environment, self.root / "executor.log")
        engine.wait_healthy(self.config, 30.0, lambda: superlink.poll() is None)

    def wait_online(self, count: int) -> None:
        wait_until(lambda: self._online() >= count, f"{count} nodes online")

    def run(self, bundle: Path, batch: str, owners: list[Owner], timeout_s: float = 600.0) -> RunStatus:
        """Open one task for each owner, start a run and wait for its end."""
        tasks = [task_for(owner, batch) for owner in owners]
        (self.root / "tasks.json").write_text(json.dumps(tasks))
        run_id = engine.submit(self.config, bundle, {"batch": batch})
        wait_until(lambda: engine.run_status(self.config, run_id).finished, f"run of {batch}", timeout_s)
        return engine.run_status(self.config, run_id)

    def reports(self, task_id: str) -> list[dict[str, Any]]:
        return [line for line in _lines(self.root / "reports.jsonl") if line["task"] == task_id]

    def _online(self) -> int:
        return sum(node.status == "online" for node in self.config.control.nodes())

    def _marked(self, environment: dict[str, str]) -> dict[str, str]:
        return environment | {"ENGINE_TEST_MARK": str(self.mark)}


def task_for(owner: Owner, batch: str) -> dict[str, str]:
    return {
        "id": f"{batch}-{owner.home.name}",
        "batch": batch,
        "party": owner.home.name,
        "node_key": owner.public_key.read_text(),
        "contract": "sha256:" + "1" * 64,
        "recipe": "sha256:" + "2" * 64,
        "nonce": "3" * 64,
    }


def new_federation(root: Path, processes: Processes) -> Federation:
    now = datetime.now(UTC).replace(microsecond=0)
    authority = new_authority("engine-test", now)
    server = issue_server(authority, "127.0.0.1", now)
    files = {"ca.pem": authority.certificate, "server.pem": server.certificate, "server.key": server.private_key}
    for name, data in files.items():
        (root / name).write_bytes(data)
    config = EngineConfig(
        directory=root / "engine",
        certificate=root / "server.pem",
        private_key=root / "server.key",
        ca=root / "ca.pem",
        host="127.0.0.1",
        fleet_port=free_port(),
        control_port=free_port(),
    )
    return Federation(root, processes, config)


def _write_key(home: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    descriptor = os.open(home / "node", os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)
    (home / "node.pub").write_bytes(public + b" " + home.name.encode())


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
