"""Delivers notices: a signed HTTP POST, or an e-mail. Every failure is one line; whoever calls tries again later."""

import hashlib
import hmac
import json
import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import httpx

from severable_coordinator.config import NoticesConfig, SmtpConfig
from severable_coordinator.notices import Notice

TIMEOUT_S = 10.0
SIGNATURE_HEADER = "Severable-Signature"


class UndeliveredError(Exception):
    """A notice was not delivered; the message is one line."""


def deliver(notice: Notice, config: NoticesConfig, home: Path, now_s: Callable[[], float]) -> None:
    """Deliver a notice over its channel. UndeliveredError.

    Args:
        notice: what, and where to.
        config: the operator's choices.
        home: below which the secrets' files lie.
        now_s: seconds since 1970, signed into a webhook's header.
    """
    try:
        if notice.address.channel == "webhook":
            _post(notice, (home / config.webhook_secret).read_bytes().strip(), int(now_s()))
        elif config.smtp is None:
            raise UndeliveredError("config.yaml has no notices.smtp any more")
        else:
            _mail(notice, config.smtp, home)
    except (OSError, httpx.HTTPError, httpx.InvalidURL, smtplib.SMTPException, ValueError) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise UndeliveredError(f"{notice.address.target}: {words[:300]}") from error


def signature(secret: bytes, at_s: int, body: bytes) -> str:
    """The header's value: `t=<seconds>,v1=<hex>`, HMAC-SHA256 over the seconds, a dot and the body."""
    return f"t={at_s},v1={hmac.new(secret, b'%d.' % at_s + body, hashlib.sha256).hexdigest()}"


def _post(notice: Notice, secret: bytes, at_s: int) -> None:
    said = json.loads(notice.text)
    if notice.statement:
        said["statement"] = json.loads(notice.statement)
    body = json.dumps({**said, "notice": notice.id}, sort_keys=True).encode()
    headers = {"Content-Type": "application/json", SIGNATURE_HEADER: signature(secret, at_s, body)}
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
        reply = client.post(notice.address.target, content=body, headers=headers)
    if not reply.is_success:
        raise UndeliveredError(f"{notice.address.target}: answered {reply.status_code}")


def _mail(notice: Notice, config: SmtpConfig, home: Path) -> None:
    message = EmailMessage()
    message["From"], message["To"] = config.sender, notice.address.target
    message["Subject"] = f"{notice.event.value}: {notice.party}"
    message["Message-ID"] = f"<{notice.id}@{config.sender.rpartition('@')[2]}>"
    said = json.loads(notice.text)
    facts = [f"{name}: {value}" for name, value in said.items() if name != "sentence"]
    message.set_content("\n".join([notice.sentence, "", *facts, ""]))
    if notice.statement:
        message.add_attachment(
            notice.statement, maintype="application", subtype="json", filename=f"{notice.event.value}.json"
        )
    with _connected(config) as server:
        if config.user:
            server.login(config.user, (home / config.password_file).read_text(encoding="utf-8").strip())
        server.send_message(message)


def _connected(config: SmtpConfig) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if config.tls == "tls":
        return smtplib.SMTP_SSL(config.host, config.port, timeout=TIMEOUT_S, context=context)
    server = smtplib.SMTP(config.host, config.port, timeout=TIMEOUT_S)
    if config.tls == "starttls":
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server
