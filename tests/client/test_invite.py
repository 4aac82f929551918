from datetime import UTC, datetime

import pytest
from client.samples import Federation, invite_of

from severable_client.errors import InviteError
from severable_client.invite import PREFIX, parse_invite, require_usable

BEFORE, AFTER = datetime(2029, 12, 31, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)


def test_an_invite_survives_line_breaks_of_a_mail_program(federation: Federation) -> None:
    text = federation.invite_text()
    broken = "\n  ".join(text[place : place + 60] for place in range(0, len(text), 60))
    assert parse_invite(broken) == federation.invite()


@pytest.mark.parametrize(
    "text",
    ["", "hello", PREFIX, PREFIX + "!!!", PREFIX + "e30", PREFIX + "A" * 70000],
)
def test_garbled_text_is_refused(text: str) -> None:
    with pytest.raises(InviteError):
        parse_invite(text)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "severable-invite/v2"}, "format"),
        ({"party": "../a"}, "party"),
        ({"coordinator": "nowhere"}, "coordinator"),
        ({"token": "XYZ"}, "token"),
        ({"expires": "tomorrow"}, "expiry"),
        ({"ca_pem": "-----BEGIN"}, "certificate"),
    ],
)
def test_a_wrong_field_is_named(federation: Federation, changes: dict[str, str], says: str) -> None:
    with pytest.raises(InviteError, match=says):
        federation.invite(**changes)


def test_a_missing_or_unknown_field_is_refused() -> None:
    with pytest.raises(InviteError, match="exactly the fields"):
        parse_invite(invite_of({"format": "severable-invite/v1"}))


def test_an_invite_counts_until_its_last_second(federation: Federation) -> None:
    require_usable(federation.invite(), BEFORE, None)
    with pytest.raises(InviteError, match="expired"):
        require_usable(federation.invite(), AFTER, None)


def test_the_fingerprint_is_compared_without_regard_to_colons_and_case(federation: Federation) -> None:
    invite = federation.invite()
    shown = ":".join(invite.fingerprint[n : n + 2] for n in range(0, 64, 2)).upper()
    require_usable(invite, BEFORE, shown)
    with pytest.raises(InviteError, match="do not join"):
        require_usable(invite, BEFORE, "0" * 64)
