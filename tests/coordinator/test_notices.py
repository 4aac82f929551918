"""Both sides are told: over real HTTP and real SMTP on loopback, signed, once, and again until it is delivered."""

import email
import email.policy
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from coordinator.federation import World, quiet
from coordinator.mailboxes import MailServer, WebServer, taking_mails, taking_posts
from coordinator.removals import PARTY, WAYS, agreed

from severable_coordinator.adapters.carrying import carry_out
from severable_coordinator.adapters.enforcer import Enforcer
from severable_coordinator.adapters.notice_channels import SIGNATURE_HEADER, signature
from severable_coordinator.adapters.notice_sender import NoticeSender
from severable_coordinator.adapters.settings import read_config
from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.errors import ConfigError
from severable_coordinator.notices import MAX_TRIES, pause_s
from severable_trust.bundle import verify_receipt
from severable_trust.denial import DenialReason

SECRET = b"a secret that both know"


@dataclass
class Told:
    """A world whose coordinator tells two servers."""

    world: World
    mail: MailServer
    web: WebServer
    coordinator: Coordinator
    said: list[str]

    def deliver(self) -> int:
        """Try everything that waits once; the pauses are over."""
        return NoticeSender(self.coordinator, self.said.append, lambda _: 0.0).deliver_waiting()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    world = World(tmp_path / "home")
    with taking_mails() as mail, taking_posts() as web:
        configure(world, section(mail.port, web.port))
        config = read_config(world.coordinator.layout.config)
        world.coordinator = replace(world.coordinator, config=config)
        yield Told(world, mail, web, world.coordinator, [])


def section(mail: int, web: int) -> dict[str, Any]:
    return {
        "webhook_secret": "keys/webhook.secret",
        "smtp": {"host": "127.0.0.1", "port": mail, "sender": "federation@example.org", "tls": "none"},
        "operator": {"webhook": f"http://127.0.0.1:{web}/removals"},
        "parties": {PARTY: {"email": "dpo@agency.example"}},
    }


def configure(world: World, notices: dict[str, Any], **enforcement: Any) -> None:
    layout = world.coordinator.layout
    (layout.keys / "webhook.secret").write_bytes(SECRET + b"\n")
    plain = yaml.safe_load(layout.config.read_text())
    layout.config.write_text(yaml.safe_dump(plain | {"notices": notices, "enforcement": enforcement}))


