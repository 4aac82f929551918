"""One batch's way from its start to images, and the record of whose shards made them.

At every step: where the state stands, what the router says, what the dispatch makes of it, the mixed prediction, the
scheduler's step. With guidance the conditional and the unconditional branch are each mixed with their own weights, and
then extrapolated. Shapes: N images, K shards, S steps, C, H, W.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from severable_diffusion.attribution import Attribution
from severable_diffusion.composition import Cumulative, Memory, mix
from severable_diffusion.lots import Generators, Lots
from severable_diffusion.router import weights

if TYPE_CHECKING:
    from severable_diffusion.conditions import Branch
    from severable_diffusion.drive import Drive, Frame
    from severable_diffusion.router import Router
    from severable_diffusion.shard_set import ShardSet
    from severable_diffusion.starts import Start
    from severable_diffusion.strategy import Strategy

UNBOUND = Cumulative(commit=2.0)
"""For the unconditional branch of guidance: its state was not drawn from it, so it never binds."""


@dataclass(slots=True, kw_only=True, eq=False)
class Walk:
    """One run.

    Attributes:
        shards: the networks.
        drive: the scheduler's run.
        strategy: the routers and the dispatch.
        branches: the conditional branch first.
        guidance: 1 for none.
        allowed_K: which shards may be used.
        start: where the run starts.
        generator: of all that is drawn.
    """

    shards: ShardSet
    drive: Drive
    strategy: Strategy
    branches: tuple[Branch, ...]
    guidance: float
    allowed_K: torch.Tensor
    start: Start
    generator: Generators
    weights: list[torch.Tensor] = field(default_factory=list)
    evaluations: list[int] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    def step(self, index: int, x_NCHW: torch.Tensor, memory: Memory) -> tuple[torch.Tensor, Memory]:
        """Do one step from a state of the scheduler, and record its weights; `enter` was called before."""
        frame = self.frames[index]
        x_NCHW = self.start.kept(x_NCHW, self.drive, frame)
        seen_NCHW = x_NCHW if self.drive.own else x_NCHW * frame.scale
        w_NK = self._posterior(self.strategy.router, seen_NCHW, frame, memory, self.branches[0])
        used_NK, memory = self.strategy.dispatch.choose(w_NK, memory, self._lots, frame.log_snr)
        mixed_NCHW, evaluations = self._mixed(seen_NCHW, frame, used_NK, self.branches[0])
        self.weights.append(torch.where(memory.open_N[:, None], w_NK, used_NK).cpu())
        if len(self.branches) > 1:
            free_NCHW, more = self._free(seen_NCHW, frame)
            mixed_NCHW = free_NCHW + self.guidance * (mixed_NCHW - free_NCHW)
            evaluations += more
        self.evaluations.append(evaluations)
        moved_NCHW = self.drive.step(mixed_NCHW, self.shards.source, frame, index, x_NCHW, generator=self.generator)
        return moved_NCHW, memory

    @property
    def _lots(self) -> Lots:
        return Lots(self.shards.shard_ids, self.generator)

    def enter(self, index: int) -> Frame:
        """Ask where the state stands before a step, once for every step."""
        self.frames.append(self.drive.frame(index))
        return self.frames[index]

    def _free(self, x_NCHW: torch.Tensor, frame: Frame) -> tuple[torch.Tensor, int]:
        """Return the unconditional branch's mixture, with the weights that belong to it."""
        branch, nothing = self.branches[1], Memory.start(len(x_NCHW), x_NCHW.device)
        w_NK = self._posterior(self.strategy.free_router, x_NCHW, frame, nothing, branch)
        used_NK, _ = UNBOUND.choose(w_NK, nothing, self._lots, frame.log_snr)
        return self._mixed(x_NCHW, frame, used_NK, branch)

    def _posterior(
        self, router: Router, x_NCHW: torch.Tensor, frame: Frame, memory: Memory, branch: Branch
    ) -> torch.Tensor:
        """Return the weights of every sample; bound samples need no router and get their shard."""
        open_N = memory.open_N
        w_NK = torch.zeros(len(x_NCHW), len(self.allowed_K), device=x_NCHW.device)
        w_NK.scatter_(1, memory.committed_N.clamp_min(0)[:, None], 1.0)
        if bool(open_N.any()):
            rows_MCHW = x_NCHW[open_N].to(getattr(router, "dtype", torch.float32))
            log_snr_M = torch.full((len(rows_MCHW),), frame.log_snr, device=x_NCHW.device)
            told_M = None if branch.router_label_N is None else branch.router_label_N[open_N]
            logits_MK = router.logits(rows_MCHW, log_snr_M, told_M)
            w_NK[open_N] = weights(logits_MK.float(), branch.log_prior_NK[open_N].float(), self.allowed_K)
        return w_NK

    def _mixed(
        self, x_NCHW: torch.Tensor, frame: Frame, used_NK: torch.Tensor, branch: Branch
    ) -> tuple[torch.Tensor, int]:
        def predict(k: int, rows_M: torch.Tensor) -> torch.Tensor:
            label_M = None if branch.label_N is None else branch.label_N[rows_M]
            return self.shards.predict(k, x_NCHW[rows_M], frame, label_M)

        return mix(predict, x_NCHW, used_NK)

    def attribution(self, memory: Memory) -> Attribution:
        """Return the record."""
        bound = bool((~memory.open_N).any())
        return Attribution(
            shard_ids=self.shards.shard_ids,
            trajectory_SNK=torch.stack(self.weights),
            times=tuple(frame.time for frame in self.frames),
            log_snr=tuple(frame.log_snr for frame in self.frames),
            realised_N=memory.committed_N.cpu() if bound else None,
            evaluations=tuple(self.evaluations),
        )
