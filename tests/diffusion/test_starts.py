"""Partial-noise starts, masks, generators and output forms of the pipeline."""

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusion.exact import exact_pipeline, exact_recipe
from diffusion.gaussians import SIZE, as_images, as_points, posterior, three_shards

from severable_diffusion.errors import CompositeError
from severable_diffusion.pipeline import CompositePipeline

LAMBDAS = (1.0, 3.0, 0.5)


@pytest.fixture(scope="module")
def pipeline() -> CompositePipeline:
    return exact_pipeline(three_shards(), exact_recipe())


def draw(pipeline: CompositePipeline, count: int, **options: Any) -> tuple[torch.Tensor, Any]:
    chosen: dict[str, Any] = {"generator": torch.Generator().manual_seed(7)} | options
    images, record = pipeline(count, output_type="pt", return_dict=False, **chosen)
    return torch.as_tensor(images), record


def owned_image(shard: int) -> torch.Tensor:
    drawn_ND = three_shards()[shard].draw(1, torch.Generator().manual_seed(5))
    return as_images(drawn_ND)[0].float().clamp(-1.0, 1.0)


@pytest.mark.parametrize("shard", [0, 1, 2])
def test_from_a_little_noise_the_router_finds_whose_image_it_is(pipeline: CompositePipeline, shard: int) -> None:
    image_CHW = owned_image(shard)
    images, record = draw(pipeline, 64, image=image_CHW, strength=0.1, dispatch="draw_once")
    assert float((record.realised_N == shard).double().mean()) > 0.9
    assert (images - image_CHW).abs().mean() < 0.25


def test_drawing_once_at_a_start_follows_the_posterior_there_and_not_the_lambdas(pipeline: CompositePipeline) -> None:
    count, image_CHW = 4000, owned_image(1)
    noise_NCHW = torch.randn(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(2)).expand(count, -1, -1, -1)
    _, record = draw(pipeline, count, image=image_CHW, strength=0.7, latents=noise_NCHW, dispatch="draw_once")
    alpha, sigma = pipeline.shards.schedule.levels_of(record.log_snr[0])
    x_1D = alpha * as_points(image_CHW[None]).double() + sigma * as_points(noise_NCHW[:1]).double()
    true_K = posterior(three_shards(), LAMBDAS, x_1D, alpha, sigma)[0]
    found_K = torch.bincount(record.realised_N, minlength=3) / count
    torch.testing.assert_close(found_K.double(), true_K, atol=0.03, rtol=0.0)


def test_the_steps_of_a_start_are_its_share_of_all_steps(pipeline: CompositePipeline) -> None:
    _, record = draw(pipeline, 2, image=owned_image(0), strength=0.25, num_inference_steps=20)
    assert len(record.times) == 5


@pytest.mark.parametrize(
    "scheduler", [None, "DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"]
)
def test_what_a_mask_keeps_is_kept_to_the_last_bit(scheduler: str | None) -> None:
    own = exact_pipeline(three_shards(), exact_recipe())
    if scheduler is not None:
        own.scheduler = getattr(diffusers, scheduler)(beta_schedule="scaled_linear")
    image_CHW, mask_HW = owned_image(2), torch.zeros(SIZE, SIZE)
    mask_HW[:2] = 1.0
    for strength in (1.0, 0.6):
        images, _ = draw(own, 5, image=image_CHW, mask_image=mask_HW, strength=strength)
        assert torch.equal(images[:, :, 2:], image_CHW[:, 2:].expand(5, -1, -1, -1))
        assert not torch.equal(images[0, :, :2], images[1, :, :2])


def test_the_part_made_anew_fits_the_part_that_is_kept(pipeline: CompositePipeline) -> None:
    """Given the lower three quarters of a shard's image, the upper quarter is that shard's, not any by lambda."""
    image_CHW, mask_HW = owned_image(0), torch.zeros(SIZE, SIZE)
    mask_HW[0] = 1.0
    images, record = draw(pipeline, 40, image=image_CHW, mask_image=mask_HW, dispatch="full", num_inference_steps=60)
    assert float((record.final_NK.argmax(dim=1) == 0).double().mean()) > 0.9
    assert float((images[:, :, 0] - image_CHW[:, 0]).abs().mean()) < 0.5


