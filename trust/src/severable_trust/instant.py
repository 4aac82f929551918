"""Points in time as statements write them: UTC, whole seconds, `YYYY-MM-DDTHH:MM:SSZ`.

Laws: `parse_instant(format_instant(t)) == t` and `format_instant(parse_instant(s)) == s`. Nothing here reads a clock.
"""

import re
from datetime import UTC, datetime

from severable_trust.errors import MalformedError

_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


def check_instant(moment: datetime) -> None:
    """Refuse a time that a statement could not write.

    Raises:
        MalformedError: not in UTC, or not a whole second.
    """
    if moment.tzinfo is not UTC or moment.microsecond:
        raise MalformedError(f"time {moment.isoformat()} is not in UTC and whole seconds")


def format_instant(moment: datetime) -> str:
    """The text of a UTC time of whole seconds.

    Raises:
        MalformedError: not in UTC, or not a whole second.
    """
    check_instant(moment)
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def parse_instant(text: str) -> datetime:
    """The UTC time that this text writes.

    Raises:
        MalformedError: not `YYYY-MM-DDTHH:MM:SSZ`, or no such day or hour.
    """
    if not _FORM.fullmatch(text):
        raise MalformedError(f"time {text[:40]!r} is not written YYYY-MM-DDTHH:MM:SSZ")
    try:
        return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC)
    except ValueError as error:
        raise MalformedError(f"time {text!r} does not exist") from error
