"""The processes that benchmarks/shipping.py starts: a coordinator's exchange, an owner, and the floor's two ends.

Each prints one line of JSON with its seconds or its peak resident memory in MB. No torch here: it would be most of the
memory of either side.
"""

import argparse
import hashlib
import json
import os
import socket
import ssl
import sys
import time
from pathlib import Path

from severable_client.adapters.exchange_grpc import GrpcExchange
from severable_client.home import Layout
from severable_client.shipping import Parcel, Patience, ship
from severable_coordinator.adapters.exchange_server import ExchangeService, serve_exchange
from severable_coordinator.bootstrap import open_home
from severable_trust.envelope import Envelope
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified, statement_id

BLOCK = 1 << 20  # bytes
LEAVING = 32 << 20  # bytes after which a floor's file leaves the page cache
KILLED = 9


def peak_mb() -> int:
    """Peak resident memory of this process since it began, in MB; getrusage would tell its parent's from before."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) >> 10


def say(**facts: object) -> None:
    """One line of JSON."""
    print(json.dumps(facts), flush=True)


def coordinate(home: Path, address: str) -> None:
    """Serve a coordinator's exchange until standard input closes."""
    coordinator = open_home(home)
    service = ExchangeService(
        coordinator.contracting,
        coordinator.admission,
        coordinator.requests,
        coordinator.enrolment,
        coordinator.standing,
    )
    authority = coordinator.authority.certificate
    server = serve_exchange(service, address, lambda: coordinator.server, authority)
    say(ready=True)
    sys.stdin.read()
    server.stop(5).wait()
    say(peak_mb=peak_mb())


def own(folder: Path, address: str, die_at: float) -> None:
    """Ship the shard in a folder (claim, three files, keys below `home`), as the worker does."""
    envelope = (folder / "claim.dsse.json").read_bytes()
    claim = read_unverified(envelope, ShardClaim)
    shard = str(statement_id(Envelope.parse(envelope)))
    sizes = {file.name: file.size for file in claim.files}

    def on_progress(sent: int, total: int) -> None:
        if sent >= die_at * total:
            os._exit(KILLED)  # as a power cut would

    parcel = Parcel(claim=envelope, shard=shard, sizes=sizes, open=lambda name: (folder / name).open("rb"))
    begun = time.perf_counter()
    with GrpcExchange(address, Layout(folder / "home")) as exchange:
        verdict = ship(parcel, exchange, patience=Patience(), sleep=time.sleep, on_progress=on_progress)
    say(seconds=time.perf_counter() - begun, admitted=verdict.admitted, reason=verdict.reason, peak_mb=peak_mb())


def receive(keys: Path, target: Path, port: int, *, leave: bool) -> None:
    """The floor's server: write what comes over mutual TLS into a file, answer with its size, put it on the disk.

    With `leave`, what the disk has written leaves the page cache on the way, as an upload's file does.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "server.pem", keys / "server.key")
    context.load_verify_locations(keys / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", port)) as listener:
        say(ready=True)
        raw, _ = listener.accept()
        with context.wrap_socket(raw, server_side=True) as stream, target.open("wb") as file:
            room = memoryview(bytearray(BLOCK))
            size = int.from_bytes(stream.recv(8), "big")
            left = size
            while left and (count := stream.recv_into(room[: min(BLOCK, left)])):
                file.write(room[:count])
                left -= count
                if leave and (size - left) % LEAVING < count:
                    os.posix_fadvise(file.fileno(), 0, size - left, os.POSIX_FADV_DONTNEED)
            stream.sendall((size - left).to_bytes(8, "big"))
            begun = time.perf_counter()
            file.flush()
            os.fsync(file.fileno())
    say(on_disk_s=time.perf_counter() - begun)


def send(keys: Path, path: Path, port: int) -> None:
    """The floor's client: hash the file, then send it over mutual TLS and wait for the answer."""
    begun = time.perf_counter()
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            state.update(block)
    hashed = time.perf_counter()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(keys / "party.crt", keys / "party.key")
    context.load_verify_locations(keys / "ca.pem")
    raw = socket.create_connection(("127.0.0.1", port))
    with context.wrap_socket(raw, server_hostname="127.0.0.1") as stream, path.open("rb") as file:
        stream.sendall(path.stat().st_size.to_bytes(8, "big"))
        while block := file.read(BLOCK):
            stream.sendall(block)
        arrived = int.from_bytes(stream.recv(8), "big")
    if arrived != path.stat().st_size:
        raise SystemExit(f"{arrived} of {path.stat().st_size} bytes arrived")
    say(sha256_s=hashed - begun, copy_s=time.perf_counter() - hashed)


def main() -> None:
    """Be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("coordinate", "own", "receive", "send"))
    parser.add_argument("folder", type=Path, help="the coordinator's home, the owner's shard, or the floor's keys")
    parser.add_argument("--file", type=Path, help="what the floor sends, or where it arrives")
    parser.add_argument("--leave", action="store_true", help="have the floor's file leave the page cache on the way")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--die-at", type=float, default=2.0, help="share of the bytes after which an owner is killed")
    args = parser.parse_args()
    if args.what == "coordinate":
        coordinate(args.folder, f"127.0.0.1:{args.port}")
    elif args.what == "own":
        own(args.folder, f"127.0.0.1:{args.port}", args.die_at)
    elif args.what == "receive":
        receive(args.folder, args.file, args.port, leave=args.leave)
    else:
        send(args.folder, args.file, args.port)


if __name__ == "__main__":
    main()
