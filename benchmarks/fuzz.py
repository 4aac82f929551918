"""Fuzz every parser with atheris, coverage-guided, and record what came of it: docs/results/fuzz.json.

    PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/fuzz.py [--seconds 60] [--seed 1] [--target NAME]...

The targets and their law are those of tests/fuzzing, which Hypothesis runs in the test suite: a value or the parser's
own error of one line, and where one value has one spelling, the bytes back. What breaks the law is kept, one input of
each kind, under tests/vectors/fuzz/TARGET; the test suite replays it from then on. Each target is a process of its own.
"""

import argparse
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import atheris
from recording import RESULTS, ROOT, record

MODULES = ("fuzzing.trust_targets", "fuzzing.client_targets", "fuzzing.image_targets", "fuzzing.coordinator_targets")
PACKAGES = ("severable_trust", "severable_diffusion", "severable_protos", "severable_client", "severable_coordinator")
VERSIONS = ("atheris", "hypothesis", "cryptography", "rfc8785", "protobuf", "grpcio")
KEPT = ROOT / "tests" / "vectors" / "fuzz"
MAX_INPUT = 1 << 16  # bytes
SLOW_S = 10  # seconds that one input may take
GRACE_S = 120.0  # seconds a target's process may need to start and to end


def main() -> None:
    """Fuzz, record, and exit 1 when an input broke the law."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (default: %(default)s)")
    parser.add_argument("--target", action="append", help="only this one; may be given again (default: all)")
    parser.add_argument("--out", type=Path, default=RESULTS / "fuzz.json", help="the result (default: %(default)s)")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)  # given to the process of one target
    args = parser.parse_args()
    if args.work is not None:
        fuzz_here(args.target[0], args.seconds, args.seed, args.work)
    names = args.target or [target.name for module in MODULES for target in importlib.import_module(module).TARGETS]
    results = {name: fuzz_apart(name, args.seconds, args.seed) for name in names}
    crashes = sum(int(result["crashes"]) for result in results.values())
    figures = {
        "fuzz_cases": sum(int(result["cases"]) for result in results.values()),
        "fuzz_crashes": crashes,
        "targets": results,
    }
    command = f"PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/fuzz.py --seconds {args.seconds:g}"
    record(args.out, command, {"mutations": args.seed}, VERSIONS, figures)
    print(f"{figures['fuzz_cases']} cases, {crashes} crashes; written to {args.out}")
    if crashes:
        sys.exit(f"what broke the law is kept under {KEPT.relative_to(ROOT)}")


def fuzz_apart(name: str, seconds: float, seed: int) -> dict[str, float | int]:
    """Fuzz one target in a process of its own; returns cases, crashes, seconds and the edges that were covered."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        options = ["--target", name, "--seconds", str(seconds), "--seed", str(seed), "--work", scratch]
        command = [sys.executable, "-P", __file__, *options]
        ran = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, timeout=seconds + GRACE_S
        )
        said = ran.stderr.decode(errors="replace")
        if not (work / "counts.json").exists():
            keep_what_hung(name, work, said)
        counts = json.loads((work / "counts.json").read_text())
    covered = re.findall(r"cov: (\d+)", said)
    result = {**counts, "edges_covered": int(covered[-1]) if covered else 0}
    print(f"{name}: " + ", ".join(f"{what.replace('_', ' ')} {figure}" for what, figure in result.items()), flush=True)
    return result


def keep_what_hung(name: str, work: Path, said: str) -> None:
    """An input that ended the whole process: too slow, too much memory, or a fault in an extension."""
    ended = [path for pattern in ("crash-*", "timeout-*", "oom-*") for path in work.glob(pattern)]
    if not ended:
        sys.exit(f"{name}: the fuzzer did not run:\n{said[-2000:]}")
    for path in ended:
        keep(name, path.read_bytes())
    counts = {"cases": 0, "accepted": 0, "crashes": len(ended), "seconds": 0.0}
    (work / "counts.json").write_text(json.dumps(counts))


def keep(name: str, data: bytes) -> Path:
    """Store an input for the test suite to replay; returns where."""
    path = KEPT / name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@dataclass
class Run:
    """One target's run: what libFuzzer calls with every input, and the counts."""

    name: str
    check: Callable[[bytes], bool]
    end: float  # on the monotonic clock
    seconds: float
    work: Path
    cases: int = 0
    accepted: int = 0
    kinds: set[str] = field(default_factory=set)

    def one_input(self, data: bytes) -> None:
        """Check one input. The law's breach is noted and not raised, so that the search goes on."""
        if time.monotonic() >= self.end:
            self.finish()
        self.cases += 1
        try:
            self.accepted += self.check(data)
        except Exception as error:  # noqa: BLE001  # whatever escapes is what is searched for
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
            if kind not in self.kinds:
                self.kinds.add(kind)
                print(f"{self.name}: {kind}, kept as {keep(self.name, data)}", file=sys.stderr)

    def finish(self) -> None:
        """Write the counts and end: libFuzzer would end the process without another word to Python."""
        counts = {"cases": self.cases, "accepted": self.accepted, "crashes": len(self.kinds), "seconds": self.seconds}
        (self.work / "counts.json").write_text(json.dumps(counts))
        sys.stderr.flush()
        os._exit(0)


def fuzz_here(name: str, seconds: float, seed: int, work: Path) -> None:
    """Fuzz one target in this process, which ends with it."""
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=list(PACKAGES)):
        targets = {target.name: target for module in MODULES for target in importlib.import_module(module).TARGETS}
        mutation = importlib.import_module("fuzzing.mutation")
    target = targets[name]
    corpus = work / "corpus"
    corpus.mkdir()
    for place, data in enumerate((*target.seeds(), *target.found())):
        (corpus / f"seed-{place}").write_bytes(data)

    def mutate(data: bytes, max_size: int, number: int) -> bytes:
        random = Random(number)  # noqa: S311  # reproducible changes, no secret
        changed: bytes = mutation.mutate(data, random) if random.random() < 0.5 else atheris.Mutate(data, max_size)
        return changed[:max_size]

    run = Run(name, target.check, time.monotonic() + seconds, seconds, work)
    options = [f"-seed={seed}", f"-max_len={MAX_INPUT}", f"-timeout={SLOW_S}", f"-artifact_prefix={work}/"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], run.one_input, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
