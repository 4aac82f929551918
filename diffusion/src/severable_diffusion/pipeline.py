"""The composite pipeline: diffusers' way of sampling from several shards as one model.

    pipeline = CompositePipeline.from_pretrained("composite")
    output = pipeline(batch_size=16, generator=torch.Generator().manual_seed(0))
    output.images[0].save("digit.png"); output.attribution.leader(0)

Shapes: N images, K shards, S steps, C, H, W.
"""

# diffusers checks the components against the annotations of __init__, which must therefore be types, not strings.

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from severable_diffusion import sampler
from severable_diffusion.attribution import Attribution
from severable_diffusion.composite_directory import write_composite
from severable_diffusion.composition import DISPATCHES, Dispatch, DrawOnce, Full, Memory, mix
from severable_diffusion.errors import CompositeError
from severable_diffusion.images import to_pil
from severable_diffusion.parametrization import Parametrization
from severable_diffusion.router import JointRouter, PriorRouter, Router, UniformRouter, weights
from severable_diffusion.schedule import NoiseSchedule
from severable_diffusion.shard_set import ShardSet

__all__ = ["CompositeOutput", "CompositePipeline", "write_composite"]

OutputType = Literal["pil", "pt", "np"]
StepCallback = Callable[[Any, int, int, dict[str, torch.Tensor]], dict[str, Any]]


@dataclass
class CompositeOutput(BaseOutput):  # type: ignore[misc]  # diffusers ships no types
    """What a composite gives.

    Attributes:
        images: a list of Pillow images, or (N, C, H, W) in [-1, 1] as tensor or array.
        attribution: whose shards made them.
    """

    images: list[Image.Image] | torch.Tensor | np.ndarray
    attribution: Attribution


class CompositePipeline(DiffusionPipeline):  # type: ignore[misc]  # diffusers ships no types
    """Samples from a routed mixture of shards.

    Args:
        shards: the shards and their lambdas.
        scheduler: the recipe's scheduler.
        router: built over exactly these shards; None means that the lambdas are the weights.

    Raises:
        CompositeError: if the router was built over other shards.
    """

    _optional_components: ClassVar[list[str]] = ["router"]
    model_cpu_offload_seq = "router->shards"

    def __init__(self, shards: ShardSet, scheduler: sampler.Scheduler, router: JointRouter | None = None) -> None:
        super().__init__()
        if router is not None and tuple(router.config.shard_ids) != shards.shard_ids:
            raise CompositeError("the router was built over other shards; build it again over these")
        self.register_modules(shards=shards, scheduler=scheduler, router=router)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """Load a composite from a local directory; nothing is downloaded, nothing but safetensors is opened.

        Raises:
            CompositeError: if it is not a composite's directory.
            ShardError: if a shard's weights do not fit the recipe.
        """
        directory = Path(pretrained_model_name_or_path)
        if not (directory / "model_index.json").is_file():
            raise CompositeError(
                f"{directory} is no composite: it has no model_index.json; give an assembled directory"
            )
        options = {"low_cpu_mem_usage": False} | options | {"use_safetensors": True, "local_files_only": True}
        try:
            pipeline: Self = super().from_pretrained(str(directory), **options)
        except (OSError, ValueError) as error:
            raise CompositeError(f"{directory} cannot be loaded: {error}; assemble it again") from error
        return pipeline

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        generator: torch.Generator | None = None,
        *,
        num_inference_steps: int | None = None,
        condition: torch.Tensor | None = None,
        dispatch: str | Dispatch = "cumulative",
        allowed: Collection[str] | None = None,
        router_override: Literal["uniform", "prior"] | None = None,
        output_type: OutputType = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
    ) -> CompositeOutput | tuple[Any, Attribution]:
        """Draw images.

        Args:
            batch_size: number of images N.
            generator: source of the starting noise and of the dispatch's draws.
            num_inference_steps: sampler steps; the recipe's by default.
            condition: passed to the router.
            dispatch: a name from `severable_diffusion.composition.DISPATCHES`, "uniform", or a Dispatch.
            allowed: ids of the shards that may be used; all by default.
            router_override: "uniform" for naive averaging (a negative control), "prior" for the lambdas alone.
            output_type: "pil", "pt" or "np".
            return_dict: False for a plain tuple.
            callback_on_step_end: called as (pipeline, step, time, {"latents": x}); may return new latents.

        Raises:
            CompositeError: if a name is unknown, no shard is allowed, or the router knows no conditions.
        """
        how, router = self._strategy(dispatch, router_override)
        walk = _Walk(self, how, router, self._allowed(allowed), generator=generator, condition=condition)
        space = self.shards.recipe.image
        shape = (batch_size, space.channels, space.size, space.size)
        device, dtype = self._execution_device, self.shards.dtype
        x_NCHW = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
        memory = Memory.start(batch_size, device)
        times = sampler.set_steps(self.scheduler, self._steps(num_inference_steps), device)
        with self.progress_bar(total=len(times)) as bar:
            for index, t in enumerate(times):
                x_NCHW, memory = walk.step(index, t, x_NCHW, memory)
                if callback_on_step_end is not None:
                    x_NCHW = callback_on_step_end(self, index, t, {"latents": x_NCHW}).get("latents", x_NCHW)
                bar.update()
        images = _finished(x_NCHW.clamp(-1.0, 1.0), output_type)
        attribution = walk.attribution(times, memory)
        self.maybe_free_model_hooks()
        return CompositeOutput(images=images, attribution=attribution) if return_dict else (images, attribution)

    def _strategy(self, dispatch: str | Dispatch, override: str | None) -> tuple[Dispatch, Router]:
        count = len(self.shards.shard_ids)
        if "uniform" in (dispatch, override):
            return Full(), UniformRouter(count)
        if isinstance(dispatch, str):
            if dispatch not in DISPATCHES:
                raise CompositeError(f"dispatch {dispatch!r} is unknown; choose {', '.join(DISPATCHES)} or uniform")
            dispatch = DISPATCHES[dispatch]
        # Drawn once, at pure noise, the lambdas are the exact posterior: no router can do better.
        by_lambda = self.router is None or override == "prior" or isinstance(dispatch, DrawOnce)
        if by_lambda and not isinstance(dispatch, DrawOnce):
            dispatch = DrawOnce()
        return dispatch, PriorRouter(count) if by_lambda else self.router

    def _steps(self, asked: int | None) -> int:
        recipe = self.shards.recipe
        steps = recipe.sampler.steps if asked is None else asked
        if not 1 <= steps <= recipe.process.steps:
            raise CompositeError(f"num_inference_steps is {steps}; it must be between 1 and {recipe.process.steps}")
        return steps

    def _allowed(self, allowed: Collection[str] | None) -> torch.Tensor:
        ids = self.shards.shard_ids
        unknown = sorted(set(allowed or ()) - set(ids))
        if unknown:
            raise CompositeError(f"shard {unknown[0]} is not in this composite; it has {', '.join(ids)}")
        if allowed is not None and not allowed:
            raise CompositeError("no shard of the composite is allowed; allow at least one")
        flags = [allowed is None or shard_id in allowed for shard_id in ids]
        return torch.tensor(flags, device=self._execution_device)


