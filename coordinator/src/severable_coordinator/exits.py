"""A party's exit: once nothing of it is left, its certificates, roster entry, Flower node and open invites go, too.

That it is still active in the roster is what says that the exit is not done; everything before that is harmless twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from severable_coordinator.contracting import OPEN_STATES
from severable_coordinator.errors import ConflictError, EngineError
from severable_coordinator.membership import PartyStore
from severable_coordinator.orders import IN_FORCE, Cause, Orders
from severable_coordinator.ports import ContractStore, RemovalRecord, RemovalStore, ShardState, ShardStore
from severable_coordinator.standing import Standing
from severable_trust.bundle import ReceiptBundle
from severable_trust.order import OrderClause, OrderReason, read_trigger
from severable_trust.receipt import Receipt
from severable_trust.roster import PartyStatus
from severable_trust.statement import read_unverified


@dataclass(frozen=True, slots=True, kw_only=True)
class Exits:
    """Sees parties out."""

    parties: PartyStore
    contracts: ContractStore
    shards: ShardStore
    removals: RemovalStore
    orders: Orders
    standing: Standing
    announce: Callable[[str], None]  # tells both sides that a party leaves
    grace: timedelta  # from the last receipt, for the party to fetch it or to agree on something new

    def ask(self, party: str, reason: str) -> RemovalRecord | None:
        """Have a party leave: order the removal under its contract in force, or see it out if nothing is left.

        Returns:
            The removal that is to be fulfilled first, or None: it has left.

        Raises:
            NotFoundError: no such party.
            ConflictError: it has left, or was revoked, already; or shards are left that no contract lets remove.
        """
        if self.parties.party(party).status == PartyStatus.REVOKED:
            raise ConflictError(f"party {party} is revoked already; `remove order` decides about what is left of it")
        under_way = [r for r in self.removals.removals() if r.party == party and not r.ended]
        if under_way:
            return under_way[-1]
        for contract in self.contracts.contracts(party):
            if contract.state in IN_FORCE or (contract.state not in OPEN_STATES and self.orders.left(contract.id)):
                cause = Cause(clause=OrderClause.TERMINATION, code=OrderReason.PARTY_EXIT, reason=reason)
                return self.orders.order(contract.id, cause)
        self.leave(party)
        return None

    def due(self, now: datetime) -> list[str]:
        """Parties whose last contract ended by a removal, and whose time is over, at a confirmed time (UTC)."""
        active = [party.id for party in self.parties.parties() if party.status == PartyStatus.ACTIVE]
        return [party for party in active if self._over(party, now)]

    def _over(self, party: str, now: datetime) -> bool:
        removals = [record for record in self.removals.removals() if record.party == party]
        fulfilled = [record for record in removals if record.state == "fulfilled"]
        if not fulfilled or not all(record.ended for record in removals) or self._holds(party):
            return False
        receipts = [read_unverified(ReceiptBundle.parse(record.bundle).receipt, Receipt) for record in fulfilled]
        at_once = read_trigger(fulfilled[-1].envelope).reason_code == OrderReason.PARTY_EXIT
        return at_once or now >= max(receipt.issued for receipt in receipts) + self.grace

    def _holds(self, party: str) -> bool:
        kept = [shard for shard in self.shards.shards(None, party) if shard.state is not ShardState.ERASED]
        return bool(kept) or any(contract.state in OPEN_STATES for contract in self.contracts.contracts(party))

    def leave(self, party: str) -> str:
        """See a party out of which nothing is left; returns what could not be done yet, in one line, or "".

        Raises:
            ConflictError: a shard or a contract of its is still there.
        """
        if self._holds(party):
            raise ConflictError(f"party {party} has a shard here, or a contract that has not ended; end that first")
        self.announce(party)
        self.parties.drop_invite(party)
        try:
            self.standing.revoke(party)
        except EngineError as error:  # `up` shuts the node out when Flower answers
            return f"Flower has not shut {party}'s node out yet: {error}"
        return ""
