"""The checks of `doctor`: each looks at one thing and says in one line how it is, or what to do about it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from severable_client.adapters import renewal
from severable_client.adapters.data_folder import count_images
from severable_client.adapters.files import FolderViewStore
from severable_client.adapters.keys import certificate_term, loose_permissions
from severable_client.bootstrap import Home, now
from severable_client.contracts import FINAL, open_contract
from severable_client.errors import ClientError

LEAST_FREE_BYTES = 1 << 30
TIMEOUT_S = 5.0
WORKER_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, whether it is well, and one line."""

    what: str
    well: bool
    line: str


def examine(home: Home) -> Iterator[Finding]:
    """Yield one finding after the other; nothing is changed."""
    checks: tuple[tuple[str, Callable[[Home], str]], ...] = (
        ("home", _home),
        ("keys", _keys),
        ("certificate", _certificate),
        ("images", _images),
        ("coordinator", _coordinator),
        ("log", _log),
        ("disk", _disk),
    )
    for what, check in checks:
        yield _finding(what, check, home)
    for digest in _recipes(home):
        yield _finding(f"images for recipe {digest.removeprefix('sha256:')[:12]}", partial(_fit, digest), home)


def _finding(what: str, check: Callable[[Home], str], home: Home) -> Finding:
    try:
        return Finding(what, well=True, line=check(home))
    except (_Unwell, ClientError) as error:
        return Finding(what, well=False, line=str(error))


class _Unwell(Exception):  # noqa: N818  # a finding on its way to its line, not an error of the program
    """What is wrong and what to do."""


def _home(home: Home) -> str:
    missing = [str(folder) for folder in home.layout.folders() if not folder.is_dir()]
    if missing:
        raise _Unwell(f"{', '.join(missing)} missing; restore it from a backup or make the folder")
    return f"{home.layout.root} of {home.config.party}"


def _log(home: Home) -> str:
    views = FolderViewStore(home.layout)
    if alarms := views.alarms():
        raise _Unwell(f"the coordinator contradicted itself; read {alarms[-1]} and ask the other parties")
    held = views.checkpoint()
    return f"last seen with {held.splitlines()[1]} entries, no contradiction" if held else "not seen yet"


def _keys(home: Home) -> str:
    loose = loose_permissions(home.layout)
    if loose:
        raise _Unwell(f"{', '.join(map(str, loose))} missing or readable by others; run chmod go-rwx on it")
    return "only you can read them"


def _certificate(home: Home) -> str:
    begins, ends = certificate_term(home.layout)
    moment = now()
    if moment < begins:
        raise _Unwell(f"valid only from {begins:%Y-%m-%d %H:%M} UTC; is this machine's clock right?")
    if moment >= ends:
        raise _Unwell(
            f"expired on {ends:%Y-%m-%d}; send the coordinator a `severable-client certificate request` and install"
            " what comes back"
        )
    if renewal.due(home.layout, moment):
        return f"valid until {ends:%Y-%m-%d}; due for renewal, which the daemon does, or `certificate renew`"
    return f"valid until {ends:%Y-%m-%d}; the daemon renews it"


def _images(home: Home) -> str:
    count = count_images(Path(home.config.data))
    return f"{count:,} by their names in {home.config.data}; `severable-client data check` looks at each"


def _coordinator(home: Home) -> str:
    begun = time.monotonic()
    with home.exchange(TIMEOUT_S) as exchange:
        listing = exchange.contracts()
    took_ms = 1000 * (time.monotonic() - begun)
    return f"{home.config.exchange} answers in {took_ms:.0f} ms, {len(listing.items)} contracts"


def _disk(home: Home) -> str:
    free = shutil.disk_usage(home.layout.root).free
    if free < LEAST_FREE_BYTES:
        raise _Unwell(f"only {free >> 20} MiB are free at {home.layout.root}; free at least 1 GiB")
    return f"{free / 2**30:.1f} GiB free"


def _recipes(home: Home) -> list[str]:
    """Return the digests of recipes of contracts that are on offer or in force."""
    records = [record for record in home.contracts.all() if record.state not in FINAL]
    return sorted({str(d) for r in records for d in open_contract(r.envelope, home.sides).value.recipes})


def _fit(digest: str, home: Home) -> str:
    """Let the worker look at every image: it alone loads torch, and so its start is checked as well."""
    command = [sys.executable, "-P", "-m", "severable_client.worker", "--home", str(home.layout.root), "--look", digest]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=WORKER_TIMEOUT_S, check=False, env=os.environ
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Unwell(f"the worker cannot be run: {error}") from error
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode != 0:
        raise _Unwell(lines[-1] if lines else f"the worker ended with exit code {done.returncode}")
    return lines[-1]
