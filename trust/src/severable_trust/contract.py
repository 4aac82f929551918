"""Contracts: what a party and the coordinator both signed, and whether it allows a thing at a time.

The JSON uses the names of ODRL 2.2 (https://www.w3.org/TR/odrl-model/) where ODRL has them: an agreement with an
assigner (the data owner), an assignee (the coordinator), a target, permissions and an obligation to delete.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Self

from severable_trust.digest import Digest
from severable_trust.errors import ContractError, StatementError
from severable_trust.instant import check_instant, format_instant
from severable_trust.lifecycle import TRANSITIONS, ContractEvent, ContractState, advance
from severable_trust.record import from_plain, to_plain
from severable_trust.statement import Kind
from severable_trust.terms import (
    Action,
    DeletionDuty,
    Limits,
    PartyRef,
    require_finite,
    require_text,
    require_unique,
)

__all__ = [
    "TRANSITIONS",
    "Action",
    "Contract",
    "ContractEvent",
    "ContractState",
    "DeletionDuty",
    "Limits",
    "PartyRef",
    "advance",
    "describe",
    "require",
]

_AGREEMENT = "odrl:Agreement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The terms on which a party lends a shard; both sides sign the same bytes.

    Attributes:
        uid: the contract's name, the same over its versions.
        version: 1 or more; above 1 a `previous` version is named.
        assigner: the data owner.
        assignee: the coordinator.
        target: the data set's name.
        permissions: what the coordinator may do; at least one.
        recipients: the access groups that may receive or sample composites.
        valid_from: first second of the term (UTC).
        valid_until: first second after the term (UTC).
        notice_days: days of notice to terminate, 0 or more.
        weight: the party's weight lambda in the mixture, above 0.
        recipes: digests of the recipes the party may be asked to train; at least one.
        apps: digests of the application bundles the party's node may run.
        limits: privacy limits of a shard.
        deletion: the duty to delete.
        governing_law: as the parties wrote it.
        legal_basis: as the parties wrote it.
        previous: statement id of the version this one replaces, or None.

    Raises:
        StatementError: a term outside its range.
        MalformedError: a time that is not UTC in whole seconds.
    """

    KIND: ClassVar[Kind] = Kind.CONTRACT

    uid: str
    version: int
    assigner: PartyRef
    assignee: PartyRef
    target: str
    permissions: tuple[Action, ...] = field(metadata={"json": "permission"})
    recipients: tuple[str, ...]
    valid_from: datetime
    valid_until: datetime
    notice_days: int
    weight: float = field(metadata={"json": "lambda"})
    recipes: tuple[Digest, ...]
    apps: tuple[Digest, ...]
    limits: Limits
    deletion: DeletionDuty = field(metadata={"json": "obligation"})
    governing_law: str
    legal_basis: str
    previous: Digest | None

    def __post_init__(self) -> None:
        self._check_names()
        check_instant(self.valid_from)
        check_instant(self.valid_until)
        if self.valid_from >= self.valid_until:
            raise StatementError("contract: valid_until is not after valid_from")
        if self.version < 1 or (self.version > 1) != (self.previous is not None):
            raise StatementError("contract: version must be 1 without a previous version, or more with one")
        if self.notice_days < 0:
            raise StatementError(f"contract: notice_days is {self.notice_days}, must not be negative")
        require_finite(self.weight, "contract: lambda")
        if self.weight <= 0:
            raise StatementError(f"contract: lambda is {self.weight}, must be above 0")

    def _check_names(self) -> None:
        for name in ("uid", "target", "governing_law", "legal_basis"):
            require_text(getattr(self, name), f"contract: {name}")
        for name in ("permissions", "recipients", "recipes", "apps"):
            require_unique(getattr(self, name), f"contract: {name}")
        if not self.permissions or not self.recipes:
            raise StatementError("contract: needs at least one permission and one recipe")
        if self.assigner.id == self.assignee.id or self.assigner.key_id == self.assignee.key_id:
            raise StatementError("contract: assigner and assignee are the same")

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """The recipes and application bundles that the contract covers."""
        recipes = ((f"recipe/{place}", digest) for place, digest in enumerate(self.recipes))
        apps = ((f"app/{place}", digest) for place, digest in enumerate(self.apps))
        return (*recipes, *apps)

    def to_predicate(self) -> dict[str, Any]:
        """The contract as a JSON object with ODRL's names."""
        plain: dict[str, Any] = to_plain(self)
        plain["@type"] = _AGREEMENT
        plain["permission"] = [{"action": action} for action in plain["permission"]]
        plain["obligation"] = [{"action": "delete", **plain["obligation"]}]
        return plain

    @classmethod
    def from_predicate(cls, data: object) -> Self:
        """The contract that a decoded JSON object holds.

        Raises:
            StatementError: a field is missing, unknown or refused; the message names it.
        """
        if not isinstance(data, dict) or data.get("@type") != _AGREEMENT:
            raise StatementError(f"contract: '@type' is not {_AGREEMENT!r}")
        plain = {name: value for name, value in data.items() if name != "@type"}
        plain["permission"] = [entry["action"] for entry in _objects(plain, "permission", {"action"})]
        duties = _objects(plain, "obligation", {"action", "deadline_days", "scope", "evidence", "triggers"})
        if [duty.pop("action") for duty in duties] != ["delete"]:
            raise StatementError("contract.obligation: is not one duty whose action is 'delete'")
        plain["obligation"] = duties[0]
        return from_plain(cls, plain, "contract")


