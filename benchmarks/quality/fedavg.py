"""Figure 16: a diffusion model trained by federated averaging, each of ten clients with one class.

The aggregation is Flower's own, `flwr.serverapp.strategy.FedAvg.aggregate_train`, on Flower's Messages of ArrayRecord
and MetricRecord. They are made and answered in this process, without SuperLink, SuperNode or ray: the model is measured
here, not the transport. A client starts every round from the global weights with a fresh AdamW, as a stateless
ClientApp does. Shapes: N images, C, H, W.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from flwr.app import ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

from quality import distances, shards, work
from severable_diffusion import network
from severable_diffusion.budget import EMA_WARM_UP, planned_steps
from severable_diffusion.environment import seed_from
from severable_diffusion.training import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from quality.bench import Bench
    from quality.composites import Federation, Samples
    from severable_diffusion.recipe import Recipe

SPLIT = "class-10"
ROUNDS = 60
COMPARED = (
    "Same network, initial weights, images, batch, forward process, AdamW settings, gradient clipping, sampler and "
    "number of images as the monolith, and in all clients together as many optimizer steps; the learning rate at every "
    "step is the monolith's at the same share of all steps. Compared is the quality of the images alone."
)
NOT_COMPARED = (
    "Not compared: secure aggregation, privacy, traffic (federated averaging sends the weights twice a round, a shard "
    "once) and removal, which federated averaging does not have. One setting of rounds and local steps was run; no "
    "other federated optimizer, and none made for skewed labels."
)


def local_steps(total: int, clients: int, rounds: int) -> tuple[int, ...]:
    """Return every client's steps in every round, so that all clients together do `total`, rounded down to clients.

    Args:
        total: optimizer steps of the monolith.
        clients: how many share them.
        rounds: how many rounds are wanted; fewer if a client has fewer steps than that.
    """
    each = max(1, total // clients)
    rounds = min(rounds, each)
    return tuple((place + 1) * each // rounds - place * each // rounds for place in range(rounds))


class Averaging:
    """A federated training, a round at a time; all that a round reads or writes is in `state`.

    Args:
        recipe: what the monolith is trained by.
        images: every client's images, float32 in [-1, 1], by its name.
        labels: every client's labels, int64, where the recipe has conditions.
        seed: of the initial weights, which are those of a monolith of that seed, and of the clients' batches.
        rounds: as in `local_steps`.

    Attributes:
        weights: the global weights, by name.
        ema: their moving average over rounds, of the recipe's decay for the steps that a client did in a round.
        round: rounds done.
        losses: mean loss of every round.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: dict[str, torch.Tensor],
        labels: dict[str, torch.Tensor] | None,
        *,
        seed: int,
        rounds: int = ROUNDS,
    ) -> None:
        self.recipe = recipe
        self.total = planned_steps(recipe.training, sum(map(len, images.values())))
        self.plan = local_steps(self.total, len(images), rounds)
        self.clients = {
            name: Trainer(recipe, own, seed_from(f"fedavg {seed} {name}".encode()), labels[name] if labels else None)
            for name, own in sorted(images.items())
        }
        self.weights = {name: one.clone() for name, one in network.build_seeded(recipe, seed).state_dict().items()}
        self.ema = {name: one.clone() for name, one in self.weights.items()}
        self.round, self.losses = 0, list[float]()
        self.strategy = FedAvg()
        logging.getLogger("flwr").setLevel(logging.WARNING)  # it tells of every round

    def advance(self) -> None:
        """Do one round: every client from the global weights, then Flower's average, weighted by number of images."""
        # Messages say which task of which run made them; there is none here, so it is named by hand.
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        sent = RecordDict({"arrays": ArrayRecord(self.weights)})
        orders = [Message(sent, place, MessageType.TRAIN) for place in range(1, len(self.clients) + 1)]
        replies = [self._answer(order, one) for order, one in zip(orders, self.clients.values(), strict=True)]
        arrays, metrics = self.strategy.aggregate_train(self.round + 1, replies)
        if arrays is None or metrics is None:
            raise RuntimeError("Flower's FedAvg aggregated nothing")
        self.weights = dict(arrays.to_torch_state_dict())
        steps, self.round = self.plan[self.round], self.round + 1
        decay = min(self.recipe.training.ema_decay**steps, (1 + self.round) / (EMA_WARM_UP + self.round))
        for name, average in self.ema.items():
            average.lerp_(self.weights[name], 1.0 - decay)
        self.losses.append(float(cast("float", metrics["loss"])))

    def _answer(self, order: Message, trainer: Trainer) -> Message:
        """Do a client's local steps on what the message holds, and reply as a ClientApp does."""
        trainer.model.load_state_dict(order.content.array_records["arrays"].to_torch_state_dict())
        trainer.optimizer.state.clear()
        trainer.steps, done = self.total, sum(self.plan[: self.round])
        trainer.losses.clear()
        for local in range(self.plan[self.round]):
            trainer.step = (done + local) * len(self.clients)  # the place in the learning rate's schedule
            trainer.advance()
        loss = sum(trainer.losses) / len(trainer.losses)
        facts = MetricRecord({"num-examples": len(trainer.images_NCHW), "loss": loss})
        content = RecordDict({"arrays": ArrayRecord(trainer.model.state_dict()), "metrics": facts})
        return Message(content, reply_to=order)

    def state(self, seconds: float) -> dict[str, Any]:
        """Return all that the next round needs, and the processor seconds until here."""
        return {
            "weights": self.weights,
            "ema": self.ema,
            "generators": {name: one.generator.get_state() for name, one in self.clients.items()},
            "round": self.round,
            "losses": self.losses,
            "seconds": seconds,
        }

    def resume(self, state: dict[str, Any] | None) -> float:
        """Go to where an unfinished training was, and return the seconds spent until there."""
        if state is None:
            return 0.0
        self.weights, self.ema = dict(state["weights"]), dict(state["ema"])
        for name, one in self.clients.items():
            one.generator.set_state(state["generators"][name])
        self.round, self.losses = state["round"], list(state["losses"])
        return float(state["seconds"])


