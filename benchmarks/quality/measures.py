"""The list of measurements: which need which splits, in the order in which they are worth most."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from quality import costs, credit, departures, distances, fedavg, forgetting, removals, routing
from quality.splits import CLASS_SPLITS, EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from quality.bench import Bench
    from quality.composites import Federation


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measurement.

    Attributes:
        name: of its result.
        splits: whose shards it needs.
        run: does it.
        every_seed: whether it is repeated with every seed.
        every_set: whether it is done on every data set.
        wide: whether it needs the monolith of as many parameters as ten shards.
        beside: further splits whose shards it needs, that its result is not kept by.
    """

    name: str
    splits: tuple[str, ...]
    run: Callable[[Bench], dict[str, Any]]
    every_seed: bool = False
    every_set: bool = False
    wide: bool = False
    beside: tuple[str, ...] = ()


def _of(name: str, measure: Callable[..., dict[str, Any]], split: str, **options: Any) -> Measure:
    repeated = {key: options.pop(key) for key in ("every_seed", "every_set", "beside") if key in options}

    def run(bench: Bench) -> dict[str, Any]:
        return measure(bench, split, **options)

    return Measure(name=f"{name}-{split}", splits=(split,), run=run, **repeated)


MEASURES: tuple[Measure, ...] = (
    Measure(name="monolith", splits=(EVERYTHING,), run=distances.monolith, every_seed=True, every_set=True),
    _of("drawn", distances.drawn, "class-10", every_seed=True, every_set=True),
    _of("drawn", distances.drawn, "class-5", every_seed=True),
    _of("drawn", distances.drawn, "class-8", every_seed=True),
    _of("cost", distances.cost, "class-8"),
    _of("costs", costs.measure, "class-8", beside=(EVERYTHING,)),
    _of("partial", costs.partial_noise, "class-8", every_seed=True),
    Measure(name="wide", splits=(EVERYTHING,), run=distances.wide, wide=True),
    Measure(name="fedavg", splits=("class-10",), run=fedavg.measure, every_seed=True, beside=(EVERYTHING,)),
    _of("routers", partial(routing.routers, with_heads=True), "class-10", every_seed=True, every_set=True),
    _of("calibration", routing.calibration, "class-10", every_seed=True, every_set=True),
    _of("late", distances.drawn_late, "class-10"),
    _of("budgets", routing.budgets, "class-10"),
    _of("larger", distances.larger_router, "class-10"),
    _of("drop", removals.drop_one, "class-8", every_seed=True),
    _of("routed", distances.routed, "class-10", every_set=True),
    _of("attribution", credit.attribution, "class-10", every_set=True),
    _of("credit", credit.remedies, "class-10", every_set=True),
    _of("routed", distances.routed, "class-5"),
    _of("attribution", credit.attribution, "class-5"),
    _of("routed", partial(distances.routed, full=False), "class-8"),
    _of("heads", distances.of_heads, "class-10"),
    _of("heads", distances.of_heads, "class-5"),
    _of("k-sweep", distances.k_sweep, "class-10"),
    _of("number", distances.by_number, "class-10"),
    _of("exact", forgetting.exactness, "class-8"),
    _of("membership", departures.membership, "class-8"),
    _of("rerouted", departures.rerouted, "class-8"),
    _of("real", departures.by_real_data, "class-10"),
    _of("memorization", forgetting.memorization, "class-10"),
    _of("drawn", distances.drawn, "iid-8"),
    _of("drawn", distances.drawn, "class-2"),
    _of("drawn", distances.drawn, "iid-2"),
    _of("iid", routing.iid_confidence, "iid-8"),
)


def wanted(measure: Measure, data: str, seed: int, first_set: str, first_seed: int) -> bool:
    """Whether a measurement is part of a run on this data set with this seed."""
    return (measure.every_seed or seed == first_seed) and (measure.every_set or data == first_set)


def ready(measure: Measure, bench: Bench) -> bool:
    """Whether all that it needs is trained."""
    splits = {*measure.splits, *measure.beside}
    if measure.name.startswith("memorization"):
        splits.add(EVERYTHING)
    if measure.wide and not bench.is_trained(EVERYTHING, bench.size.wider):
        return False
    return all(bench.is_trained(split) for split in splits if split in CLASS_SPLITS or bench.parts(split))


def kept_by(measure: Measure, bench: Bench) -> list[Federation]:
    """Return the networks by whose weights a measurement's result is kept."""
    large = [bench.federation(EVERYTHING, recipe=bench.size.wider)] if measure.wide else []
    return [*(bench.federation(split) for split in measure.splits), *large]