class _Walk:
    """One batch's way from noise to images, and its record."""

    def __init__(
        self,
        pipeline: CompositePipeline,
        dispatch: Dispatch,
        router: Router,
        allowed_K: torch.Tensor,
        *,
        generator: torch.Generator | None,
        condition: torch.Tensor | None,
    ) -> None:
        self.generator, self.condition = generator, condition
        self.shards, self.scheduler = pipeline.shards, pipeline.scheduler
        self.dispatch, self.router, self.allowed_K = dispatch, router, allowed_K
        recipe = self.shards.recipe
        self.schedule = NoiseSchedule.of(recipe.process)
        self.source = Parametrization(recipe.parametrization)
        log_lambda_K = self.shards.log_lambda_K
        self.log_lambda_K = torch.zeros_like(log_lambda_K) if isinstance(router, UniformRouter) else log_lambda_K
        self.weights: list[torch.Tensor] = []
        self.evaluations: list[int] = []

    def _posterior(self, x_NCHW: torch.Tensor, t: int, memory: Memory) -> torch.Tensor:
        """Weights of every sample; bound samples need no router and get their shard."""
        open_N = memory.open_N
        w_NK = torch.zeros(len(x_NCHW), len(self.allowed_K), device=x_NCHW.device)
        w_NK.scatter_(1, memory.committed_N.clamp_min(0)[:, None], 1.0)
        if bool(open_N.any()):
            rows_MCHW = x_NCHW[open_N]
            log_snr_M = self.schedule.log_snr_T[t].to(x_NCHW.device).repeat(len(rows_MCHW))
            condition = None if self.condition is None else self.condition[open_N]
            logits_MK = self.router.logits(rows_MCHW, log_snr_M, condition)
            w_NK[open_N] = weights(logits_MK.float(), self.log_lambda_K.float(), self.allowed_K)
        return w_NK

    def step(self, index: int, t: int, x_NCHW: torch.Tensor, memory: Memory) -> tuple[torch.Tensor, Memory]:
        """Do one sampler step and record its weights."""
        w_NK = self._posterior(x_NCHW, t, memory)
        used_NK, memory = self.dispatch.choose(w_NK, memory, self.generator)
        mixed_NCHW, evaluations = mix(lambda k, x_MCHW: self.shards.predict(k, x_MCHW, t), x_NCHW, used_NK)
        self.weights.append(torch.where(memory.open_N[:, None], w_NK, used_NK).cpu())
        self.evaluations.append(evaluations)
        moved_NCHW = sampler.step(self.scheduler, mixed_NCHW, index, x_NCHW, source=self.source, schedule=self.schedule)
        return moved_NCHW, memory

    def attribution(self, times: list[int], memory: Memory) -> Attribution:
        """Return the record."""
        bound = bool((~memory.open_N).any())
        return Attribution(
            shard_ids=self.shards.shard_ids,
            trajectory_SNK=torch.stack(self.weights),
            times=tuple(times),
            log_snr=tuple(self.schedule.log_snr_T[times].tolist()),
            realised_N=memory.committed_N.cpu() if bound else None,
            evaluations=tuple(self.evaluations),
        )


def _finished(x_NCHW: torch.Tensor, output_type: OutputType) -> list[Image.Image] | torch.Tensor | np.ndarray:
    match output_type:
        case "pil":
            return to_pil(x_NCHW)
        case "np":
            array: np.ndarray = x_NCHW.float().cpu().numpy()
            return array
        case "pt":
            return x_NCHW
    raise CompositeError(f"output_type {output_type!r} is unknown; choose pil, pt or np")
