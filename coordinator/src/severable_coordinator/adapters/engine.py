"""Flower beside the coordinator: what to start, in which environment, and what to ask of it.

This module starts no process. It says which commands to run (`superlink_command`, `executor_command`) and the caller
keeps them alive; see docs/adr/0002-engine.md for why each option is as it is.
"""

import hashlib
import os
import secrets
import socket
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from severable_coordinator.errors import BusyError, ConfigError, EngineError

if TYPE_CHECKING:
    from severable_coordinator.adapters.control import ControlApi, RunConfig, RunStatus

_LOOPBACK = "127.0.0.1"
_SECRET_BYTES = 32
_POLL_S = 0.1
_ANSWER_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Where the engine lives and listens.

    Attributes:
        directory: FLWR_HOME, the state database and the executors' secret.
        certificate: Server certificate (PEM) naming 127.0.0.1 and whatever name or address the owners' nodes use.
        private_key: Its private key (PEM).
        ca: Certificate of the authority that issued it (PEM).
        host: Address to listen on for the owners' nodes ("0.0.0.0": every address of this machine).
        fleet_port: Port for the nodes: fleet calls only.
        control_port: Loopback port of the whole API.
    """

    directory: Path
    certificate: Path
    private_key: Path
    ca: Path
    host: str
    fleet_port: int
    control_port: int

    @property
    def secret(self) -> Path:
        """File with the secret that executors must know."""
        return self.directory / "executor.secret"

    @property
    def database(self) -> Path:
        """SQLite file of SuperLink's state."""
        return self.directory / "superlink.sqlite"

    @property
    def control(self) -> "ControlApi":
        """The Control API of this engine."""
        # flwr takes over a second to import, and most commands only ever look at this configuration.
        from severable_coordinator.adapters.control import ControlApi  # noqa: PLC0415  # imports flwr

        return ControlApi(f"{_LOOPBACK}:{self.control_port}", self.ca)


def prepare(config: EngineConfig) -> None:
    """Make the directory and the secret where they are missing, and check that files and ports can be used.

    Raises:
        ConfigError: a certificate or key file cannot be read.
        BusyError: a port is taken.
    """
    config.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not config.secret.exists():
        descriptor = os.open(config.secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
    for path in (config.certificate, config.private_key, config.ca):
        if not os.access(path, os.R_OK):
            raise ConfigError(f"{path}: cannot be read; the engine needs its certificate, key and authority")
    for host, port in ((_LOOPBACK, config.control_port), (config.host, config.fleet_port)):
        _check_port(host, port)


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BusyError(f"port {port} on {host} cannot be used ({error.strerror}); choose another one") from error


def superlink_command(config: EngineConfig) -> list[str]:
    """Return the command line of SuperLink with its two listeners."""
    return [
        sys.executable, "-P", "-m", "severable_coordinator.adapters.superlink",
        "--control-port", str(config.control_port),
        "--fleet-host", config.host,
        "--fleet-port", str(config.fleet_port),
        "--certificate", str(config.certificate),
        "--private-key", str(config.private_key),
        "--ca", str(config.ca),
        "--secret", str(config.secret),
        "--database", str(config.database),
    ]  # fmt: skip


def executor_command(config: EngineConfig) -> list[str]:
    """Return the command line of the executor that runs our ServerApp, each run in a process of its own."""
    return [
        str(Path(sys.executable).parent / "flower-superexec"),
        "--runtime-api-address", f"{_LOOPBACK}:{config.control_port}",
        "--root-certificates", str(config.ca),
        "--superexec-auth-secret-file", str(config.secret),
    ]  # fmt: skip


def environment(config: EngineConfig) -> dict[str, str]:
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
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "1.0",
    }


def wait_healthy(config: EngineConfig, timeout_s: float, alive: Callable[[], bool] = lambda: True) -> None:
    """Wait until SuperLink answers on both ports.

    Args:
        config: The engine.
        timeout_s: Seconds to wait at most.
        alive: Says whether the process still runs; when not, there is nothing to wait for.

    Raises:
        EngineError: the process ended, or did not answer in time.
    """
    give_up = time.monotonic() + timeout_s
    while time.monotonic() < give_up:
        if not alive():
            raise EngineError("SuperLink ended while starting; its log says why")
        if _answers(config):
            return
        time.sleep(_POLL_S)
    raise EngineError(f"SuperLink did not answer on port {config.control_port} within {timeout_s:g} s; see its log")


def _answers(config: EngineConfig) -> bool:
    context = ssl.create_default_context(cafile=str(config.ca))
    # A proxy of the environment has no business on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(f"https://{_LOOPBACK}:{config.control_port}/health", timeout=_ANSWER_S):
            pass
        with socket.create_connection((config.host, config.fleet_port), timeout=_ANSWER_S):
            return True
    except OSError:  # URLError is one
        return False


def register_node(config: EngineConfig, public_key_file: Path, name: str) -> int:
    """Let the node with this public key (OpenSSH) in; doing it twice changes nothing. Returns Flower's node id."""
    return config.control.register_node(_read(public_key_file).decode(), name)


def unregister_node(config: EngineConfig, public_key_file: Path) -> None:
    """Shut the node with this public key out."""
    config.control.unregister_node(_read(public_key_file).decode())


def build_bundle(app_directory: Path, out: Path) -> str:
    """Build the Flower app bundle and return the sha256 (hex) that contracts name.

    Law: the same files give the same bytes, on every machine with the same flwr and zlib.

    Raises:
        ConfigError: the directory is not a Flower app.
    """
    # Flower's command line is heavy to import, and only this call needs it.
    from flwr.cli.build import build_fab_from_disk  # noqa: PLC0415  # imports flwr

    try:
        bundle = build_fab_from_disk(app_directory)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{app_directory}: not a Flower app: {' '.join(str(error).split())}") from error
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(bundle)
    return hashlib.sha256(bundle).hexdigest()


def submit(config: EngineConfig, bundle: Path, run_config: "RunConfig") -> int:
    """Start a run of a built bundle and return its id; `run_config` may only name keys that the bundle declares."""
    return config.control.start_run(_read(bundle), run_config)


def run_status(config: EngineConfig, run_id: int) -> "RunStatus":
    """Return where a run stands."""
    return config.control.run_status(run_id)


def stop_run(config: EngineConfig, run_id: int) -> None:
    """Stop a run; jobs at the owners go on."""
    config.control.stop_run(run_id)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
