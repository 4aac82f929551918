"""Reading config.yaml again while the daemon runs: what takes effect now, and what at the next start."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from severable_client.adapters.config import Config, read_config
from severable_client.bootstrap import Home
from severable_client.discretion import Discretion

# The Flower node and the upkeep have been connected with these since the start.
FIXED = ("party", "exchange", "fleet")


@dataclass(frozen=True, slots=True)
class Change:
    """What the file now says, as far as it takes effect now, and one line about it."""

    config: Config
    line: str


def read(home: Home) -> Change:
    """Return what to change in a running daemon.

    Raises:
        ConfigError, HomeError: the file is wrong or gone; nothing changes.
    """
    new, old = read_config(home.layout.config), home.config
    changed = [field.name for field in fields(Config) if getattr(new, field.name) != getattr(old, field.name)]
    later = [name for name in changed if name in FIXED]
    taken = replace(new, party=old.party, exchange=old.exchange, fleet=old.fleet)
    now = ", ".join(name for name in changed if name not in FIXED) or "nothing"
    line = f"config.yaml read again: {now} changed; a job under way goes on as it began"
    if later:
        line += f"; {', '.join(later)} take effect at the next start"
    return Change(taken, line)


def discretion(home: Home) -> Discretion:
    """Return what keeps the image folder's names out of the log."""
    return Discretion(Path(home.config.data))
