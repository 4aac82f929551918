"""Flower's SuperLink with two listeners: all of it on loopback, the fleet calls alone for the owners.

    python -P -m severable_coordinator.adapters.superlink --control-port 9091 --fleet-host 0.0.0.0 --fleet-port 9092 ...

The stock `flower-superlink` serves Control, Runtime and Fleet on one port without account authentication: whoever
reaches it can start runs. Here the public port answers `FLEET_CALLS` and nothing else, with bounded bodies. Node
authentication is on, executors need the secret, state is in a file. Touches flwr internals, which
tests/coordinator/test_flower_internals.py watches.
"""

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from flwr.common.constant import ISOLATION_MODE_PROCESS, TRANSPORT_TYPE_GRPC_RERE
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig, load_control_authn_plugin
from flwr.superlink.main import create_app
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
MIN_SECRET_BYTES = 16
MAX_BODY_BYTES = 1 << 20  # a job message is a few kB; shards travel elsewhere
FLEET_CALLS = frozenset(
    f"/v1/fleet/{call}"
    for call in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "pull-object",
        "push-object",
        "confirm-message-received",
    )
)


def fleet_gate(app: ASGIApp, max_body_bytes: int = MAX_BODY_BYTES) -> ASGIApp:
    """Wrap an app so that only POST to a fleet call with a declared, bounded body reaches it.

    403 for any other path (registering nodes included: the coordinator does that), 405 for another method, 411 without
    Content-Length, 413 above the limit. The server holds a body to its declared length, so the header can be trusted.
    """

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # neither websockets nor lifespan on the public side
        if status := _refusal(scope, max_body_bytes):
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return gate


def _refusal(scope: Scope, max_body_bytes: int) -> int:
    """Return the status to refuse a request with, 0 to let it pass."""
    if scope["path"] not in FLEET_CALLS:
        return 403
    if scope["method"] != "POST":
        return 405
    length = dict(scope["headers"]).get(b"content-length", b"")
    if not length.isdigit():
        return 411
    return 413 if int(length) > max_body_bytes else 0


class _Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to `_serve`, which has two of them to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(listeners: Sequence[tuple[_Listener, socket.socket]]) -> None:
    def stop() -> None:
        for server, _ in listeners:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)

    async def until_end(server: _Listener, bound: socket.socket) -> None:
        try:
            await server.serve(sockets=[bound])
        finally:
            stop()  # one listener without the other is of no use

    await asyncio.gather(*(until_end(server, bound) for server, bound in listeners))


def _bind(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, proto)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        sys.exit(f"superlink: cannot listen on {host}:{port}: {error.strerror}; free the port or choose another one")
    return bound


def _lifespan_config(args: argparse.Namespace) -> SuperLinkLifespanConfig:
    """Say everything that the stock command line would have defaulted."""
    secret = args.secret.read_bytes()
    if len(secret) < MIN_SECRET_BYTES:
        # SuperLink takes an empty secret for none, and then lets anybody on this machine take tasks.
        sys.exit(f"superlink: {args.secret}: a secret needs {MIN_SECRET_BYTES} random bytes or more")
    return SuperLinkLifespanConfig(
        control_address=f"{LOOPBACK}:{args.control_port}",
        health_server_address=None,
        host=LOOPBACK,
        port=args.control_port,
        insecure=False,
        certificates=(args.ca.read_bytes(), args.certificate.read_bytes(), args.private_key.read_bytes()),
        superexec_auth_secret=secret,
        authn_plugin=load_control_authn_plugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=str(args.ca),
        ssl_certfile=str(args.certificate),
        ssl_keyfile=str(args.private_key),
        database=str(args.database),
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="superlink", description="SuperLink behind a fleet-only public port.")
    parser.add_argument("--control-port", type=int, required=True, help="loopback port of the whole API")
    parser.add_argument("--fleet-host", required=True, help="address that the owners' nodes reach")
    parser.add_argument("--fleet-port", type=int, required=True, help="port that the owners' nodes reach")
    for name, what in (
        ("certificate", "server certificate (PEM; names the fleet host and 127.0.0.1)"),
        ("private-key", "its private key (PEM)"),
        ("ca", "certificate of the authority that issued it (PEM)"),
        ("secret", "file with the secret that executors must know"),
        ("database", "SQLite file for the engine's state"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; exit with one line when a port cannot be had."""
    args = _parse(arguments)
    control, fleet = _bind(LOOPBACK, args.control_port), _bind(args.fleet_host, args.fleet_port)
    app = create_app(_lifespan_config(args), SuperLinkLifespan)

    def listener(served: Callable[..., object], lifespan: str) -> _Listener:
        return _Listener(
            uvicorn.Config(
                served,
                lifespan="on" if lifespan == "on" else "off",
                ws="none",
                ssl_certfile=args.certificate,
                ssl_keyfile=str(args.private_key),
                access_log=False,
                log_level="warning",
                timeout_graceful_shutdown=2,
            ),
        )

    asyncio.run(_serve([(listener(app, "on"), control), (listener(fleet_gate(app), "off"), fleet)]))


if __name__ == "__main__":
    main()
