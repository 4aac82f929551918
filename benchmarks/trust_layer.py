"""Measure the trust layer and record it: admission against sha256 alone, the log's appends and proofs.

    PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/trust_layer.py [--gigabytes 1] [--entries 1000000]

Times are compared as ratios within this run, measured in turns; the median of the turns counts. The figures of
docs/results/fuzz.json and the count of docs/threat-model.md's rows are taken over, or null where those are absent.
"""

import argparse
import hashlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import recording
from trust.samples import NOON, Federation, Keys, make_claim
from trust.shard_data import CONFIG, with_header

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.log import SqlLog
from severable_trust.digest import Digest, FileDigest
from severable_trust.entry import LogEntry
from severable_trust.note import LogSigner, sign_note
from severable_trust.shard import GateReport
from severable_trust.statement import Kind, sign_statement
from severable_trust.tensors import TensorSpec
from severable_trust.verifier import admit

TURNS = 5
BLOCK = 1 << 20  # bytes
TENSOR = 16 << 20  # bytes
BATCH = 10_000
PROOFS = 1_000
SEED = 20261124
PACKAGES = ("cryptography", "sqlalchemy")


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the shard's weights")
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of the log")
    parser.add_argument("--out", type=Path, default=recording.RESULTS / "trust.json")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)  # admit this shard once and print peak memory
    args = parser.parse_args()
    if args.peak:
        print(peak_of_admission(args.peak))
        return
    with tempfile.TemporaryDirectory() as scratch:
        figures = admission(Path(scratch), args.gigabytes) | log(Path(scratch), args.entries)
    figures |= fuzzing() | threats()
    recording.record(
        args.out,
        command="PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/trust_layer.py",
        seeds={"weights": SEED, "proved entries": "every n-th"},
        packages=PACKAGES,
        figures=figures,
    )
    print(json.dumps(figures, indent=2))


def admission(scratch: Path, gigabytes: float) -> dict[str, object]:
    """Admit a shard and hash its weights alone, in turns."""
    path = scratch / "model.safetensors"
    tensors = write_weights(path, int(gigabytes * (1 << 30)))
    run = admitting(path, tensors)
    times: dict[str, list[float]] = {"sha256": [], "admission": []}
    for turn in range(TURNS + 1):
        for name, work in (("sha256", lambda: hash_alone(path)), ("admission", run)):
            taken = timed(work)
            if turn:  # the first one warms the page cache
                times[name].append(taken)
        say(f"admission: turn {turn} of {TURNS}", turn, TURNS)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "shard_bytes": path.stat().st_size,
        "sha256_s": round(medians["sha256"], 4),
        "admission_s": round(medians["admission"], 4),
        "admission_over_sha256": round(medians["admission"] / medians["sha256"], 3),
        "admission_over_sha256_per_turn": [
            round(a / s, 3) for a, s in zip(times["admission"], times["sha256"], strict=True)
        ],
        "admission_peak_mb_of_a_small_and_of_this_shard": [peak(scratch, 1 << 20), peak(scratch, None)],
    }


