"""What commands print: tables or JSON, and progress that stays readable in a pipe."""

import json
import sys
import time
from collections.abc import Sequence

from severable_coordinator.adapters.cli.options import Format

_PIPE_EVERY_S = 5.0  # seconds between progress lines when nobody watches a terminal


def listing(rows: Sequence[dict[str, object]], how: Format, empty: str) -> None:
    """Print rows as JSON or as an aligned table; `empty` is said in text when there are none."""
    if how is Format.JSON:
        print(json.dumps(list(rows), indent=2, default=str))
        return
    if not rows:
        print(empty)
        return
    heads = list(rows[0])
    cells = [[str(row[head]) for head in heads] for row in rows]
    widths = [max(len(head), *(len(row[n]) for row in cells)) for n, head in enumerate(heads)]
    for row in [heads, *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


class ProgressLines:
    """Progress with a remaining-time estimate: one rewritten line on a terminal, a line now and then in a pipe."""

    def __init__(self) -> None:
        """Start the clock at the first call."""
        self._what = ""
        self._begun = self._said = 0.0
        self._live = sys.stderr.isatty()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` units of `what` are done."""
        now = time.monotonic()
        if what != self._what:
            self.close()
            self._what, self._begun, self._said = what, now, now
        if done < total and not self._live and now - self._said < _PIPE_EVERY_S:
            return
        self._said = now
        share = done / total if total else 1.0
        left = (now - self._begun) * (1 - share) / share if share else 0.0
        estimate = f", about {left:.0f} s left" if 0 < share < 1 else ""
        line = f"{what}: {done}/{total}{estimate}"
        if self._live:
            print(f"\r\033[K{line}", end="" if done < total else "\n", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
        if done >= total:
            self._what = ""

    def close(self) -> None:
        """End a line that was left open."""
        if self._what and self._live:
            print(file=sys.stderr)
        self._what = ""
