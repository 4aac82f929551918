"""The demo's figures: report.json and the summary table at the end."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAIVE_BAR = 1.5  # naive averaging is at least so many times worse than the routed composite
LONE_BAR = 3.0  # a lone shard at least so many times


@dataclass
class Report:
    """Figures as they come in, and the seconds of every stage."""

    figures: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def stage(self, number: int, name: str, title: str) -> Iterator[None]:
        """Announce a stage and time it."""
        print(f"\n[{number}] {title}", flush=True)
        begun = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begun, 1)

    def misses(self) -> list[str]:
        """What the demo was to show and did not, one line each."""
        frechet = self.figures["frechet"]
        checks = {
            "three shards admitted": self.figures["shards_admitted"] == 3,
            f"naive averaging {NAIVE_BAR}x worse than routed": frechet["naive"] >= NAIVE_BAR * frechet["routed"],
            f"every lone shard {LONE_BAR}x worse than routed": all(
                value >= LONE_BAR * frechet["routed"] for value in frechet["lone"].values()
            ),
            "equal digests": self.figures["digest_equal"],
            "equal to what is built from scratch": self.figures["proved_from_scratch"],
            "receipt verified": self.figures["receipt_verified"],
            "altered receipt refused": self.figures["altered_receipt_refused"],
        }
        return [name for name, held in checks.items() if not held]

    def write(self, path: Path) -> None:
        """Write report.json."""
        total = round(sum(self.seconds.values()), 1)
        value = {**self.figures, "seconds": {**self.seconds, "total": total}, "paths": self.paths}
        path.write_text(json.dumps(value, indent=2) + "\n")

    def table(self) -> str:
        """The summary for people."""
        frechet: Mapping[str, Any] = self.figures["frechet"]
        routed = frechet["routed"]
        net = f"Frechet distance ({frechet['feature_net']}) to held-out digits"
        rows = [
            ("shards admitted", str(self.figures["shards_admitted"])),
            (f"{net}: routed composite", f"{routed:.1f}"),
            ("  naive averaging", f"{frechet['naive']:.1f}  ({frechet['naive'] / routed:.1f}x)"),
            *(
                (f"  {party} alone", f"{value:.1f}  ({value / routed:.1f}x)")
                for party, value in frechet["lone"].items()
            ),
            ("composite after the removal equals the second coordinator's", _yes(self.figures["digest_equal"])),
            ("every file of it equals one built from scratch", _yes(self.figures["proved_from_scratch"])),
            ("receipt verified offline by a stranger", _yes(self.figures["receipt_verified"])),
            ("receipt with one byte changed refused", _yes(self.figures["altered_receipt_refused"])),
            *((f"seconds: {stage}", f"{value:.1f}") for stage, value in self.seconds.items()),
            ("seconds: total", f"{sum(self.seconds.values()):.1f}"),
            *((f"file: {name}", path) for name, path in self.paths.items()),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)


def _yes(held: bool) -> str:
    return "yes" if held else "NO"