def test_an_image_with_its_own_generator_does_not_depend_on_the_batch_around_it(pipeline: CompositePipeline) -> None:
    def own(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    for dispatch in ("draw_once", "cumulative", "per_step_draw"):
        together, _ = draw(pipeline, 3, generator=own(1, 2, 3), dispatch=dispatch)
        alone, _ = draw(pipeline, 1, generator=own(2), dispatch=dispatch)
        torch.testing.assert_close(together[1], alone[0])


def test_output_forms_agree(pipeline: CompositePipeline) -> None:
    tensor, _ = draw(pipeline, 2)
    array, _ = pipeline(2, torch.Generator().manual_seed(7), output_type="np", return_dict=False)
    pictures, _ = pipeline(2, torch.Generator().manual_seed(7), return_dict=False)
    assert isinstance(array, np.ndarray)
    np.testing.assert_allclose(array, tensor.numpy())
    shown = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).float()[:, None] / 127.5 - 1.0
    torch.testing.assert_close(shown, tensor, atol=1 / 127, rtol=0.0)


def test_half_precision_gives_nearly_the_same_images(composite: Path) -> None:
    whole = CompositePipeline.from_pretrained(composite)
    half = CompositePipeline.from_pretrained(composite, dtype=torch.bfloat16)
    for one in (whole, half):
        one.set_progress_bar_config(disable=True)
    assert half.shards.dtype is torch.bfloat16
    for dispatch in ("draw_once", "full"):
        first, _ = draw(whole, 4, dispatch=dispatch)
        second, _ = draw(half, 4, dispatch=dispatch)
        assert second.dtype is torch.bfloat16
        assert float((first - second.float()).abs().mean()) < 0.1


def test_another_scheduler_is_saved_and_loaded_with_the_composite(composite: Path, tmp_path: Path) -> None:
    first = CompositePipeline.from_pretrained(composite)
    first.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(first.scheduler.config)
    first.save_pretrained(tmp_path / "copy")
    second = CompositePipeline.from_pretrained(tmp_path / "copy")
    assert type(second.scheduler).__name__ == "DPMSolverMultistepScheduler"
    for one in (first, second):
        one.set_progress_bar_config(disable=True)
    assert torch.equal(draw(first, 3)[0], draw(second, 3)[0])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"strength": 0.5}, "need an image"),
        ({"mask_image": torch.ones(SIZE, SIZE)}, "need an image"),
        ({"image": torch.zeros(1, SIZE, SIZE), "strength": 0.0}, "strength is 0.0"),
        ({"image": torch.zeros(1, SIZE, SIZE), "strength": 1.5}, "strength is 1.5"),
        ({"image": torch.zeros(3, SIZE, SIZE)}, r"image is \(3, 4, 4\)"),
        ({"image": torch.zeros(2, 1, SIZE, SIZE)}, "or one of it for all images"),
        ({"image": torch.full((1, SIZE, SIZE), 200.0)}, "outside"),
        ({"image": torch.full((1, SIZE, SIZE), torch.nan)}, "outside"),
        ({"image": torch.zeros(1, SIZE, SIZE), "mask_image": torch.ones(5, 5)}, "mask_image is"),
        ({"latents": torch.zeros(1, 1, SIZE, SIZE)}, "latents are"),
        ({"generator": [torch.Generator()]}, "1 generators for 4 images"),
        ({"callback_on_step_end_tensor_inputs": ["prompt"]}, "there is only 'latents'"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused(
    pipeline: CompositePipeline, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(CompositeError, match=says):
        draw(pipeline, 4, **options)


def test_without_a_router_a_partial_start_is_refused_and_pure_noise_is_not() -> None:
    own = exact_pipeline(three_shards(), exact_recipe())
    own.router = None
    with pytest.raises(CompositeError, match="start from noise"):
        draw(own, 2, image=owned_image(0), strength=0.5)
    assert draw(own, 2)[0].shape == (2, 1, SIZE, SIZE)
