"""Measure shipping and record it: the product's own upload against sha256 and a plain TLS copy of the same file.

    PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/shipping.py [--gigabytes 1]

In turns within this run: the floor (sha256 of the weights, then a copy over mutual TLS on loopback between two Python
processes, into a file; apart from that, the time until the disk has it), the same floor with a file that leaves the
page cache on its way to the disk (fresh pages can cost more than all the rest, where a hypervisor hands them out), and
the upload of a shard of that size from the owner's `ship` to the coordinator's exchange: gRPC with mutual TLS,
encrypted store, on the disk, admission. One more upload is killed half-way and resumed. Every process is fresh; its
seconds count from before it connects until it knows that all is done. The median of the turns counts.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import recording
from coordinator.federation import ManualClock, World
from coordinator.served import free_address
from coordinator.shipment import lay_out
from shipping_ends import KILLED
from trust_layer import SEED, write_weights

from severable_client.home import Layout
from severable_coordinator.stores import utc_now
from severable_trust.shard import WEIGHTS

TURNS = 5
HALF = 0.5  # of the bytes, after which an owner is killed
SMALL = 1 << 20  # bytes of the shard that memory is compared with
PACKAGES = ("grpcio", "tink", "cryptography", "protobuf")


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the shard's weights")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--out", type=Path, default=recording.RESULTS / "shipping.json")
    args = parser.parse_args()
    size = int(args.gigabytes * (1 << 30))
    with tempfile.TemporaryDirectory() as scratch:
        small = Bench(Path(scratch) / "small", SMALL, uploads=1)
        with small.serving():
            small.upload(0)
        bench = Bench(Path(scratch) / "large", size, uploads=args.turns + 2)
        figures = bench.run(args.turns)
    figures["ship_peak_mb"] = {
        f"{side}_of_a_shard_of_1_mb_and_of_this_one": [small.peaks[side], bench.peaks[side]] for side in bench.peaks
    }
    recording.record(
        args.out,
        command="PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/shipping.py",
        seeds={"weights": SEED},
        packages=PACKAGES,
        figures=figures,
    )
    print(json.dumps(figures, indent=2))


class Bench:
    """A coordinator's home with one party for every upload, and each party's shard in a folder."""

    def __init__(self, root: Path, size: int, *, uploads: int) -> None:
        root.mkdir(parents=True)
        self.root = root
        self.weights = root / WEIGHTS
        tensors = write_weights(self.weights, size)
        self.world = World(root / "coordinator", clock=ManualClock(utc_now()))
        self.parties = [f"owner-{number}" for number in range(uploads)]
        for name in self.parties:
            lay_out(self.world, name, root / name, self.weights, tensors)
        self.port = 0
        self.peaks = {"client": 0, "coordinator": 0}

    def run(self, turns: int) -> dict[str, Any]:
        """Floor and upload in turns, then one upload that is killed half-way."""
        hashed, copied, left, settled, shipped = [], [], [], [], []
        with self.serving():
            for turn in range(turns + 1):
                sha256_s, copy_s, on_disk_s = self.floor()
                _, leaving_s, _ = self.floor("--leave")
                ship_s = self.upload(turn)
                print(
                    f"turn {turn}: sha256 {sha256_s:.2f} s, copy {copy_s:.2f} s, on the disk {on_disk_s:.2f} s later; "
                    f"copy that leaves the page cache {leaving_s:.2f} s; ship {ship_s:.2f} s",
                    file=sys.stderr,
                )
                if turn:  # the first one warms the page cache
                    hashed.append(sha256_s)
                    copied.append(copy_s)
                    left.append(leaving_s)
                    settled.append(on_disk_s)
                    shipped.append(ship_s)
            resumed_s = self.interrupted(turns + 1)
        floors = [one + other for one, other in zip(hashed, copied, strict=True)]
        leaving = [ship_s / (one + other) for ship_s, one, other in zip(shipped, hashed, left, strict=True)]
        ratios = [ship_s / floor_s for ship_s, floor_s in zip(shipped, floors, strict=True)]
        durable = [ship_s / (floor_s + s) for ship_s, floor_s, s in zip(shipped, floors, settled, strict=True)]
        return {
            "shard_bytes": self.weights.stat().st_size,
            "sha256_s": round(statistics.median(hashed), 3),
            "tls_copy_s": round(statistics.median(copied), 3),
            "tls_copy_that_leaves_the_page_cache_s": round(statistics.median(left), 3),
            "on_disk_s": round(statistics.median(settled), 3),
            "ship_s": round(statistics.median(shipped), 3),
            "ship_over_floor": round(statistics.median(ratios), 3),
            "ship_over_floor_per_turn": [round(ratio, 3) for ratio in ratios],
            "ship_over_floor_that_leaves_the_page_cache": round(statistics.median(leaving), 3),
            "ship_over_floor_on_disk": round(statistics.median(durable), 3),
            "killed_half_way_and_resumed_s": round(resumed_s, 3),
            "killed_half_way_and_resumed_over_floor": round(resumed_s / statistics.median(floors), 3),
        }

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The coordinator's exchange in a process of its own; its peak memory is noted at the end."""
        self.port = _port()
        server = _start("coordinate", self.root / "coordinator", self.port)
        try:
            _line(server)
            yield
            said, _ = server.communicate(timeout=60)
            self.peaks["coordinator"] = json.loads(said)["peak_mb"]
        finally:
            server.kill()
            server.wait()

    def upload(self, number: int) -> float:
        """Ship one party's shard; seconds. What the coordinator kept is removed from the disk afterwards."""
        seconds = self._shipped(number)
        self._clear(number)
        return seconds

    def interrupted(self, number: int) -> float:
        """Ship one party's shard from a process that is killed half-way, then from a second one; seconds of both.

        Those of the first include its start: nobody is left to tell them without.
        """
        begun = time.perf_counter()
        first = _start("own", self.root / self.parties[number], self.port, "--die-at", str(HALF))
        first.communicate()
        if first.returncode != KILLED:
            raise SystemExit(f"the first upload ended with {first.returncode}, not half-way")
        until_killed = time.perf_counter() - begun
        seconds = until_killed + self._shipped(number)
        self._clear(number)
        return seconds

    def _shipped(self, number: int) -> float:
        os.sync()
        owner = _start("own", self.root / self.parties[number], self.port)
        said, _ = owner.communicate()
        if owner.returncode:
            raise SystemExit("the upload failed; its line is above")
        facts = json.loads(said)
        if not facts["admitted"]:
            raise SystemExit(f"the shard was refused: {facts['reason']}")
        self.peaks["client"] = max(self.peaks["client"], facts["peak_mb"])
        return float(facts["seconds"])

    def _clear(self, number: int) -> None:
        self.world.coordinator.vault.unlink(self.parties[number], "")

    def floor(self, *more: str) -> tuple[float, float, float]:
        """Seconds of sha256, of a copy over mutual TLS with the exchange's certificates, and until the disk has it."""
        os.sync()  # what one turn left to be written is not the next one's to pay for
        keys = self.root / "floor"
        if not keys.is_dir():
            self._lay_keys(keys)
        port = _port()
        receiver = _start("receive", keys, port, "--file", str(keys / "arrived"), *more)
        _line(receiver)
        sender = _start("send", keys, port, "--file", str(self.weights))
        said, _ = sender.communicate()
        told, _ = receiver.communicate()
        if sender.returncode or receiver.returncode:
            raise SystemExit("the copy of the floor failed; its line is above")
        facts = json.loads(said)
        (keys / "arrived").unlink()
        return float(facts["sha256_s"]), float(facts["copy_s"]), float(json.loads(told)["on_disk_s"])

    def _lay_keys(self, keys: Path) -> None:
        home = self.root / self.parties[0] / "home"
        keys.mkdir()
        (keys / "server.pem").write_bytes(self.world.coordinator.server.certificate)
        (keys / "server.key").write_bytes(self.world.coordinator.server.private_key)
        shutil.copy(Layout(home).authority, keys / "ca.pem")
        shutil.copy(Layout(home).tls_certificate, keys / "party.crt")
        shutil.copy(Layout(home).tls_key, keys / "party.key")


def _port() -> int:
    return int(free_address().rpartition(":")[2])


def _start(what: str, folder: Path, port: int, *more: str) -> subprocess.Popen[str]:
    program = Path(__file__).with_name("shipping_ends.py")
    command = [sys.executable, "-P", str(program), what, str(folder), "--port", str(port), *more]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(process: subprocess.Popen[str]) -> None:
    """Wait for the line that says that a process is ready."""
    if process.stdout is None or "ready" not in process.stdout.readline():
        raise SystemExit("a process of the benchmark did not start; its line is above")


if __name__ == "__main__":
    main()
