"""The servers' own certificate: 90 days, renewed over the same key after a third of its term, by `up` or by hand."""

from severable_coordinator.adapters.authority import renew_server, renewal_due
from severable_coordinator.adapters.disk import write_private
from severable_coordinator.bootstrap import Coordinator


def keep_current(coordinator: Coordinator, *, anyway: bool = False) -> bool:
    """Renew the servers' certificate if it is time to, or anyway; returns whether it was. ConfigError."""
    pair, now = coordinator.server, coordinator.clock()
    if not anyway and not renewal_due(pair.certificate, now):
        return False
    fresh = renew_server(coordinator.authority, pair, coordinator.config.host, now)
    write_private(coordinator.layout.keys / "server.pem", fresh.certificate)
    return True
