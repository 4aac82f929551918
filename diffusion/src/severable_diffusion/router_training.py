"""Building a joint router from banks: cross-entropy on noised synthetic samples, then a temperature per noise level.

The build is a pure function of (shard ids, banks, recipe): shards are taken in the order of their ids, every draw comes
from one generator seeded by the content, and each shard gives equally many samples to every batch. So a router built
after a removal has the bytes of one built where that party never joined. Shapes: N, K shards, C, H, W.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from severable_diffusion.bank import Bank
from severable_diffusion.budget import EMA_WARM_UP, rate_factor
from severable_diffusion.calibration import fit_log_temperature
from severable_diffusion.environment import generator, repeatable, seed_from
from severable_diffusion.errors import CompositeError
from severable_diffusion.router import JointRouter
from severable_diffusion.schedule import NoiseSchedule
from severable_diffusion.training import TrainingProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from severable_diffusion.composite_recipe import RouterRecipe
    from severable_diffusion.recipe import Recipe

PURPOSE = b"severable router v2"
CALIBRATION_DRAWS = 4
LABELS_HIDDEN = 0.5


def build_router(
    banks: Mapping[str, Bank],
    recipe: Recipe,
    on_progress: Callable[[TrainingProgress], None] | None = None,
) -> JointRouter:
    """Return a calibrated router over the banks' shards, in eval mode, without gradients.

    Args:
        banks: each shard's bank by shard id; the mapping's order is irrelevant.
        recipe: what the shards share.
        on_progress: called after every optimizer step.

    Raises:
        CompositeError: if there is no bank, or one does not fit the recipe.
    """
    if not banks:
        raise CompositeError("a router needs the bank of at least one shard")
    ids = sorted(banks)
    ordered = [_checked(shard, banks[shard], recipe) for shard in ids]
    parts = [part for shard, bank in zip(ids, ordered, strict=True) for part in (shard.encode(), *bank.content())]
    seed = seed_from(PURPOSE, recipe.to_bytes(), *parts)
    kept = math.ceil(recipe.bank.images * (1.0 - recipe.bank.held_out))
    with repeatable():
        training = _RouterTraining(ids, [bank.rows(slice(kept)) for bank in ordered], recipe, seed)
        steps = recipe.router.steps if len(ids) > 1 else 0  # one shard: nothing to tell apart
        for _ in range(steps):
            progress = training.advance()
            if on_progress is not None:
                on_progress(progress)
        router = training.averaged()
        if steps:
            _calibrate(router, [bank.rows(slice(kept, None)) for bank in ordered], recipe, training.noise)
    return router


def _checked(shard: str, bank: Bank, recipe: Recipe) -> Bank:
    wanted = (recipe.bank.images, recipe.image.channels, recipe.image.size, recipe.image.size)
    if (bank.label_N is not None) is not (recipe.labels > 0):
        raise CompositeError(f"bank of shard {shard} and the recipe disagree on conditions; draw the bank again")
    for found_NCHW in (bank.x_NCHW, bank.state_NCHW):
        if tuple(found_NCHW.shape) != wanted or found_NCHW.dtype is not torch.float32:
            found = f"{found_NCHW.dtype} {tuple(found_NCHW.shape)}"
            raise CompositeError(f"bank of shard {shard} is {found}; the recipe wants float32 {wanted}, draw it again")
    return Bank.from_tensors({name: tensor.detach().to("cpu").contiguous() for name, tensor in bank.tensors().items()})


def log_snr_band(plan: RouterRecipe) -> tuple[float, float]:
    """Return the log-SNR of the noisy and of the clean end of the useful band."""
    return -2.0 * math.log(plan.noise_high), -2.0 * math.log(plan.noise_low)


class _Batch(NamedTuple):
    """What one step is taken on; `label_N` is the number of labels where the label is hidden, or there is none."""

    x_t_NCHW: torch.Tensor
    log_snr_N: torch.Tensor
    label_N: torch.Tensor
    owner_N: torch.Tensor


def _log_shares(bank: Bank, labels: int) -> torch.Tensor:
    """Return log p(c | shard) of every label as the bank has it, and 0 for "no label", shape (labels + 1,)."""
    if bank.label_N is None:
        return torch.zeros(labels + 1)
    share_C = torch.bincount(bank.label_N, minlength=labels) / len(bank.label_N)
    return torch.cat([share_C.log(), torch.zeros(1)])


class _RouterTraining:
    """One router's training, a step at a time."""

    def __init__(self, ids: Sequence[str], banks: Sequence[Bank], recipe: Recipe, seed: int) -> None:
        self.plan, self.banks, self.labels = recipe.router, banks, recipe.labels
        self.log_share_KC = torch.stack([_log_shares(bank, recipe.labels) for bank in banks])
        self.schedule = NoiseSchedule.of(recipe.process)
        self.noise = generator(seed)
        low, high = log_snr_band(self.plan)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # torch's initialisers take no generator
            self.router: JointRouter = JointRouter(
                shard_ids=list(ids),
                in_channels=recipe.image.channels,
                sample_size=recipe.image.size,
                channels=self.plan.channels,
                bins=self.plan.bins,
                log_snr_low=low,
                log_snr_high=high,
                patch=self.plan.patch,
                labels=recipe.labels,
            )
        self.router.train()
        self.ema = {name: tensor.detach().clone() for name, tensor in self.router.state_dict().items()}
        self.optimizer = torch.optim.AdamW(self.router.parameters(), lr=self.plan.learning_rate, fused=True)
        self.step = 0

    def _times(self, count: int) -> torch.Tensor:
        """Draw times: mostly log-uniform in the band where the posterior changes, the rest below its noisy end."""
        low, high = log_snr_band(self.plan)
        log_snr_N = low + (high - low) * torch.rand(count, generator=self.noise)
        band_N = self.schedule.time_of(log_snr_N)
        noisiest = int(self.schedule.time_of(torch.tensor([low]))[0])
        any_N = torch.randint(self.schedule.first, noisiest + 1, (count,), generator=self.noise)
        in_band_N = torch.rand(count, generator=self.noise) < self.plan.band_share
        return torch.where(in_band_N, band_N, any_N)

    def _batch(self) -> _Batch:
        """Equally many samples of each shard: noised images, and states of its own trajectories."""
        size = self.plan.batch
        of_states = round(size * self.plan.trajectory_share)
        # The same times for every shard: the noise level alone must say nothing about the label.
        times_N = self._times(size - of_states)
        parts = [self._part(bank, times_N, of_states) for bank in self.banks]
        x_t_NCHW, t_N, label_N = (torch.cat(column) for column in zip(*parts, strict=True))
        owner_N = torch.arange(len(parts)).repeat_interleave(size)
        return _Batch(x_t_NCHW, self.schedule.log_snr_T[t_N], label_N, owner_N)

    def _part(self, bank: Bank, t_N: torch.Tensor, of_states: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows_N = torch.randint(len(bank.x_NCHW), (len(t_N),), generator=self.noise)
        rows_M = torch.randint(len(bank.x_NCHW), (of_states,), generator=self.noise)
        x0_NCHW = bank.x_NCHW[rows_N]
        noised_NCHW = self.schedule.add_noise(x0_NCHW, torch.randn(x0_NCHW.shape, generator=self.noise), t_N)
        times_N = torch.cat([t_N, bank.time_N[rows_M]])
        return torch.cat([noised_NCHW, bank.state_NCHW[rows_M]]), times_N, self._seen(bank, torch.cat([rows_N, rows_M]))

    def _seen(self, bank: Bank, rows_N: torch.Tensor) -> torch.Tensor:
        """Return the labels that the router sees: every other sample's is hidden."""
        if bank.label_N is None:
            return torch.full_like(rows_N, self.labels)
        hidden_N = torch.rand(len(rows_N), generator=self.noise) < LABELS_HIDDEN
        return bank.label_N[rows_N].masked_fill(hidden_N, self.labels)

    def _loss(self, batch: _Batch) -> torch.Tensor:
        told_N = batch.label_N if self.labels else None
        logits_NK = self.router(batch.x_t_NCHW, batch.log_snr_N, told_N)
        # The bank's own p(c | i) is added here, so that the logits stay free of it, as they are free of lambda.
        return torch.nn.functional.cross_entropy(logits_NK + self.log_share_KC[:, batch.label_N].T, batch.owner_N)

    def advance(self) -> TrainingProgress:
        """Do one optimizer step."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * rate_factor(self.step, self.plan.steps, self.plan.steps // 20)
        loss = self._loss(self._batch())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves this one method unannotated
        self.optimizer.step()
        self.step += 1
        decay = min(self.plan.ema_decay, (1 + self.step) / (EMA_WARM_UP + self.step))
        now = self.router.state_dict()
        torch._foreach_lerp_(list(self.ema.values()), [now[name] for name in self.ema], 1.0 - decay)
        return TrainingProgress(self.step, self.plan.steps, loss.item())

    def averaged(self) -> JointRouter:
        """Return the router with its averaged weights, ready to use."""
        self.router.load_state_dict(self.ema)
        self.router.requires_grad_(requires_grad=False).eval()
        return self.router


@torch.no_grad()
def _calibrate(router: JointRouter, held_out: Sequence[Bank], recipe: Recipe, noise: torch.Generator) -> None:
    """Fit one temperature at each bin's centre on samples that the router was not trained on."""
    schedule = NoiseSchedule.of(recipe.process)
    low, high = log_snr_band(recipe.router)
    x0_NCHW = torch.cat([bank.x_NCHW for bank in held_out]).repeat(CALIBRATION_DRAWS, 1, 1, 1)
    labels = torch.arange(len(held_out)).repeat_interleave(torch.tensor([len(bank.x_NCHW) for bank in held_out]))
    label_N = labels.repeat(CALIBRATION_DRAWS)
    for index, centre in enumerate(torch.linspace(low, high, recipe.router.bins)):
        t_N = schedule.time_of(centre.repeat(len(x0_NCHW)))
        x_t_NCHW = schedule.add_noise(x0_NCHW, torch.randn(x0_NCHW.shape, generator=noise), t_N)
        logits_NK = router(x_t_NCHW, schedule.log_snr_T[t_N])
        router.log_temperature[index] = fit_log_temperature(logits_NK, label_N)
