from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from severable_trust.errors import MalformedError
from severable_trust.instant import format_instant, parse_instant

MOMENTS = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0))


@given(MOMENTS)
def test_a_time_survives_its_text(moment: datetime) -> None:
    assert parse_instant(format_instant(moment)) == moment


def test_a_time_is_written_in_utc_to_the_second() -> None:
    assert format_instant(datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)) == "2026-02-03T04:05:06Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-03T04:05:06",
        "2026-02-03T04:05:06+00:00",
        "2026-02-03T04:05:06.0Z",
        "2026-02-03 04:05:06Z",
        "2026-2-03T04:05:06Z",
        "2026-02-30T04:05:06Z",
        "2026-02-03T24:05:06Z",
        "2026-02-03T04:05:60Z",
        "0000-01-01T00:00:00Z",
        "2026-02-03T04:05:06Z\n",
        "\u0662026-02-03T04:05:06Z",
        "",
    ],
)
def test_another_spelling_of_a_time_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_instant(text)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 1),  # noqa: DTZ001  # a time without a zone is what must be refused
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 1, 1, microsecond=1, tzinfo=UTC),
    ],
)
def test_a_time_that_cannot_be_written_is_refused(moment: datetime) -> None:
    with pytest.raises(MalformedError):
        format_instant(moment)
