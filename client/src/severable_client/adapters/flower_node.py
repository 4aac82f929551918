"""The owner's Flower node: what to start, and in which environment.

This module starts no process. A SuperNode keeps the outbound connection to the coordinator's SuperLink; beside it runs
our own executor (adapters/flower_executor.py), which alone is let near its tasks.
"""

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

_LOOPBACK = "127.0.0.1"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """One owner's node.

    Attributes:
        directory: FLWR_HOME and the executor's secret.
        superlink: "host:port" of the coordinator's fleet port.
        ca: Certificate of the authority that vouches for the coordinator (PEM).
        private_key: The node's key, ECDSA P-384 in OpenSSH form; the coordinator has its public half.
        runtime_port: Loopback port between SuperNode and executor.
    """

    directory: Path
    superlink: str
    ca: Path
    private_key: Path
    runtime_port: int

    @property
    def secret(self) -> Path:
        """File with the secret that SuperNode and executor share."""
        return self.directory / "executor.secret"


def prepare(config: NodeConfig) -> None:
    """Make the directory and the secret where they are missing."""
    config.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not config.secret.exists():
        descriptor = os.open(config.secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))


def supernode_command(config: NodeConfig) -> list[str]:
    """Return the command line of the SuperNode: TLS under the given authority alone, tasks for our executor alone."""
    return [
        str(Path(sys.executable).parent / "flower-supernode"),
        "--superlink", config.superlink,
        "--root-certificates", str(config.ca),
        "--auth-supernode-private-key", str(config.private_key),
        "--isolation", "process",
        "--superexec-auth-secret-file", str(config.secret),
        "--host", _LOOPBACK,
        "--port", str(config.runtime_port),
    ]  # fmt: skip


def executor_command(config: NodeConfig, home: Path) -> list[str]:
    """Return the command line of the executor for the client in `home`."""
    return [
        sys.executable, "-P", "-m", "severable_client.adapters.flower_executor",
        "--home", str(home),
        "--runtime", f"{_LOOPBACK}:{config.runtime_port}",
        "--secret", str(config.secret),
    ]  # fmt: skip


def environment(config: NodeConfig) -> dict[str, str]:
    """Return the environment of both processes: this one's, with Flower kept quiet, offline and to itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLWR_")}
    programs = str(Path(sys.executable).parent)
    return kept | {
        "PATH": os.pathsep.join([programs, kept.get("PATH", os.defpath)]),
        "PYTHONSAFEPATH": "1",
        "NO_PROXY": ",".join(filter(None, [kept.get("NO_PROXY"), _LOOPBACK, "localhost"])),
        "FLWR_HOME": str(config.directory),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }
