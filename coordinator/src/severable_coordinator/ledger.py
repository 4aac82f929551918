"""The ledger: which party's shards made how much of what was drawn from a composite.

Every draw is one entry with a line for each shard that could be used. When a removal erases a shard, its lines go; what
stays is one total for its contract, which an invoice needs and which says nothing about images.

Credit is realised: 1 of an image for the shard that it was bound to, else the shards' weights at the last step
(`severable_diffusion.attribution`), summed over the images of the draw.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from severable_trust.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """One shard's part of one draw. `images` is all of the draw, and `credit` of it, in [0, images], is the shard's."""

    composite: Digest
    group: str
    shard: Digest
    party: str
    contract: Digest
    images: int
    credit: float
    drawn: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTotal:
    """What is known of draws under one contract: images of the draws, each draw once, and the credit of all shards."""

    party: str
    contract: Digest
    images: int
    credit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyAccount:
    """A party's images drawn in all, its credit, and that credit's share of everybody's, in [0, 1]."""

    party: str
    images: int
    credit: float
    share: float


class LedgerStore(Protocol):
    """Draws, line by line, and the totals of contracts whose shards were erased."""

    def add(self, draw: Iterable[LedgerLine]) -> None:
        """Add a draw: all of its lines or none. Lines of a shard that was erased meanwhile go into its total."""

    def lines(self, shards: Iterable[Digest] | None = None) -> list[LedgerLine]:
        """Lines in the order of their draws, of some shards or of all."""

    def sums(self, group: str | None = None, since: datetime | None = None) -> list[LedgerTotal]:
        """Sum the lines by contract, of one group and from a time on if asked for. Totals are not among them."""

    def totals(self) -> list[LedgerTotal]:
        """Every total that an erasure left, by contract; it has no group and no time any more."""

    def erase(self, shards: Iterable[Digest]) -> int:
        """Move the lines of shards into their contracts' totals; returns how many lines went.

        Nothing happens to a line twice: a second call finds none. A draw's images are counted once for a contract, with
        the last of its shards that has a line there.
        """


def accounts(sums: Iterable[LedgerTotal]) -> list[PartyAccount]:
    """Sum by party, the one with the most credit first."""
    images: dict[str, int] = {}
    credit: dict[str, float] = {}
    for one in sums:
        images[one.party] = images.get(one.party, 0) + one.images
        credit[one.party] = credit.get(one.party, 0.0) + one.credit
    whole = sum(credit.values())
    return [
        PartyAccount(party=party, images=images[party], credit=got, share=got / whole if whole else 0.0)
        for party, got in sorted(credit.items(), key=lambda item: (-item[1], item[0]))
    ]
