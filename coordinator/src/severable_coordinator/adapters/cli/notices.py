"""`notices`: who was told what, and what could not be delivered."""

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.cli.output import listing
from severable_coordinator.bootstrap import open_home

EXAMPLE = "Example: severable-coordinator notices --format json"


def notices(how: As = Format.TEXT, home: Home = DEFAULT_HOME) -> None:
    """List the notices of removals and exits: waiting, sent or given up, with the last failure."""
    rows: list[dict[str, object]] = [
        {
            "made": f"{notice.made:%Y-%m-%d %H:%M}",
            "event": notice.event.value,
            "party": notice.party,
            "channel": notice.address.channel,
            "target": notice.address.target,
            "state": notice.state,
            "tries": notice.tries,
            "detail": notice.detail,
        }
        for notice in open_home(home).notice_store.notices()
    ]
    listing(rows, how, "no notice yet; config.yaml says who is told, under `notices`")
