"""Whether the coordinator can be reached from here: name, port, TLS chain, and its clock beside this machine's."""

import socket
import ssl
import time
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPSConnection

from severable_client.adapters.unwell import UnwellError
from severable_client.home import Layout

TIMEOUT_S = 5.0
# Flower takes a node's messages from 5 s in the coordinator's future to 305 s in its past.
MOST_AHEAD_S, MOST_BEHIND_S = 4.0, 300.0


class ClockOffError(UnwellError):
    """This machine's clock is so far from the coordinator's that messages or certificates are refused."""


def shake_hands(address: str, layout: Layout) -> str:
    """Connect over TLS as the daemon would, and return one line about it.

    Raises:
        UnwellError: no name, nobody listens, no answer, or the certificate is not the coordinator's.
    """
    host, port = _parts(address)
    begun = time.monotonic()
    try:
        with (
            socket.create_connection((host, port), timeout=TIMEOUT_S) as plain,
            _context(layout).wrap_socket(plain, server_hostname=host) as secure,
        ):
            ends = _ends(secure)
    except OSError as error:  # ssl.SSLError is one
        raise _unwell(address, error) from error
    took_ms = 1000 * (time.monotonic() - begun)
    return f"{address} answers over TLS in {took_ms:.0f} ms; its certificate holds, until {ends:%Y-%m-%d}"


def clock_offset_s(address: str, layout: Layout) -> tuple[float, float] | None:
    """Return how far this clock is ahead of the coordinator's, and within what, in seconds; None if it is not told.

    The fleet port answers every HTTP request, if only with a refusal, and the answer has a date of whole seconds.

    Raises:
        UnwellError: no answer.
    """
    host, port = _parts(address)
    begun = time.time()
    try:
        with closing(HTTPSConnection(host, port, timeout=TIMEOUT_S, context=_context(layout))) as connection:
            connection.request("GET", "/")
            told = connection.getresponse().getheader("Date")
    except (OSError, HTTPException) as error:
        raise _unwell(address, error) from error
    ended = time.time()
    if told is None:
        return None
    try:
        theirs = parsedate_to_datetime(told).timestamp() + 0.5
    except ValueError:
        return None
    return (begun + ended) / 2 - theirs, (ended - begun) / 2 + 0.5


def check_clock(address: str, layout: Layout) -> str:
    """Return one line about this machine's clock.

    Raises:
        ClockOffError: it is so far from the coordinator's that messages or certificates are refused.
        UnwellError: no answer.
    """
    found = clock_offset_s(address, layout)
    if found is None:
        return "the coordinator does not tell its time; nothing to compare with"
    offset_s, within_s = found
    side = "ahead of" if offset_s >= 0 else "behind"
    line = f"{abs(offset_s):.1f} s {side} the coordinator's, give or take {within_s:.1f} s"
    if offset_s - within_s > MOST_AHEAD_S or offset_s + within_s < -MOST_BEHIND_S:
        raise ClockOffError(line, "set this machine's clock (systemd-timesyncd or chrony keep it right)")
    return line


def _context(layout: Layout) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(layout.authority))
    context.load_cert_chain(layout.tls_certificate, layout.tls_key)  # the exchange wants one; the fleet port ignores it
    return context


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UnwellError(f"{address!r} is not host:port", "correct it in config.yaml")
    return host.strip("[]"), int(port)


def _ends(secure: ssl.SSLSocket) -> datetime:
    certificate = secure.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)


def _unwell(address: str, error: Exception) -> UnwellError:
    if isinstance(error, ssl.SSLCertVerificationError):
        line = f"the certificate at {address} is not vouched for by this home's authority: {error.verify_message}"
        return UnwellError(line, "check address and clock; ask the coordinator, somebody may be in between")
    if isinstance(error, ssl.SSLError):
        return UnwellError(f"no TLS at {address}: {error.reason or error}", "check the port; a proxy may be in between")
    if isinstance(error, socket.gaierror):
        line = f"{address}: the name is not known ({error.strerror})"
        return UnwellError(line, "check the address and this machine's DNS")
    if isinstance(error, ConnectionRefusedError):
        return UnwellError(f"nobody listens at {address}", "check address and port; is the coordinator up?")
    if isinstance(error, TimeoutError):
        remedy = f"let this machine's firewall open outbound connections to {address}"
        return UnwellError(f"no answer from {address} within {TIMEOUT_S:.0f} s", remedy)
    return UnwellError(f"{address} cannot be reached: {error}", "check the network")
