"""The composite pipeline: diffusers' way of sampling from several shards as one model.

    pipeline = CompositePipeline.from_pretrained("composite")
    output = pipeline(batch_size=16, generator=torch.Generator().manual_seed(0))
    output.images[0].save("digit.png"); output.attribution.leader(0)

Shapes: N images, K shards, S steps, C, H, W.
"""

# diffusers checks the components against the annotations of __init__, which must therefore be types, not strings.

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from PIL import Image

from severable_diffusion.attribution import Attribution
from severable_diffusion.composite_directory import LearnedRouter, write_composite
from severable_diffusion.composition import Dispatch, Memory
from severable_diffusion.conditions import Asked, Branch, branches, labels_of
from severable_diffusion.diffusers_parts import BaseOutput, SchedulerMixin
from severable_diffusion.drive import Drive
from severable_diffusion.errors import CompositeError
from severable_diffusion.images import to_pil
from severable_diffusion.lots import Generators
from severable_diffusion.recalled import refuse_recalled
from severable_diffusion.shard_set import ShardSet
from severable_diffusion.starts import start
from severable_diffusion.strategy import strategy_for
from severable_diffusion.walk import Walk

__all__ = ["CompositeOutput", "CompositePipeline", "write_composite"]

OutputType = Literal["pil", "pt", "np"]
DEFAULT_DISPATCH = "draw_once"
StepCallback = Callable[[Any, int, float, dict[str, torch.Tensor]], dict[str, Any]]


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
        scheduler: the recipe's, or any that `severable_diffusion.drive` can drive.
        router: built over exactly these shards; None means that the lambdas are the weights.

    Raises:
        CompositeError: if the router was built over other shards.
    """

    _optional_components: ClassVar[list[str]] = ["router"]
    model_cpu_offload_seq = "router->shards"

    def __init__(self, shards: ShardSet, scheduler: SchedulerMixin, router: LearnedRouter | None = None) -> None:
        super().__init__()
        if router is not None and tuple(router.config.shard_ids) != shards.shard_ids:
            raise CompositeError("the router was built over other shards; build it again over these")
        self.register_modules(shards=shards, scheduler=scheduler, router=router)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """Load a composite from a local directory; nothing is downloaded, nothing but safetensors is opened.

        Raises:
            CompositeError: if it is not a composite's directory, or was recalled (`severable_diffusion.recalled`).
            ShardError: if a shard's weights do not fit the recipe.
        """
        directory = Path(pretrained_model_name_or_path)
        if not (directory / "model_index.json").is_file():
            raise CompositeError(
                f"{directory} is no composite: it has no model_index.json; give an assembled directory"
            )
        refuse_recalled(directory)
        options = {"low_cpu_mem_usage": False} | options | {"use_safetensors": True, "local_files_only": True}
        try:
            pipeline: Self = super().from_pretrained(str(directory), **options)
        except (OSError, ValueError) as error:
            raise CompositeError(f"{directory} cannot be loaded: {error}; assemble it again") from error
        return pipeline

    # Long by its arguments, which are diffusers' calling convention, and by a line of documentation for each.
    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        generator: Generators = None,
        *,
        num_inference_steps: int | None = None,
        condition: Asked = None,
        guidance_scale: float = 1.0,
        image: torch.Tensor | None = None,
        strength: float = 1.0,
        mask_image: torch.Tensor | None = None,
        latents: torch.Tensor | None = None,
        dispatch: str | Dispatch = DEFAULT_DISPATCH,
        allowed: Collection[str] | None = None,
        router_override: Literal["uniform", "prior"] | None = None,
        output_type: OutputType = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> CompositeOutput | tuple[Any, Attribution]:
        """Draw images.

        Args:
            batch_size: number of images N.
            generator: source of the starting noise and of all that is drawn; or a list, one for each image, and then an
                image depends on its own generator alone, not on the batch around it.
            num_inference_steps: sampler steps; the recipe's by default.
            condition: labels, names or indices, one or one for each image, where the recipe has conditions.
            guidance_scale: classifier-free guidance; 1 for none. Each branch is mixed with its own weights.
            image: (C, H, W) or (N, C, H, W) in [-1, 1], for a start at a partly noised image.
            strength: share of the way to noise at which an `image` starts, in (0, 1].
            mask_image: (H, W) or (N, 1, H, W); above 0.5 is made anew, the rest of `image` is kept exactly.
            latents: the starting noise itself, (N, C, H, W).
            dispatch: a name from `severable_diffusion.composition.DISPATCHES`, "uniform", or a Dispatch.
            allowed: ids of the shards that may be used; all by default.
            router_override: "uniform" for naive averaging (a negative control), "prior" for the lambdas alone.
            output_type: "pil", "pt" or "np".
            return_dict: False for a plain tuple.
            callback_on_step_end: called as (pipeline, step, time, {"latents": x}); may return new latents.
            callback_on_step_end_tensor_inputs: which tensors the callback gets; there is only "latents".

        Raises:
            CompositeError: if something asked for is unknown or does not fit, or this scheduler or router cannot do it.
        """
        unknown = sorted(set(callback_on_step_end_tensor_inputs) - {"latents"})
        if unknown:
            raise CompositeError(f"callback_on_step_end_tensor_inputs has {unknown[0]!r}; there is only 'latents'")
        from_noise = strength == 1.0
        strategy = strategy_for(self.shards, self.router, dispatch, router_override, from_noise=from_noise)
        allowed_K = self._allowed(allowed)
        walk = Walk(
            shards=self.shards,
            strategy=strategy,
            branches=self._branches(condition, guidance_scale, batch_size, strategy.log_lambda_K, allowed_K),
            guidance=guidance_scale,
            allowed_K=allowed_K,
            start=start(
                batch_size, self.shards.recipe.image, image=image, mask=mask_image, strength=strength, latents=latents,
                generator=generator, device=self._execution_device, dtype=self.shards.dtype,
            ),
            drive=self._drive(num_inference_steps, strength),
            generator=generator,
        )  # fmt: skip
        x_NCHW, attribution = self._walked(walk, batch_size, callback_on_step_end)
        images = _finished(x_NCHW, output_type)
        self.maybe_free_model_hooks()
        return CompositeOutput(images=images, attribution=attribution) if return_dict else (images, attribution)

    def _walked(self, walk: Walk, count: int, callback: StepCallback | None) -> tuple[torch.Tensor, Attribution]:
        memory = Memory.start(count, self._execution_device)
        x_NCHW = torch.empty(0)
        with self.progress_bar(total=walk.drive.count) as bar:
            for index in range(walk.drive.count):
                frame = walk.enter(index)
                if index == 0:
                    x_NCHW = walk.start.state(walk.drive, frame)
                x_NCHW, memory = walk.step(index, x_NCHW, memory)
                if callback is not None:
                    x_NCHW = callback(self, index, frame.time, {"latents": x_NCHW}).get("latents", x_NCHW)
                bar.update()
        return walk.start.finished(x_NCHW), walk.attribution(memory)

    def _drive(self, asked: int | None, strength: float) -> Drive:
        recipe = self.shards.recipe
        steps = recipe.sampler.steps if asked is None else asked
        if not 1 <= steps <= recipe.process.steps:
            raise CompositeError(f"num_inference_steps is {steps}; it must be between 1 and {recipe.process.steps}")
        return Drive(self.scheduler, self.shards.schedule, steps, self._execution_device, strength)

    def _branches(
        self, condition: Asked, guidance: float, count: int, log_lambda_K: torch.Tensor, allowed_K: torch.Tensor
    ) -> tuple[Branch, ...]:
        asked_N = labels_of(condition, self.shards.recipe, count, self._execution_device)
        return branches(
            asked_N, guidance, count,
            log_lambda_K=log_lambda_K, log_share_KC=self.shards.log_share_KC, allowed_K=allowed_K,
        )  # fmt: skip

    def _allowed(self, allowed: Collection[str] | None) -> torch.Tensor:
        ids = self.shards.shard_ids
        unknown = sorted(set(allowed or ()) - set(ids))
        if unknown:
            raise CompositeError(f"shard {unknown[0]} is not in this composite; it has {', '.join(ids)}")
        if allowed is not None and not allowed:
            raise CompositeError("no shard of the composite is allowed; allow at least one")
        flags = [allowed is None or shard_id in allowed for shard_id in ids]
        return torch.tensor(flags, device=self._execution_device)


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
