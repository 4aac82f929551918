"""Tells the service manager how the daemon is: systemd's protocol of sd_notify(3), spoken over its datagram socket.

Without the variable NOTIFY_SOCKET in the environment nobody asked, and nothing is sent.
"""

import socket
import time
from collections.abc import MutableMapping

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager:
    """The line to systemd, or to nobody.

    Args:
        environment: of this process. The variables of the protocol are taken out of it, for children would speak for
            this process if they inherited them.
        process: this process's id; a watchdog that is meant for another process is none of ours.
    """

    def __init__(self, environment: MutableMapping[str, str], process: int) -> None:
        told = {name: environment.pop(name, "") for name in _VARIABLES}
        self._address = _address(told["NOTIFY_SOCKET"])
        mine = told["WATCHDOG_PID"] in {"", str(process)}
        interval = told["WATCHDOG_USEC"]
        self._every_s = int(interval) / 2e6 if mine and interval.isdigit() and int(interval) else None
        self._last_s: float | None = None
        self._status = ""

    def ready(self) -> None:
        """Say that the daemon is up, or up again after a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that a reload begins; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the daemon is ending."""
        self._send("STOPPING=1")

    def status(self, line: str) -> None:
        """Say in one line what the daemon is at, if it is not what was said last."""
        line = " ".join(line.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self) -> None:
        """Feed the watchdog, twice within its time; to be called often, from what must not hang."""
        moment = time.monotonic()
        if self._every_s is not None and (self._last_s is None or moment - self._last_s >= self._every_s):
            self._last_s = moment
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)  # a manager that does not listen must not hold the daemon up
                line.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return  # the manager is gone or busy; it has its own way to find out


def _address(name: str) -> str:
    """Return the socket's address: a path, or a name in the abstract namespace, which is written with an @."""
    if name.startswith("@"):
        return f"\0{name[1:]}"
    return name if name.startswith("/") else ""