def _objects(plain: dict[str, Any], name: str, members: set[str]) -> list[dict[str, Any]]:
    entries = plain.get(name)
    if not isinstance(entries, list):
        raise StatementError(f"contract: field {name!r} is missing or not a list")
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or entry.keys() != members:
            raise StatementError(f"contract.{name}[{place}]: not an object with exactly {', '.join(sorted(members))}")
    return [dict(entry) for entry in entries]


def require(
    contract: Contract,
    state: ContractState,
    action: Action,
    at: datetime,
    *,
    recipe: Digest | None = None,
    app: Digest | None = None,
    recipient: str | None = None,
) -> None:
    """Return if the contract, in this state, permits the action at this time; raise otherwise.

    Args:
        contract: the contract, proven beforehand.
        state: where it stands.
        action: what is about to be done.
        at: when (UTC); the term includes its first second and excludes `valid_until`.
        recipe: the recipe it would be done with, if any.
        app: the application bundle it would be done with, if any.
        recipient: the access group for which it would be done, if any.

    Raises:
        ContractError: not active, out of term, or the action, recipe, bundle or recipient is not covered.
    """
    name = f"contract {contract.uid!r} of {contract.assigner.id}"
    if state is not ContractState.ACTIVE:
        raise ContractError(f"{name} is {state}, not active")
    if not contract.valid_from <= at < contract.valid_until:
        term = f"{format_instant(contract.valid_from)} to {format_instant(contract.valid_until)}"
        raise ContractError(f"{name} is out of term: {term}")
    if action not in contract.permissions:
        raise ContractError(f"{name} does not permit to {action}")
    if recipe is not None and recipe not in contract.recipes:
        raise ContractError(f"{name} does not cover recipe {recipe}")
    if app is not None and app not in contract.apps:
        raise ContractError(f"{name} does not cover application bundle {app}")
    if recipient is not None and recipient not in contract.recipients:
        raise ContractError(f"{name} does not name {recipient!r} among its recipients")


def _divided(limits: Limits) -> tuple[str, ...]:
    if limits.sub_shards is None:
        return ()
    return (
        f"The records are divided over {limits.sub_shards} sub-shards; each is trained alone and keeps these limits.",
        "The sub-shards share lambda by their images.",
        "Erasing a record asks for a new training of the sub-shard that held it, and of no other.",
    )


def describe(contract: Contract) -> str:
    """The contract in plain sentences, one a line, for whoever decides whether to sign it."""
    owner, coordinator, duty = contract.assigner, contract.assignee, contract.deletion
    groups = ", ".join(contract.recipients) or "nobody beyond the coordinator"
    term = f"{format_instant(contract.valid_from)} until {format_instant(contract.valid_until)}"
    share = f"{contract.limits.memorization_ceiling:.2%}"
    scope, triggers = ", ".join(duty.scope), ", ".join(duty.triggers)
    lines = [
        f"Contract {contract.uid}, version {contract.version}.",
        f"{owner.legal_name} ({owner.id}) owns the data set {contract.target!r}.",
        f"{coordinator.legal_name} ({coordinator.id}) may {', '.join(contract.permissions)}; nothing else.",
        f"Composites may go to: {groups}.",
        f"In force from {term}, {contract.notice_days} days' notice.",
        f"The shard weighs {contract.weight:g} in the mixture (lambda).",
        f"A shard is trained on at least {contract.limits.min_images} images.",
        f"A shard may reproduce at most {share} of the training images that are probed.",
        *_divided(contract.limits),
        f"On {triggers} the coordinator deletes {scope} within {duty.deadline_days} days.",
        f"The deletion is proved by: {duty.evidence}.",
        f"Recipes: {', '.join(map(str, contract.recipes))}.",
        f"Application bundles your node may run: {', '.join(map(str, contract.apps)) or 'none'}.",
        f"Governing law: {contract.governing_law}. Legal basis: {contract.legal_basis}.",
    ]
    if contract.previous is not None:
        lines.append(f"It replaces version {contract.version - 1}, statement {contract.previous}.")
    return "\n".join(lines)
