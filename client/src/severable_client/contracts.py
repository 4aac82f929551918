"""Contracts at the owner's side: what is believed of a listing, what may be signed, what is permitted now.

A contract counts here only if its envelope carries the coordinator's signature and names this party and its key; it
permits something only with this party's own signature too. The coordinator's word on a state is taken within those
bounds: it may end a contract, never bring one to life that was not signed here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from severable_client.errors import ContractProblemError
from severable_client.exchange import ContractItem, Exchange
from severable_client.ports import Clock, ContractRecord, ContractStore, Journal, JournalEntry, RecipeStore
from severable_trust.amendment import require_successor
from severable_trust.contract import Action, Contract, ContractState, require
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.errors import TrustError
from severable_trust.keys import PublicKey, Signer
from severable_trust.statement import Proven, open_statement, read_unverified

FINAL = frozenset({
    ContractState.SUPERSEDED, ContractState.EXPIRED, ContractState.TERMINATED, ContractState.BREACHED,
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Whose signatures make a contract: this party's, and the coordinator's as the trust root has it."""

    party: str
    own: PublicKey
    coordinator: PublicKey
    former: tuple[PublicKey, ...] = ()  # keys that this party rotated away from; its older contracts carry them

    def signed(self, proven: Proven[Contract]) -> bool:
        """Whether the contract carries the signature of this party under the key that it is made out to."""
        return proven.value.assigner.key_id in proven.signers


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What a party holds and writes when it deals in contracts.

    Attributes:
        sides: whose signatures count.
        contracts: contracts known.
        recipes: recipes held.
        journal: told before anything is sent.
        clock: the time now.
    """

    sides: Sides
    contracts: ContractStore
    recipes: RecipeStore
    journal: Journal
    clock: Clock


def open_contract(envelope: bytes | Envelope, sides: Sides) -> Proven[Contract]:
    """Return the contract in an envelope that the coordinator signed for this party.

    Raises:
        ContractProblemError: not signed by the coordinator, by somebody else too, or made out to another party or key.
    """
    try:
        proven = open_statement(envelope, Contract, [sides.coordinator, sides.own, *sides.former])
    except TrustError as error:
        raise ContractProblemError(f"the contract's envelope does not hold: {error}") from error
    contract = proven.value
    if sides.coordinator.key_id not in proven.signers:
        raise ContractProblemError(f"contract {contract.uid} is not signed by the coordinator")
    keys = {key.key_id for key in (sides.own, *sides.former)}
    if contract.assigner.id != sides.party or contract.assigner.key_id not in keys:
        raise ContractProblemError(
            f"contract {contract.uid} is made out to {contract.assigner.id}, not to this party and key"
        )
    if contract.assignee.key_id != sides.coordinator.key_id:
        raise ContractProblemError(f"contract {contract.uid} names another coordinator key than the trust root")
    return proven


def permit(
    contract_id: str,
    sides: Sides,
    store: ContractStore,
    at: datetime,
    *,
    recipe: str | None = None,
    app: str | None = None,
) -> Contract:
    """Return the contract if it permits training at this time, with this recipe or application bundle if named.

    Raises:
        ContractProblemError: unknown, not signed by both, not active, out of term, or not covering it.
    """
    record = find(contract_id, store)
    proven = open_contract(record.envelope, sides)
    if not sides.signed(proven):
        raise ContractProblemError(
            f"contract {proven.value.uid} is not signed by this party; run `severable-client contract review`"
        )
    # Both signatures are there, so nothing is left to wait for: signed is as good as active within its term.
    state = ContractState.ACTIVE if record.state is ContractState.SIGNED else record.state
    try:
        named_recipe, named_app = Digest.parse(recipe) if recipe else None, Digest.parse(app) if app else None
        require(proven.value, state, Action.TRAIN, at, recipe=named_recipe, app=named_app)
    except TrustError as error:
        raise ContractProblemError(str(error)) from error
    return proven.value


def permitted_apps(sides: Sides, store: ContractStore, at: datetime) -> frozenset[str]:
    """Return the hex digests of every application bundle that a contract permits to run at this time."""
    found: set[str] = set()
    for record in store.all():
        try:
            found.update(digest.hex for digest in permit(record.id, sides, store, at).apps)
        except ContractProblemError:
            continue
    return frozenset(found)


def find(contract_id: str, store: ContractStore) -> ContractRecord:
    """Return the record under a contract's id, given whole or by the first digits of its hex (4 or more).

    Raises:
        ContractProblemError: none, or more than one, has it.
    """
    digits = contract_id.removeprefix("sha256:")
    found = (
        [record for record in store.all() if record.id.removeprefix("sha256:").startswith(digits)]
        if len(digits) >= 4
        else []
    )
    if len(found) != 1:
        problem = (
            "more than one contract begins so" if found else "no such contract; see `severable-client contract list`"
        )
        raise ContractProblemError(f"contract {contract_id[:80]!r}: {problem}")
    return found[0]


def amended(proven: Proven[Contract], holdings: Holdings) -> Contract | None:
    """Return the version that an offer amends, out of this party's own store, or None for a first version.

    Raises:
        ContractProblemError: that version is not held, was not signed here, or the offer does not follow from it.
    """
    contract = proven.value
    if contract.previous is None:
        return None
    held = holdings.contracts.get(str(contract.previous))
    if held is None:
        raise ContractProblemError(
            f"contract {contract.uid}, version {contract.version}, amends {contract.previous}, which this party does"
            " not hold: do not sign it, ask the coordinator"
        )
    before = open_contract(held.envelope, holdings.sides)
    try:
        require_successor(before, contract)
    except TrustError as error:
        raise ContractProblemError(f"{error}: do not sign it, ask the coordinator") from error
    if not holdings.sides.signed(before) or held.state is not ContractState.ACTIVE:
        raise ContractProblemError(f"contract {contract.uid}: the version that it amends is {held.state}, not in force")
    return before.value


def versions(record: ContractRecord, store: ContractStore) -> tuple[str, ...]:
    """Return the ids of a contract and of every earlier version that this party holds, newest first."""
    found: list[str] = []
    following: ContractRecord | None = record
    while following is not None and following.id not in found:
        found.append(following.id)
        previous = read_unverified(following.envelope, Contract).previous  # verified when it was received
        following = store.get(str(previous)) if previous is not None else None
    return tuple(found)


def receive(item: ContractItem, holdings: Holdings) -> ContractRecord:
    """Verify a listed contract, keep it with the recipes it names, and return the record that is now held.

    Raises:
        ContractProblemError: the envelope does not hold, its id is another, or a recipe is missing.
    """
    sides = holdings.sides
    proven = open_contract(item.envelope, sides)
    if str(proven.id) != item.id:
        raise ContractProblemError(f"contract {item.id[:80]!r} is listed under another id than its own, {proven.id}")
    _keep_recipes(proven.value, item.recipes, holdings.recipes)
    held = holdings.contracts.get(item.id)
    signed = sides.signed(proven)
    envelope = proven.envelope.to_bytes()
    if held is not None and not signed:  # what this party has signed is not traded for a copy without its signature
        envelope = held.envelope
        signed = sides.signed(open_contract(envelope, sides))
    record = ContractRecord(id=item.id, envelope=envelope, state=_believed(held, item.state, signed=signed))
    holdings.contracts.put(record)
    return record


def _keep_recipes(contract: Contract, sent: tuple[bytes, ...], recipes: RecipeStore) -> None:
    """Keep the recipes that the contract names, and no other."""
    given = {str(Digest.of(data)): data for data in sent}
    for digest in map(str, contract.recipes):
        if digest in given:
            recipes.put(given[digest])
        elif recipes.get(digest) is None:
            raise ContractProblemError(f"contract {contract.uid}: recipe {digest} was not sent with it")


def _believed(held: ContractRecord | None, said: str, *, signed: bool) -> ContractState:
    if held is not None and held.state in FINAL:
        return held.state
    state = ContractState(said) if said in set(ContractState) else ContractState.OFFERED
    if not signed:
        return state if state in FINAL else ContractState.OFFERED
    return ContractState.SIGNED if state is ContractState.OFFERED else state


def sign_contract(record: ContractRecord, signer: Signer, exchange: Exchange, holdings: Holdings) -> ContractRecord:
    """Countersign an offer, send it, and keep it; nothing changes here unless the coordinator takes it.

    Raises:
        ContractProblemError: it is not on offer, or its envelope does not hold.
        ExchangeError: the coordinator cannot be reached, or refuses.
    """
    proven = open_contract(record.envelope, holdings.sides)
    if record.state is not ContractState.OFFERED or holdings.sides.signed(proven):
        raise ContractProblemError(f"contract {proven.value.uid} is {record.state}, not on offer")
    if proven.value.assigner.key_id != signer.public_key.key_id:
        raise ContractProblemError(
            f"contract {proven.value.uid} is made out to a key that this party has replaced; ask for a new offer"
        )
    envelope = proven.envelope.countersigned(signer).to_bytes()
    amended(proven, holdings)
    entry = JournalEntry(at=holdings.clock(), what="signed contract", subject=record.id, bytes=len(envelope))
    holdings.journal.note(entry)
    said = exchange.sign_contract(envelope)
    kept = replace(record, envelope=envelope, state=_believed(None, said, signed=True))
    holdings.contracts.put(kept)
    return kept


def refresh(exchange: Exchange, holdings: Holdings, on_problem: Callable[[str], None]) -> tuple[ContractRecord, ...]:
    """Fetch the coordinator's listing, keep what holds, tell what does not, and return every record now held."""
    for item in exchange.contracts().items:
        try:
            receive(item, holdings)
        except ContractProblemError as error:
            on_problem(str(error))
    return holdings.contracts.all()
