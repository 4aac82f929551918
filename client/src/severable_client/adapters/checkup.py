"""The checks of `doctor`: each looks at one thing and says in one line how it is, and in another what to do about it.

Every check has a number for good; `doctor` ends with the number of the first that fails. docs/owner-operations.md has
the list.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from severable_client.adapters import machine, reachability, renewal
from severable_client.adapters.data_folder import count_images
from severable_client.adapters.files import FolderViewStore
from severable_client.adapters.keys import certificate_term, loose_permissions
from severable_client.adapters.unwell import UnwellError
from severable_client.bootstrap import Home, now
from severable_client.contracts import FINAL, open_contract
from severable_client.errors import ClientError
from severable_trust.contract import ContractState

LEAST_FREE_BYTES = 1 << 30
TIMEOUT_S = 5.0

Check = Callable[[Home], str]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, its number, whether it is well, one line, and what to do ("" if nothing)."""

    what: str
    code: int
    well: bool
    line: str
    remedy: str = ""


def examine(home: Home) -> Iterator[Finding]:
    """Yield one finding after the other; nothing is changed."""
    for what, code, check, remedy in _checks():
        yield _finding(what, code, check, remedy, home)
    yield from _with_torch(home)


def _checks() -> tuple[tuple[str, int, Check, str], ...]:
    """Return name, number, check, and the remedy where an error has none of its own."""
    return (
        ("home", 10, _home, "restore the home from a backup"),
        ("keys", 11, _keys, "restore the keys from a backup"),
        ("journal", 12, _journal, "compare with a backup, then `severable-client journal restore`"),
        ("certificate", 13, _certificate, "see `severable-client certificate --help`"),
        ("contracts", 14, _contracts, "see `severable-client contract list`"),
        ("images", 15, _images, "check `data` in config.yaml"),
        ("disk", 16, _disk, "free at least 1 GiB"),
        ("coordinator", 17, _coordinator, "check address, network and firewall"),
        ("fleet port", 18, _fleet, "check address, network and firewall"),
        ("clock", 19, _clock, "check the network first"),
        ("log", 20, _log, "ask the other parties what they see"),
    )


def _with_torch(home: Home) -> Iterator[Finding]:
    """Yield what only a process with torch can tell; it is asked once for everything."""
    recipes = _recipes(home)
    try:
        found = machine.torch_facts(home.layout.root, recipes)
    except UnwellError as error:
        yield Finding("torch", 21, well=False, line=str(error), remedy=error.remedy)
        return
    yield _finding("torch", 21, lambda _: machine.torch_against_driver(found, machine.driver()), "", home)
    yield _finding("training", 24, lambda _: machine.training_on(found), "", home)
    for digest in recipes:
        name = digest.removeprefix("sha256:")[:12]
        yield _finding(f"images for recipe {name}", 22, partial(_fit, digest, found), "correct the images", home)
        yield _finding(f"memory for recipe {name}", 23, partial(_memory, digest, found), "free memory", home)


def _finding(what: str, code: int, check: Check, remedy: str, home: Home) -> Finding:
    try:
        return Finding(what, code, well=True, line=check(home))
    except UnwellError as error:
        return Finding(what, code, well=False, line=str(error), remedy=error.remedy)
    except ClientError as error:
        line, _, own = str(error).rpartition("; ")  # an error's line ends with what to do
        return Finding(what, code, well=False, line=line or own, remedy=own if line else remedy)


def _home(home: Home) -> str:
    missing = [str(folder) for folder in home.layout.folders() if not folder.is_dir()]
    if missing:
        raise UnwellError(f"{', '.join(missing)} missing", "restore it from a backup or make the folder")
    return f"{home.layout.root} of {home.config.party}"


def _keys(home: Home) -> str:
    if loose := loose_permissions(home.layout):
        raise UnwellError(f"{', '.join(map(str, loose))} missing or readable by others", "run chmod go-rwx on it")
    return "only you can read them"


def _journal(home: Home) -> str:
    return f"holds; head {home.journal.verify() or 'none'}"


def _certificate(home: Home) -> str:
    begins, ends = certificate_term(home.layout)
    moment = now()
    if moment < begins:
        raise UnwellError(f"valid only from {begins:%Y-%m-%d %H:%M} UTC", "set this machine's clock right")
    if moment >= ends:
        raise UnwellError(
            f"expired on {ends:%Y-%m-%d}",
            "send the coordinator a `severable-client certificate request` and install what comes back",
        )
    if renewal.due(home.layout, moment):
        return f"valid until {ends:%Y-%m-%d}; due for renewal, which the daemon does, or `certificate renew`"
    return f"valid until {ends:%Y-%m-%d}; the daemon renews it"


def _contracts(home: Home) -> str:
    records, moment = home.contracts.all(), now()
    if not records:
        return "none yet; the coordinator offers one"
    held = [(record, open_contract(record.envelope, home.sides).value) for record in records]
    standing = {ContractState.SIGNED, ContractState.ACTIVE}
    ends = [c.valid_until for r, c in held if r.state in standing and c.valid_from <= moment < c.valid_until]
    offered = sum(record.state is ContractState.OFFERED for record in records)
    if ends:
        return f"{len(ends)} in force, until {max(ends):%Y-%m-%d}; {offered} on offer"
    if offered:
        return f"none in force; {offered} on offer, see `severable-client contract review`"
    states = ", ".join(sorted({record.state.value for record in records}))
    raise UnwellError(f"none in force ({states}, or out of term)", "ask the coordinator for an offer")


def _images(home: Home) -> str:
    count = count_images(Path(home.config.data))
    return f"{count:,} by their names in {home.config.data}; `severable-client data check` looks at each"


def _coordinator(home: Home) -> str:
    line = reachability.shake_hands(home.config.exchange, home.layout)
    with home.exchange(TIMEOUT_S) as exchange:
        listing = exchange.contracts()
    return f"{line}; {len(listing.items)} contracts"


def _fleet(home: Home) -> str:
    return reachability.shake_hands(home.config.fleet, home.layout)


def _clock(home: Home) -> str:
    return reachability.check_clock(home.config.fleet, home.layout)


def _log(home: Home) -> str:
    views = FolderViewStore(home.layout)
    if alarms := views.alarms():
        raise UnwellError("the coordinator contradicted itself", f"read {alarms[-1]} and ask the other parties")
    held = views.checkpoint()
    return f"last seen with {held.splitlines()[1]} entries, no contradiction" if held else "not seen yet"


def _disk(home: Home) -> str:
    free = shutil.disk_usage(home.layout.root).free
    if free < LEAST_FREE_BYTES:
        raise UnwellError(f"only {free >> 20} MiB are free at {home.layout.root}", "free at least 1 GiB")
    return f"{free / 2**30:.1f} GiB free"


def _recipes(home: Home) -> list[str]:
    """Return the digests of recipes of contracts that are on offer or in force."""
    records = [record for record in home.contracts.all() if record.state not in FINAL]
    return sorted({str(d) for r in records for d in open_contract(r.envelope, home.sides).value.recipes})


def _fit(digest: str, found: dict[str, Any], _: Home) -> str:
    fit = found["images"][digest]
    if "problem" in fit:
        raise ClientError(fit["problem"])
    line: str = fit["line"]
    return line


def _memory(digest: str, found: dict[str, Any], home: Home) -> str:
    free = machine.process_memory(found, home.config.device, home.config.devices)
    return machine.memory_for(found["recipes"][digest], free)
