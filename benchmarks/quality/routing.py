"""Figures 10 to 12: what a router knows, and how sure it is.

Asked about real test images, which no shard and no router has seen, noised to a level; about a fresh bank; and about
states of fresh reverse trajectories. Shapes: N samples, K shards, L noise levels.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from quality import builds
from quality.splits import owner_of
from severable_diffusion.calibration import expected_calibration_error
from severable_diffusion.environment import generator
from severable_diffusion.router import weights
from severable_diffusion.sampler import draw
from severable_diffusion.schedule import NoiseSchedule

if TYPE_CHECKING:
    from quality.bench import Bench
    from quality.composites import Federation
    from severable_diffusion.heads import HeadsRouter
    from severable_diffusion.router import JointRouter

LEVELS = (0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0)
"""sigma / alpha."""
AUDIT = 60
"""Fresh images of each shard for calibration."""
BUDGETS = {
    "smallest": (1 / 6, 0.5, None),
    "smaller": (1 / 3, 0.5, None),
    "small": (0.5, 1.0, None),
    "chosen": (1.0, 1.0, None),
    "large": (2.0, 2.0, None),
    "largest": (2.0, 1.0, 1),
}
"""Steps and batch as shares of the recipe's router's, and its patch where it is another."""


def posterior(
    router: JointRouter | HeadsRouter, x0_NCHW: torch.Tensor, level: float, federation: Federation, seed: int
) -> torch.Tensor:
    """Return w_NK for images noised to sigma / alpha = level, all lambdas equal."""
    schedule = NoiseSchedule.of(federation.recipe.process)
    t_N = schedule.time_of(torch.full((len(x0_NCHW),), -2.0 * math.log(level)))
    eps_NCHW = torch.randn(x0_NCHW.shape, generator=generator(seed))
    x_t_NCHW = schedule.add_noise(x0_NCHW, eps_NCHW, t_N)
    with torch.no_grad():
        parts = [
            router.logits(x, log_snr)
            for x, log_snr in zip(x_t_NCHW.tensor_split(10), schedule.log_snr_T[t_N].tensor_split(10), strict=True)
        ]
    count = len(federation.names)
    return weights(torch.cat(parts), torch.zeros(count), torch.ones(count, dtype=torch.bool))


def curves(
    router: JointRouter | HeadsRouter, x0_NCHW: torch.Tensor, owner_N: torch.Tensor, federation: Federation
) -> dict[str, list[float]]:
    """Return, per level: cross-entropy in nats, accuracy, mean largest weight, calibration error."""
    found: dict[str, list[float]] = {"level": [], "nll": [], "accuracy": [], "largest": [], "calibration": []}
    for place, level in enumerate(LEVELS):
        w_NK = posterior(router, x0_NCHW, level, federation, place)
        own_N = w_NK.gather(1, owner_N[:, None])[:, 0].clamp_min(1e-12)
        found["level"].append(level)
        found["nll"].append(float(-own_N.log().mean()))
        found["accuracy"].append(float((w_NK.argmax(dim=1) == owner_N).double().mean()))
        found["largest"].append(float(w_NK.max(dim=1).values.mean()))
        found["calibration"].append(expected_calibration_error(w_NK, owner_N))
    return found


def owners_of_test_images(bench: Bench, split: str, names: tuple[str, ...]) -> torch.Tensor:
    """Return which shard holds each test image's class."""
    table = torch.tensor([names.index(owner_of(split, label)) for label in range(10)])
    return table[bench.images.test_label_N]


def routers(bench: Bench, split: str, *, with_heads: bool) -> dict[str, Any]:
    """Compare routers from banks, from real data and of heads on real test images; balanced over the classes."""
    federation = bench.federation(split)
    names, count = federation.names, federation.recipe.bank.images
    x0_NCHW, owner_N = bench.images.test_NCHW[1::2], owners_of_test_images(bench, split, names)[1::2]
    found: dict[str, Any] = {"joint": curves(builds.joint(federation).router, x0_NCHW, owner_N, federation)}
    real = builds.from_real_data(federation, bench.images_of(split), bench.labels_of(split))
    found["real_data"] = curves(real.router, x0_NCHW, owner_N, federation)
    if with_heads:
        heads = builds.heads(federation, bench.images.test_NCHW[::2], bench.images.test_label_N[::2])
        found["heads"] = curves(heads.router, x0_NCHW, owner_N, federation)
    band = [place for place, level in enumerate(LEVELS) if 1.0 <= level <= 8.0]
    gaps = [found["joint"]["nll"][place] - found["real_data"]["nll"][place] for place in band]
    found["largest_gap_nats"], found["mean_gap_nats"] = max(gaps), sum(gaps) / len(gaps)
    found["images_per_shard"] = count
    return found


