"""What the engine adapters prepare before any process runs: gate, files, environment, bundle, keys."""

import asyncio
import os
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from severable_coordinator.adapters import engine
from severable_coordinator.adapters.control import openssh_line
from severable_coordinator.adapters.engine import EngineConfig
from severable_coordinator.adapters.superlink import FLEET_CALLS, fleet_gate
from severable_coordinator.errors import BusyError, ConfigError, EngineError

# Flower builds its bundles with a pattern class that pathspec wants renamed.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

APP = Path(__file__).parents[2] / "deploy" / "flower-app"


def ask(path: str, method: str = "POST", headers: tuple[tuple[bytes, bytes], ...] = ()) -> int:
    """Status that the gate answers, 200 when it lets the request through."""
    statuses: list[int] = []

    async def through(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(event: Any) -> None:
        if event["type"] == "http.response.start":
            statuses.append(event["status"])

    async def receive() -> Any:
        pytest.fail("the gate read the body")

    scope = {"type": "http", "path": path, "method": method, "headers": list(headers)}
    asyncio.run(_asked(fleet_gate(through, max_body_bytes=10), scope, receive, send))
    return statuses[0]


async def _asked(gate: Any, *arguments: Any) -> None:
    await gate(*arguments)


@pytest.mark.parametrize("path", sorted(FLEET_CALLS))
def test_every_fleet_call_passes_the_gate(path: str) -> None:
    assert ask(path, headers=((b"content-length", b"10"),)) == 200


@pytest.mark.parametrize("length", [b"", b"-1", b"1e3", b" 5", "\u0665".encode()])
def test_a_length_that_is_not_a_plain_number_is_refused(length: bytes) -> None:
    assert ask("/v1/fleet/get-run", headers=((b"content-length", length),)) == 411


def test_a_body_above_the_limit_is_refused() -> None:
    assert ask("/v1/fleet/get-run", headers=((b"content-length", b"11"),)) == 413


def test_a_fleet_call_by_another_method_is_refused() -> None:
    assert ask("/v1/fleet/get-run", method="GET") == 405


def test_websockets_do_not_pass_the_gate() -> None:
    async def through(*_: Any) -> None:
        pytest.fail("a websocket got through")

    scope = {"type": "websocket", "path": "/v1/fleet/get-run"}
    asyncio.run(_asked(fleet_gate(through), scope, through, through))


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    for name in ("server.pem", "server.key", "ca.pem"):
        (tmp_path / name).write_text(name)
    return EngineConfig(
        directory=tmp_path / "engine",
        certificate=tmp_path / "server.pem",
        private_key=tmp_path / "server.key",
        ca=tmp_path / "ca.pem",
        host="127.0.0.1",
        fleet_port=_free_port(),
        control_port=_free_port(),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(config: EngineConfig) -> None:
    engine.prepare(config)
    secret = config.secret.read_bytes()
    engine.prepare(config)
    assert config.secret.read_bytes() == secret
    assert len(secret) == 32
    assert config.secret.stat().st_mode & 0o077 == 0
    assert config.directory.stat().st_mode & 0o077 == 0


def test_a_missing_certificate_is_named(config: EngineConfig) -> None:
    config.certificate.unlink()
    with pytest.raises(ConfigError, match=r"server\.pem"):
        engine.prepare(config)


def test_a_taken_port_is_named(config: EngineConfig, taken: int) -> None:
    busy = EngineConfig(
        directory=config.directory,
        certificate=config.certificate,
        private_key=config.private_key,
        ca=config.ca,
        host="127.0.0.1",
        fleet_port=taken,
        control_port=config.control_port,
    )
    with pytest.raises(BusyError, match=str(taken)):
        engine.prepare(busy)


def test_flower_is_kept_offline_and_finds_its_programs(config: EngineConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    monkeypatch.setenv("FLWR_INTERNAL_GRPC_CONTROL_API", "1")
    made = engine.environment(config)
    assert made["FLWR_TELEMETRY_ENABLED"] == "0"
    assert made["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert made["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
    assert "FLWR_INTERNAL_GRPC_CONTROL_API" not in made
    assert (Path(made["PATH"].split(os.pathsep)[0]) / "flwr-serverapp").exists()
    assert Path(engine.executor_command(config)[0]).is_absolute()


def test_the_bundle_holds_two_re_exports_and_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first.fab", tmp_path / "second.fab"
    assert engine.build_bundle(APP, first) == engine.build_bundle(APP, second)
    assert first.read_bytes() == second.read_bytes()
    assert set(zipfile.ZipFile(first).namelist()) == {
        "pyproject.toml",
        "LICENSE",
        "client_app.py",
        "server_app.py",
        ".info/CONTENT",
    }


def test_a_folder_that_is_no_flower_app_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a Flower app"):
        engine.build_bundle(tmp_path, tmp_path / "out.fab")


def test_one_node_key_reads_the_same_from_openssh_and_pem() -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert openssh_line(pem) == openssh_line(line + b" somebody@somewhere\n") == line.decode()


def test_a_node_key_that_flower_cannot_use_is_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    with pytest.raises(EngineError, match="NIST"):
        openssh_line(line)
    with pytest.raises(EngineError, match="ssh-keygen"):
        openssh_line("not a key")


def test_a_superlink_that_ends_while_starting_is_not_waited_for(config: EngineConfig) -> None:
    config.ca.write_bytes(_any_certificate())
    with pytest.raises(EngineError, match="ended while starting"):
        engine.wait_healthy(config, 30.0, lambda: False)
    with pytest.raises(EngineError, match=str(config.control_port)):
        engine.wait_healthy(config, 0.3)


def _any_certificate() -> bytes:
    from datetime import UTC, datetime

    from severable_coordinator.adapters.authority import new_authority

    return new_authority("test", datetime.now(UTC).replace(microsecond=0)).certificate