def trained(bench: Bench, split: str, rounds: int = ROUNDS) -> tuple[shards.Shard, shards.Shard]:
    """Return the moving average of the global weights and the last of them: kept, resumed or trained from scratch."""
    recipe, name = bench.size.recipe, f"fedavg-{split}-{rounds}"
    path = shards.shard_path(bench.folder, recipe, name, bench.images.train_NCHW, bench.seed)
    if work.kept_facts(path.with_suffix(".json")) is None:
        _to_the_end(path, bench, split, rounds)
    found = work.kept_tensors(path)
    if found is None:
        raise RuntimeError(f"{path} is gone; measure again")
    tensors, facts = found
    average, last = (
        {key.removeprefix(f"{kind}/"): one for key, one in tensors.items() if key.startswith(f"{kind}/")}
        for kind in ("average", "last")
    )
    return shards.Shard(name=name, weights=average, **facts), shards.Shard(name=f"{name}-last", weights=last, **facts)


def _to_the_end(path: Path, bench: Bench, split: str, rounds: int) -> None:
    recipe, parts = bench.size.recipe, bench.parts(split)
    labels = {part.name: bench.images.train_label_N[part.rows_N] for part in parts} if recipe.conditions else None
    run = Averaging(recipe, bench.images_of(split), labels, seed=bench.seed, rounds=rounds)
    unfinished = path.with_suffix(".unfinished")
    earlier, begun = run.resume(work.kept_state(unfinished)), time.process_time()
    while run.round < len(run.plan):
        run.advance()
        work.keep_state(unfinished, run.state(earlier + time.process_time() - begun))
    tail = run.losses[-max(1, len(run.losses) // 10) :]
    facts = {
        "seconds": earlier + time.process_time() - begun,
        "steps": sum(run.plan) * len(run.clients),
        "images": len(bench.images.train_NCHW),
        "loss": sum(tail) / len(tail),
    }
    kept = {"average": run.ema, "last": run.weights}
    work.keep_tensors(path, {f"{kind}/{key}": one for kind, of in kept.items() for key, one in of.items()}, facts)
    unfinished.unlink(missing_ok=True)


def measure(bench: Bench, split: str = SPLIT, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure federated averaging over a split's parts against the monolith and the composite drawn by lambda."""
    mono, federation = bench.monolith, bench.federation(split)
    average, last = trained(bench, split, rounds)
    reference = bench.distance(bench.draw(mono, None, "draw_once", "monolith").x_NCHW)
    composite = bench.distance(bench.draw(federation, None, "draw_once", "prior").x_NCHW)
    own, raw = (distances.told_of(bench, _drawn(bench, mono, one)) for one in (average, last))
    plan = local_steps(mono.shards[0].steps, len(federation.names), rounds)
    return {
        **own,
        "ratio_to_monolith": own["distance"] / reference,
        "ratio_to_composite": own["distance"] / composite,
        "last_weights": {"distance": raw["distance"], "ratio_to_monolith": raw["distance"] / reference},
        "clients": len(federation.names),
        "rounds": len(plan),
        "local_steps": max(plan),
        "steps": average.steps,
        "monolith_steps": mono.shards[0].steps,
        "loss": average.loss,
        "processor_seconds": average.seconds,
        "monolith_processor_seconds": mono.shards[0].seconds,
        "sampled": "moving average over rounds of the global weights; last_weights without it",
        "compared": COMPARED,
        "not_compared": NOT_COMPARED,
    }


def _drawn(bench: Bench, mono: Federation, shard: shards.Shard) -> Samples:
    return bench.draw(replace(mono, shards=(shard,)), None, "draw_once", shard.name)