def budgets(bench: Bench, split: str) -> dict[str, Any]:
    """Compare routers of less and more training: what share of one shard's training each costs, and what it knows.

    The remedies for a router that is too dear, or too weak, beside shards as small as these.
    """
    federation = bench.federation(split)
    x0_NCHW, owner_N = bench.images.test_NCHW[1::2], owners_of_test_images(bench, split, federation.names)[1::2]
    shard_seconds = sum(shard.seconds for shard in federation.shards) / len(federation.shards)
    found = {}
    plan = federation.recipe.router
    for name, (steps, batch, patch) in BUDGETS.items():
        changes = {"steps": round(steps * plan.steps), "batch": round(batch * plan.batch), "patch": patch or plan.patch}
        images = 3 * federation.recipe.bank.images if name == "largest" else federation.recipe.bank.images
        recipe = replace(
            federation.recipe,
            bank=replace(federation.recipe.bank, images=images),
            router=replace(plan, **changes),
        )
        built = builds.joint(replace(federation, recipe=recipe))
        told = curves(built.router, x0_NCHW, owner_N, federation)
        band = [nll for level, nll in zip(told["level"], told["nll"], strict=True) if 1.0 <= level <= 8.0]
        found[name] = {
            **changes,
            "images": images,
            "router_over_one_shard": built.seconds / shard_seconds,
            "nll_at_sigma_1": told["nll"][LEVELS.index(1.0)],
            "nll_mean_of_sigma_1_to_8": sum(band) / len(band),
        }
    return found


def iid_confidence(bench: Bench, split: str) -> dict[str, Any]:
    """Ask the router of an iid split about held-out images: sure above 1/n means that it measures memorization."""
    federation = bench.federation(split)
    router = builds.joint(federation).router
    held_out_NCHW = bench.images.test_NCHW[:2000]
    found = curves(router, held_out_NCHW, torch.zeros(len(held_out_NCHW), dtype=torch.int64), federation)
    return {"level": found["level"], "largest": found["largest"], "shards": len(federation.names)}


def calibration(bench: Bench, split: str) -> dict[str, Any]:
    """Measure the expected calibration error on a fresh bank, noised, and on states of fresh trajectories."""
    federation = bench.federation(split)
    router = builds.joint(federation).router
    drawn = [builds.bank_of(federation, shard, "-audit")[0] for shard in federation.shards]
    x0_NCHW = torch.cat([bank.x_NCHW for bank in drawn])
    owner_N = torch.arange(len(drawn)).repeat_interleave(torch.tensor([len(bank.x_NCHW) for bank in drawn]))
    noised = curves(router, x0_NCHW, owner_N, federation)
    return {"bank": noised, "trajectory": _on_trajectories(federation, router)}


def _on_trajectories(federation: Federation, router: JointRouter | HeadsRouter) -> dict[str, list[float]]:
    """Return log-SNR and calibration error of every step of the shards' own trajectories, within the band."""
    schedule = NoiseSchedule.of(federation.recipe.process)
    by_time: dict[int, list[torch.Tensor]] = {}
    for place, shard in enumerate(federation.shards):
        alone = replace(federation, shards=(shard,))
        draw(
            federation.denoiser(shard),
            federation.recipe,
            count=4 * AUDIT,
            steps=federation.recipe.sampler.steps,
            generator=generator(77 + place),
            label_N=alone.labels(4 * AUDIT),
            on_state=lambda t, x: by_time.setdefault(t, []).append(x),
        )
    owner_N = torch.arange(len(federation.shards)).repeat_interleave(4 * AUDIT)
    count = len(federation.shards)
    found: dict[str, list[float]] = {"log_snr": [], "calibration": [], "largest": [], "accuracy": []}
    for t, states in by_time.items():
        log_snr = schedule.log_snr_T[t]
        with torch.no_grad():
            logits_NK = router.logits(torch.cat(states), log_snr.repeat(len(owner_N)))
        w_NK = weights(logits_NK, torch.zeros(count), torch.ones(count, dtype=torch.bool))
        found["log_snr"].append(float(log_snr))
        found["calibration"].append(expected_calibration_error(w_NK, owner_N))
        found["largest"].append(float(w_NK.max(dim=1).values.mean()))
        found["accuracy"].append(float((w_NK.argmax(dim=1) == owner_N).double().mean()))
    return found


def trajectory_of(bench: Bench, split: str) -> tuple[torch.Tensor, tuple[float, ...], tuple[str, ...]]:
    """Return weights along the trajectories of the full mixture, log-SNRs and names, for the picture."""
    federation = bench.federation(split)
    drawn = bench.draw(federation, builds.joint(federation), "full", "joint-full")
    return drawn.trajectory_SNK, drawn.log_snr, federation.names
