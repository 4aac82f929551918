"""What happened after a backup was taken, done again on what was restored from it, before anything of it is served.

The log is the memory: it says which removals were asked for and which were receipted. Their shards become tombstones,
their files are unlinked and their keys destroyed, as they were then; the receipts stay the ones that were issued.
Parties' keys and standing follow the newest roster. What was admitted after the backup is not in it and is named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from severable_coordinator.erasing import Erasing
from severable_coordinator.errors import ConflictError, NotFoundError
from severable_coordinator.logbook import Logbook
from severable_coordinator.membership import PartyRecord, PartyStore
from severable_coordinator.ports import (
    CompositeStore,
    ContractRecord,
    ContractStore,
    RemovalRecord,
    RemovalStore,
    ShardRecord,
    ShardState,
    ShardStore,
)
from severable_coordinator.reopening import Reopening, statements
from severable_coordinator.requests import is_about_records
from severable_coordinator.vault_port import Vault
from severable_trust.bundle import ReceiptBundle
from severable_trust.contract import Contract, ContractState
from severable_trust.digest import Digest
from severable_trust.entry import LoggedStatement
from severable_trust.envelope import Envelope
from severable_trust.receipt import Receipt
from severable_trust.roster import PartyStatus
from severable_trust.statement import Kind, read_unverified, statement_id


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What a replay did and found.

    Attributes:
        entries: how many entries of the log the backup did not have.
        removed: ids of the shards that were removed again.
        keys: names of the data keys that were destroyed again.
        missing: live shards whose weights the backup does not hold.
        groups: access groups whose composite is to be assembled again.
    """

    entries: int = 0
    removed: list[Digest] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    missing: list[Digest] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Brings restored stores up to a log."""

    contracts: ContractStore
    shards: ShardStore
    composites: CompositeStore
    removals: RemovalStore
    erasing: Erasing
    parties: PartyStore
    vault: Vault
    logbook: Logbook
    reopening: Reopening
    scrub: Callable[[], None]

    def run(self, entries: Sequence[LoggedStatement]) -> Replayed:
        """Take in the log's entries, verified before, from the first on; none where no newer log is at hand.

        Raises:
            ConflictError: they are not of the log that was restored.
        """
        done = Replayed(groups=sorted({composite.group for composite in self.composites.composites()}))
        new = self._append(entries)
        done.entries = len(new)
        if new:
            self._follow_roster()
        for item in new:
            if item.entry.kind is Kind.CONTRACT and item.envelope is not None:
                self._keep_contract(item.envelope)
        if entries:
            self.reopening.run()
        for _, receipt in statements(self.logbook, Kind.RECEIPT, Receipt):
            done.removed += self._remove_again(receipt)
        self._retire()
        done.keys = self._destroy_unused_keys()
        done.missing = [s.id for s in self.shards.shards() if not self.vault.names(s.party, f"shards/{s.id.hex}/")]
        self.scrub()
        return done

    def _append(self, entries: Sequence[LoggedStatement]) -> list[LoggedStatement]:
        log = self.logbook.log
        held = [entry for _, entry, _ in log.entries()]
        for place, (mine, other) in enumerate(zip(held, entries, strict=False)):
            if mine != other.entry:
                raise ConflictError(f"the log given and the one in the backup part at entry {place}: they are two logs")
        new = list(entries[len(held) :])
        if new:
            log.append([(item.entry, item.envelope.to_bytes() if item.envelope else b"") for item in new])
        for item in entries:
            if item.envelope is None:
                log.erase_body(item.entry.statement)
        return new

    def _follow_roster(self) -> None:
        """A party that was revoked, or changed its key, or joined after the backup, is in the newest roster."""
        known = {party.id: party.status for party in self.parties.parties()}
        for party in self.logbook.roster().value.parties:
            record = PartyRecord(
                id=party.id,
                legal_name=party.legal_name,
                statement_key=party.statement_key,
                node_key=party.node_key,
                status=PartyStatus.REVOKED if known.get(party.id) == PartyStatus.REVOKED else party.status.value,
                former_keys=party.former_keys,
                witness=party.witness,
            )
            if party.id in known:
                self.parties.put_party(record)
            else:
                self.parties.add_party(record)

    def _keep_contract(self, envelope: Envelope) -> None:
        """A contract that was signed after the backup; the version before it has ended."""
        contract = read_unverified(envelope, Contract)
        known = {record.id: record for record in self.contracts.contracts()}
        before = known.get(contract.previous) if contract.previous else None
        ended = [] if before is None else [replace(before, state=ContractState.SUPERSEDED)]
        record = ContractRecord(
            id=statement_id(envelope),
            party=contract.assigner.id,
            envelope=envelope.to_bytes(),
            state=ContractState.ACTIVE,
        )
        self.contracts.put(record, *ended)

    def _remove_again(self, receipt: Receipt) -> list[Digest]:
        """Do once more what a receipt says was done; returns the shards that the backup still had."""
        had = {shard.id: shard.state for shard in self.shards.shards(None, receipt.party)}
        subjects = [s for s in receipt.subjects if had.get(s) is not ShardState.ERASED]
        record = self._record(receipt)
        if record is None or not is_about_records(record):
            self.reopening.end(receipt.contract)
        for subject in subjects:
            if subject not in had:
                self.shards.add(_tombstone(subject, receipt))
            self.shards.set_state(subject, ShardState.WITHDRAWN)
        self.erasing.erase(receipt.party, subjects)
        if record is not None and record.state != "fulfilled":
            self._fulfil(record, receipt)
        return subjects

    def _record(self, receipt: Receipt) -> RemovalRecord | None:
        try:
            return self.removals.removal(receipt.request)
        except NotFoundError:
            return None

    def _fulfil(self, record: RemovalRecord, receipt: Receipt) -> None:
        envelope = next(
            e for e, said in statements(self.logbook, Kind.RECEIPT, Receipt) if said.request == receipt.request
        )
        bundle = ReceiptBundle(
            receipt=envelope,
            request=Envelope.parse(record.envelope),
            contract=Envelope.parse(self.contracts.contract(record.contract).envelope),
            roster=self.logbook.roster().envelope,
            proof=self.logbook.prove(Kind.RECEIPT, envelope),
        )
        self.removals.set_state(record.request, "fulfilled", bundle.to_bytes())

    def _retire(self) -> None:
        """No composite is in a backup: those of removed shards are erased, the others assembled again when wanted."""
        gone = {shard.id for shard in self.shards.shards(None) if shard.state is not ShardState.LIVE}
        for composite in self.composites.composites(None):
            if set(composite.members) & gone:
                self.composites.set_state(composite.id, composite.group, "erased")
            elif composite.state == "live":
                self.composites.set_state(composite.id, composite.group, "retired")

    def _destroy_unused_keys(self) -> list[str]:
        """Destroy the data keys that open nothing here: a keys' backup may be older than a removal."""
        unused = [name for name in self.vault.key_names() if not self.vault.names(name)]
        for name in unused:
            self.vault.destroy_key(name)
        return unused


def _tombstone(subject: Digest, receipt: Receipt) -> ShardRecord:
    """A shard that was admitted and removed after the backup; of its recipe nothing is known any more."""
    return ShardRecord(
        id=subject,
        party=receipt.party,
        contract=receipt.contract,
        recipe=Digest.of(b""),
        claim=b"",
        admitted=receipt.issued,
        state=ShardState.LIVE,
    )
