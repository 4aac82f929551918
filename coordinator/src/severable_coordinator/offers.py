"""What an offer says, apart from who makes it to whom."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from severable_trust.contract import Action, Contract, DeletionDuty, Limits, PartyRef
from severable_trust.digest import Digest

SCOPE = ("shard", "bank", "router", "composites")
TRIGGERS = ("request", "termination", "expiry", "breach")
EVIDENCE = "signed receipt in the log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of an offer.

    Attributes:
        days: length of the term, where `valid_until` is None.
        valid_from: first second of the term (UTC); None for the moment of the offer.
        valid_until: first second after the term (UTC), or None.
        recipes: further recipes beside the one that is offered.
        apps: further application bundles beside the coordinator's present one.
        sub_shards: shards that the party's records are divided over, 1 to 64.
        others: as `severable_trust.contract.Contract` has them.
    """

    target: str
    permissions: tuple[Action, ...]
    recipients: tuple[str, ...]
    days: int
    notice_days: int
    weight: float
    min_images: int
    memorization_ceiling: float
    deletion_days: int
    governing_law: str
    legal_basis: str
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    deletion_scope: tuple[str, ...] = SCOPE
    deletion_triggers: tuple[str, ...] = TRIGGERS
    deletion_evidence: str = EVIDENCE
    recipes: tuple[Digest, ...] = ()
    apps: tuple[Digest, ...] = ()
    sub_shards: int = 1

    def contract(
        self,
        *,
        uid: str,
        version: int,
        previous: Digest | None,
        assigner: PartyRef,
        assignee: PartyRef,
        recipe: Digest,
        app: Digest,
        now: datetime,
    ) -> Contract:
        """The contract that these terms make between two sides. StatementError when a term is out of its range."""
        begins = self.valid_from or now
        return Contract(
            uid=uid,
            version=version,
            previous=previous,
            assigner=assigner,
            assignee=assignee,
            target=self.target,
            permissions=self.permissions,
            recipients=self.recipients,
            valid_from=begins,
            valid_until=self.valid_until or begins + timedelta(days=self.days),
            notice_days=self.notice_days,
            weight=self.weight,
            recipes=tuple(dict.fromkeys((recipe, *self.recipes))),
            apps=tuple(dict.fromkeys((app, *self.apps))),
            limits=Limits(
                min_images=self.min_images,
                memorization_ceiling=self.memorization_ceiling,
                sub_shards=None if self.sub_shards == 1 else self.sub_shards,
            ),
            deletion=DeletionDuty(
                deadline_days=self.deletion_days,
                scope=self.deletion_scope,
                evidence=self.deletion_evidence,
                triggers=self.deletion_triggers,
            ),
            governing_law=self.governing_law,
            legal_basis=self.legal_basis,
        )