def test_an_ordered_removal_is_told_when_it_is_ordered_and_when_it_is_done(told: Told) -> None:
    record = WAYS["breach"].start(told.world, agreed(told.world, ship=False))
    assert told.deliver() == 2
    carry_out(told.coordinator, record.request, quiet, told.said.append)
    carry_out(told.coordinator, record.request, quiet, told.said.append)  # told once
    assert told.deliver() == 2
    assert told.deliver() == 0
    posts = [json.loads(body) for _, _, body in told.web.posts]
    assert [post["event"] for post in posts] == ["removal-ordered", "removal-fulfilled"]
    receipt = json.dumps(posts[1]["statement"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert verify_receipt(receipt, told.coordinator.trust_root).request.id == record.request
    assert [(sender, to) for sender, to, _ in told.mail.mails] == [
        ("federation@example.org", ["dpo@agency.example"])
    ] * 2
    parsed = email.message_from_bytes(told.mail.mails[1][2], policy=email.policy.default)
    assert parsed["Subject"] == f"removal-fulfilled: {PARTY}"
    (attached,) = parsed.iter_attachments()
    assert verify_receipt(attached.get_content(), told.coordinator.trust_root).request.id == record.request


def test_a_webhook_is_signed_over_its_time_and_body(told: Told) -> None:
    WAYS["breach"].start(told.world, agreed(told.world, ship=False))
    told.deliver()
    ((path, headers, body),) = told.web.posts
    assert path == "/removals"
    header = headers[SIGNATURE_HEADER.lower()]
    at, said = header.removeprefix("t=").split(",v1=")
    assert hmac.compare_digest(said, hmac.new(SECRET, f"{at}.".encode() + body, hashlib.sha256).hexdigest())
    assert header == signature(SECRET, int(at), body)


def test_a_partys_own_request_is_not_told_but_its_denial_is(told: Told) -> None:
    record = WAYS["request"].start(told.world, agreed(told.world, ship=False))
    assert told.coordinator.notice_store.notices() == []
    told.coordinator.orders.deny(record, DenialReason.RETAINED_BY_LAW, "a court ordered it kept")
    told.deliver()
    assert [json.loads(body)["event"] for _, _, body in told.web.posts] == ["removal-denied"]


def test_who_was_not_told_because_a_crash_came_after_the_receipt_is_told_by_up_and_once(told: Told) -> None:
    record = WAYS["breach"].start(told.world, agreed(told.world, ship=False))
    told.deliver()
    told.coordinator.removal.run(record, quiet)  # and there the process ended
    assert told.deliver() == 0
    for _ in range(2):
        Enforcer(told.world.reopened(), told.said.append).tick()
    assert told.deliver() == 2
    carry_out(told.coordinator, record.request, quiet, told.said.append)
    assert told.deliver() == 0
    assert [json.loads(body)["event"] for _, _, body in told.web.posts] == ["removal-ordered", "removal-fulfilled"]


def test_what_is_not_delivered_is_tried_again_listed_and_blocks_nothing(told: Told) -> None:
    told.web.status, told.mail.refusing = 503, True
    record = WAYS["breach"].start(told.world, agreed(told.world, ship=False))
    assert told.deliver() == 0
    listed = told.coordinator.notice_store.notices()
    assert [(n.state, n.tries) for n in listed] == [("waiting", 1)] * 2
    assert "answered 503" in listed[0].detail
    assert "busy" in listed[1].detail
    assert all("\n" not in line for line in told.said)
    assert carry_out(told.coordinator, record.request, quiet, told.said.append).state == "fulfilled"
    told.web.status, told.mail.refusing = 204, False
    assert told.deliver() == 4
    assert {n.state for n in told.coordinator.notice_store.notices()} == {"sent"}


def test_a_server_that_never_answers_is_given_up_after_many_tries(told: Told) -> None:
    told.web.status = 500
    configure(told.world, section(told.mail.port, told.web.port) | {"parties": {}})
    WAYS["breach"].start(told.world, agreed(told.world, ship=False))
    for _ in range(MAX_TRIES + 2):
        told.deliver()
    (notice,) = [n for n in told.coordinator.notice_store.notices() if n.address.channel == "webhook"]
    assert (notice.state, notice.tries) == ("given up", MAX_TRIES)


def test_pauses_grow_up_to_a_bound() -> None:
    pauses = [pause_s(n) for n in range(1, 40)]
    assert pauses[:3] == [30, 60, 120]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 6 * 3600


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"operator": {"webhook": "http://example.org/x"}}, "no https address"),
        ({"operator": {"pager": "1"}}, r"notices\.operator\.pager is unknown"),
        ({"operator": {"email": "nobody"}}, "is no address"),
        ({"webhook_secret": "keys/none"}, "is no file"),
        ({"smtp": None}, "must have|host"),
        ({"smtp": {"host": "mail.example", "port": 25, "sender": "a@b", "tls": "none"}}, "use starttls or tls"),
        ({"smtp": {"host": "mail.example", "port": 0, "sender": "a@b"}}, "port is 0"),
        ({"parties": {PARTY: {"email": "a@b\nBcc: c@d"}}}, "one line of text"),
    ],
)
def test_a_section_that_would_send_wrongly_is_refused_by_field(told: Told, change: dict[str, Any], why: str) -> None:
    configure(told.world, section(told.mail.port, told.web.port) | change)
    with pytest.raises(ConfigError, match=why):
        read_config(told.coordinator.layout.config)


@pytest.mark.parametrize("bad", [{"automatic": 1}, {"confirm_s": -1}, {"look_s": "soon"}, {"pace": 1}])
def test_an_enforcement_section_that_is_wrong_is_refused_by_field(told: Told, bad: dict[str, Any]) -> None:
    configure(told.world, section(told.mail.port, told.web.port), **bad)
    with pytest.raises(ConfigError, match=rf"enforcement\.{next(iter(bad))}"):
        read_config(told.coordinator.layout.config)