def write_weights(path: Path, size: int) -> dict[str, TensorSpec]:
    """A file of float32 tensors of 16 MiB, every number finite; one random tensor's bytes, turned for each."""
    names = [f"layer.{number}.weight" for number in range(max(1, size // TENSOR))]
    length = min(TENSOR, size) // 4
    header = {
        name: {"dtype": "F32", "shape": [length], "data_offsets": [place * length * 4, (place + 1) * length * 4]}
        for place, name in enumerate(names)
    }
    raw = bytearray(hashlib.shake_256(SEED.to_bytes(8, "big")).digest(length * 4))
    raw[3::4] = bytes(0x3C | byte & 0x83 for byte in raw[3::4])  # exponents as trained weights have them
    with path.open("wb") as stream:
        stream.write(with_header(json.dumps(header).encode(), b""))
        for place in range(len(names)):
            stream.write(raw[place * 4 :] + raw[: place * 4])
    return {name: TensorSpec("F32", (length,)) for name in names}


def admitting(path: Path, tensors: dict[str, TensorSpec]) -> Callable[[], None]:
    """The verifier over these weights, everything else as a federation of three has it."""
    federation = Federation.build(Keys.generate())
    small = {"config.json": CONFIG, "manifest.json": b"{}"}
    files = [FileDigest.of(name, data) for name, data in small.items()]
    files.append(FileDigest(name="model.safetensors", size=path.stat().st_size, digest=hash_alone(path)))
    gate = GateReport(finite=True, images=100, bytes=path.stat().st_size, memorized_share=0.0)
    base = make_claim(federation.contract.id, {**small, "model.safetensors": b""})
    claim = replace(base, gate=gate, files=tuple(sorted(files)))
    envelope = sign_statement(claim, federation.keys.alice).to_bytes()
    policy = replace(federation.policy(), config=CONFIG, tensors=tensors, now=NOON, max_bytes=1 << 40)

    def run() -> None:
        with path.open("rb") as weights:
            streams = {name: io.BytesIO(data) for name, data in small.items()}
            admit(envelope, {**streams, "model.safetensors": weights}, policy)

    return run


def hash_alone(path: Path) -> Digest:
    """SHA-256 over a file, in blocks as the verifier reads them."""
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            state.update(block)
    return Digest(state.hexdigest())


def peak(scratch: Path, size: int | None) -> int:
    """Peak resident memory, in MB, of a fresh process that admits a shard of this size, or the one that is there."""
    folder = scratch
    if size is not None:
        folder = scratch / "small"
        folder.mkdir()
        write_weights(folder / "model.safetensors", size)
    path = folder / "model.safetensors"
    command = [sys.executable, "-P", __file__, "--peak", str(path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ)).stdout)


def peak_of_admission(path: Path) -> int:
    """Admit the shard in this process; its peak memory in MB."""
    with path.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    admitting(path, {name: TensorSpec("F32", tuple(entry["shape"])) for name, entry in header.items()})()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def log(scratch: Path, entries: int) -> dict[str, object]:
    """Fill a log in batches, then prove entries all over it."""
    signer = LogSigner.generate("benchmark")
    kept = SqlLog(Database(scratch / "log.db"), "benchmark", lambda checkpoint: sign_note(checkpoint.text, signer))
    spent, begun = 0.0, time.monotonic()
    for first in range(0, entries, BATCH):
        batch = [(entry(number), b"{}") for number in range(first, min(first + BATCH, entries))]
        spent += timed(partial(kept.append, batch))
        say(f"log: {first + len(batch)} entries", first + len(batch), entries, time.monotonic() - begun)
    proofs = [timed(partial(lambda at: kept.prove(entry(at)), at)) for at in places(entries)]
    milliseconds = sorted(taken * 1e3 for taken in proofs)
    size = "1m" if entries == 1_000_000 else str(entries)
    return {
        "log_entries": entries,
        "log_batch": BATCH,
        "log_appends_per_s": round(entries / spent),
        f"proof_ms_at_{size}": round(statistics.median(proofs) * 1e3, 3),
        "proof_ms_99th_percentile": round(milliseconds[int(len(milliseconds) * 0.99)], 3),
    }


def places(entries: int) -> Iterator[int]:
    """Entries all over the log."""
    return iter(range(0, entries, max(1, entries // PROOFS)))


def entry(number: int) -> LogEntry:
    """A shard's entry, as a log would have it."""
    return LogEntry(kind=Kind.SHARD, statement=Digest.of(b"%d" % number), signers=("ab" * 32,))


def fuzzing() -> dict[str, object]:
    """What benchmarks/fuzz.py found last."""
    path = recording.RESULTS / "fuzz.json"
    found = json.loads(path.read_text())["figures"] if path.is_file() else {}
    return {name: found.get(name) for name in ("fuzz_cases", "fuzz_crashes")}


def threats() -> dict[str, object]:
    """How many rows the threat model has, and how many of them name tests that exist."""
    page = recording.ROOT / "docs" / "threat-model.md"
    if not page.is_file():
        return {"threat_rows": None, "threat_rows_tested": None}
    from architecture.threat_table import has_tests, rows  # noqa: PLC0415  # of the test suite

    found = rows(page.read_text(encoding="utf-8"))
    return {"threat_rows": len(found), "threat_rows_tested": sum(has_tests(row, recording.ROOT) for row in found)}


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def say(what: str, done: int, total: int, spent_s: float | None = None) -> None:
    """One line of progress on stderr."""
    left = f", {spent_s / done * (total - done):.0f} s left" if spent_s and done else ""
    print(f"\r{what}{left}   ", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
