"""Which part of its party's records a shard was trained on, and what that means for its lambda. Pure.

A contract may divide its party's records over sub-shards. Each is an ordinary shard; together they have the contract's
lambda, by the images that their claims name.
"""

from collections import Counter
from collections.abc import Sequence

from severable_coordinator.ports import ShardRecord
from severable_trust.contract import Contract
from severable_trust.shard import ShardClaim
from severable_trust.statement import read_unverified


def index_of(shard: ShardRecord) -> int | None:
    """A live shard's sub-shard, from 0; None where its party's records are not divided."""
    said = read_unverified(shard.claim, ShardClaim).sub_shard  # verified when it was admitted
    return None if said is None else said.index


def indexes(contract: Contract) -> tuple[int | None, ...]:
    """The sub-shards that a contract asks for: one None for a contract that does not divide the records."""
    count = contract.limits.sub_shards
    return (None,) if count is None else tuple(range(count))


def named(party: str, index: int | None) -> str:
    """How people read whose shard it is: the party, and the sub-shard behind a slash."""
    return party if index is None else f"{party}/{index}"


def lambdas(members: Sequence[tuple[ShardRecord, Contract]]) -> tuple[float, ...]:
    """Each shard's lambda in a mixture of exactly these.

    A contract's lambda is its party's: sub-shards share it by their images, so that dividing the records changes no
    party's part of a composite, and the sub-shards mix as one shard of all their images would.
    """
    images = [read_unverified(shard.claim, ShardClaim).images for shard, _ in members]
    totals: Counter[str] = Counter()
    for (_, contract), count in zip(members, images, strict=True):
        totals[contract.uid] += count
    return tuple(
        contract.weight if contract.limits.sub_shards is None else contract.weight * count / totals[contract.uid]
        for (_, contract), count in zip(members, images, strict=True)
    )
