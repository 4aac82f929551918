"""Keeps a home in step with the coordinator: clock, certificate, contracts' states, erasures, receipts as they come."""

import threading
import uuid
from collections.abc import Callable

from severable_client.adapters import reachability, renewal
from severable_client.adapters.keys import certificate_term, read_witness
from severable_client.adapters.reachability import ClockOffError
from severable_client.adapters.unwell import UnwellError
from severable_client.bootstrap import Home, now
from severable_client.contracts import refresh
from severable_client.erasure import ask
from severable_client.errors import ClientError, HomeError, RefusedByCoordinatorError, UnreachableError
from severable_client.exchange import Exchange
from severable_client.removal import Removal, fetch_receipt

EVERY_S = 30.0
TIMEOUT_S = 10.0


def in_step(home: Home, on_problem: Callable[[str], None]) -> None:
    """Watch the log and cosign it, fetch contracts and outstanding receipts once.

    Raises:
        ExchangeError: the coordinator cannot be reached, or refuses.
        LogAlarmError: the coordinator's log or roster contradicts what was seen before; nothing else is fetched.
        HomeError: the certificate has expired.
    """
    _keep_certificate(home)
    with home.exchange(TIMEOUT_S) as exchange:
        home.witness.watch(exchange)  # first: nothing is learned from a coordinator that contradicts itself
        try:
            home.witness.vouch(exchange, read_witness(home.layout, home.config.party))
        except RefusedByCoordinatorError as error:
            on_problem(f"the coordinator does not take this party's cosignature: {error}")
        refresh(exchange, home.holdings, on_problem)
        for removal in home.removals.all():
            if removal.acknowledgement and not removal.ended:
                fetch_receipt(removal, exchange, home.removals, home.trust_root)
        settle_erasures(home, exchange)


def settle_erasures(home: Home, exchange: Exchange) -> tuple[Removal, ...]:
    """Finish what erasures of records began: what was trained on them goes here, and is asked back from there.

    Returns:
        The requests that were acknowledged now; raises as `erasure.ask`.
    """
    if not home.erased.count():
        return ()
    erasures = home.erasures
    erasures.sweep()
    return ask(erasures, home.signer, exchange, home.holdings, new_id=lambda: str(uuid.uuid4()))


def _keep_certificate(home: Home) -> None:
    at = now()
    if not renewal.due(home.layout, at):
        return
    if at >= (ends := certificate_term(home.layout)[1]):
        raise HomeError(
            f"this home's certificate expired at {ends:%Y-%m-%d %H:%M} UTC; send the coordinator a "
            "`severable-client certificate request` and install what comes back"
        )
    with home.exchange(TIMEOUT_S) as exchange:
        renewal.renew(home.layout, home.config.party, exchange)


def clock_fault(home: Home) -> str:
    """Return one line if this machine's clock is too far from the coordinator's, "" if it is not or cannot be told."""
    try:
        reachability.check_clock(home.config.fleet, home.layout)
    except ClockOffError as error:
        return f"this machine's clock is {error}, and no message comes through until it is right; {error.remedy}"
    except UnwellError:  # whoever wants an answer of the coordinator says so
        pass
    return ""


class Upkeep:
    """A thread that calls `in_step` now and then, and says a problem once until it changes.

    Args:
        home: the opened home.
        say: told one line when something is wrong, and when it is right again.
        every_s: seconds between two calls.
    """

    def __init__(self, home: Home, say: Callable[[str], None], every_s: float = EVERY_S) -> None:
        self._home = home
        self._say = say
        self._every_s = every_s
        self._said = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def running(self) -> bool:
        """Whether the thread is there; it must be until `stop`."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End, waiting for a call under way at most as long as it may take."""
        self._over.set()
        self._thread.join(TIMEOUT_S)

    def _run(self) -> None:
        while not self._over.is_set():
            clock = clock_fault(self._home)
            what, line = self._look()
            if clock:  # the network's words and the seconds differ from try to try
                what, line = f"clock {what}", f"{clock}; {line}" if line else clock
            self._tell(what, line)
            self._over.wait(self._every_s)

    def _look(self) -> tuple[str, str]:
        """Return what is wrong, the same for as long as it is the same, and one line about it; "" if nothing is."""
        problems: list[str] = []
        try:
            in_step(self._home, problems.append)
        except UnreachableError as error:
            return "unreachable", str(error)
        except ClientError as error:
            return str(error), str(error)
        return "; ".join(problems), "; ".join(problems)

    def _tell(self, what: str, line: str) -> None:
        if what != self._said:
            self._say(line or "in step with the coordinator again")
        self._said = what
