import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusion.conftest import IDS, TinyFederation
from diffusion.recipes import tiny

from severable_diffusion import network
from severable_diffusion.bank import Bank
from severable_diffusion.composite_directory import write_composite
from severable_diffusion.composition import DISPATCHES, TopK
from severable_diffusion.errors import CompositeError, ShardError
from severable_diffusion.pipeline import CompositeOutput, CompositePipeline
from severable_diffusion.router_training import build_router


def load(directory: Path) -> CompositePipeline:
    pipeline = CompositePipeline.from_pretrained(directory)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def pixels(output: CompositeOutput) -> torch.Tensor:
    assert isinstance(output.images, torch.Tensor)
    return output.images


@pytest.fixture(scope="module")
def pipeline(composite: Path) -> CompositePipeline:
    return load(composite)


def sample(pipeline: CompositePipeline, **options: Any) -> CompositeOutput:
    chosen: dict[str, Any] = {"batch_size": 6, "output_type": "pt"} | options
    output = pipeline(generator=torch.Generator().manual_seed(3), **chosen)
    assert isinstance(output, CompositeOutput)
    return output


def test_a_saved_and_loaded_composite_gives_the_same_images_bit_for_bit(
    pipeline: CompositePipeline, tmp_path: Path
) -> None:
    pipeline.save_pretrained(tmp_path / "copy")
    assert torch.equal(pixels(sample(load(tmp_path / "copy"))), pixels(sample(pipeline)))


def test_a_composite_without_a_router_is_saved_and_loaded_too(federation: TinyFederation, tmp_path: Path) -> None:
    write_composite(tmp_path / "a", federation.recipe, federation.shards, federation.lambdas, None)
    first = load(tmp_path / "a")
    first.save_pretrained(tmp_path / "b")
    assert torch.equal(pixels(sample(load(tmp_path / "b"))), pixels(sample(first)))
    assert sample(first).attribution.evaluations_per_step == 1.0


def test_writing_gives_the_same_bytes_whatever_the_order(federation: TinyFederation, tmp_path: Path) -> None:
    for name, turn in (("a", list), ("b", lambda items: list(reversed(list(items))))):
        write_composite(
            tmp_path / name,
            federation.recipe,
            dict(turn(federation.shards.items())),
            dict(turn(federation.lambdas.items())),
            build_router(dict(turn(federation.banks.items())), federation.recipe),
        )
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert len(files) == 3 * 2 + 5
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert (tmp_path / "a/shards/sha256-bb/model.safetensors").read_bytes() == federation.shards["sha256:bb"]


@pytest.mark.parametrize("dispatch", [*sorted(DISPATCHES), "uniform", TopK(2)])
def test_every_dispatch_gives_images_and_an_attribution(pipeline: CompositePipeline, dispatch: Any) -> None:
    output = sample(pipeline, dispatch=dispatch)
    record = output.attribution
    assert pixels(output).shape == (6, 1, 8, 8)
    assert bool(pixels(output).isfinite().all())
    assert record.trajectory_SNK.shape == (5, 6, 3)
    torch.testing.assert_close(record.trajectory_SNK.sum(dim=2), torch.ones(5, 6))
    assert 1.0 <= record.evaluations_per_step <= 3.0
    assert json.loads(json.dumps(record.to_dict()))["credit"].keys() == set(IDS)


def test_naive_averaging_ignores_the_lambdas(pipeline: CompositePipeline) -> None:
    for options in ({"dispatch": "uniform"}, {"router_override": "uniform"}):
        record = sample(pipeline, **options).attribution
        torch.testing.assert_close(record.weights_NK, torch.full((6, 3), 1 / 3))


def test_at_pure_noise_the_weights_are_the_lambdas(pipeline: CompositePipeline) -> None:
    record = sample(pipeline, dispatch="full").attribution
    torch.testing.assert_close(record.trajectory_SNK[0], torch.tensor([[0.25, 0.5, 0.25]]).repeat(6, 1))


def test_drawing_once_is_running_the_drawn_shard_alone(pipeline: CompositePipeline, federation: TinyFederation) -> None:
    from severable_diffusion.sampler import draw

    output = sample(pipeline, dispatch="draw_once")
    realised_N = output.attribution.realised_N
    assert realised_N is not None
    for image, k in enumerate(realised_N.tolist()):
        net = network.load(federation.recipe, federation.shards[IDS[k]])
        alone = draw(net, federation.recipe, count=6, steps=5, generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(pixels(output)[image], alone[image])


@pytest.mark.parametrize("one_each", [False, True])
def test_without_one_shard_the_same_seed_gives_the_same_images_but_for_those_it_had_made(
    pipeline: CompositePipeline, *, one_each: bool
) -> None:
    def drawn(shards: tuple[str, ...]) -> CompositeOutput:
        lone = [torch.Generator().manual_seed(seed) for seed in range(24)]
        source = lone if one_each else torch.Generator().manual_seed(3)
        found = pipeline(batch_size=24, generator=source, allowed=shards, output_type="pt")
        assert isinstance(found, CompositeOutput)
        return found

    before, after = drawn(IDS), drawn(IDS[1:])
    assert before.attribution.realised_N is not None
    assert after.attribution.realised_N is not None
    stays_N = before.attribution.realised_N != 0
    assert 0 < int(stays_N.sum()) < 24
    assert torch.equal(before.attribution.realised_N[stays_N], after.attribution.realised_N[stays_N])
    torch.testing.assert_close(pixels(before)[stays_N], pixels(after)[stays_N])
    assert not bool((after.attribution.realised_N == 0).any())


def test_only_allowed_shards_take_part(pipeline: CompositePipeline) -> None:
    record = sample(pipeline, allowed=[IDS[0], IDS[2]], dispatch="full").attribution
    assert bool((record.trajectory_SNK[:, :, 1] == 0).all())
    assert record.evaluations == (12,) * 5
    lone = sample(pipeline, allowed=[IDS[1]]).attribution
    assert bool((lone.weights_NK[:, 1] == 1).all())


def test_a_callback_sees_and_may_change_every_state(pipeline: CompositePipeline) -> None:
    seen: list[tuple[int, int]] = []

    def callback(_: Any, index: int, t: int, values: dict[str, torch.Tensor]) -> dict[str, Any]:
        seen.append((index, t))
        return {"latents": torch.zeros_like(values["latents"])}

    output = sample(pipeline, callback_on_step_end=callback)
    assert [index for index, _ in seen] == [0, 1, 2, 3, 4]
    assert [t for _, t in seen] == list(output.attribution.times)
    assert bool((pixels(output) == 0).all())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"allowed": []}, "no shard of the composite is allowed"),
        ({"allowed": ["sha256:dd"]}, "shard sha256:dd is not in this composite"),
        ({"dispatch": "best"}, "dispatch 'best' is unknown"),
        ({"output_type": "jpeg"}, "output_type 'jpeg' is unknown"),
        ({"condition": torch.zeros(6)}, "knows no conditions"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"num_inference_steps": 101}, "num_inference_steps is 101"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(pipeline: CompositePipeline, options: dict[str, Any], says: str) -> None:
    with pytest.raises(CompositeError, match=says):
        sample(pipeline, **options)


def test_pillow_images_and_a_plain_tuple_can_be_had(pipeline: CompositePipeline) -> None:
    images, attribution = pipeline(batch_size=2, generator=torch.Generator().manual_seed(0), return_dict=False)
    assert [image.size for image in images] == [(8, 8), (8, 8)]
    assert attribution.leader(0)[0] in IDS


def test_a_flow_composite_runs_as_well(images_NCHW: torch.Tensor, tmp_path: Path) -> None:
    recipe = tiny(parametrization="flow", process={"schedule": "flow"}, sampler={"scheduler": "euler"})
    shards = {shard_id: network.dump(network.build_seeded(recipe, 0).state_dict()) for shard_id in IDS[:2]}
    banks = {
        shard_id: Bank.from_images(images_NCHW[:16] * (place - 0.5), recipe, seed_material=shard_id)
        for place, shard_id in enumerate(shards)
    }
    lambdas = dict.fromkeys(shards, 1.0)
    write_composite(tmp_path / "flow", recipe, shards, lambdas, build_router(banks, recipe))
    assert bool(pixels(sample(load(tmp_path / "flow"))).isfinite().all())


def _pickle(root: Path) -> None:
    (root / "shards" / "sha256-aa" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")


def _stray_shard(root: Path) -> None:
    shutil.copytree(root / "shards" / "sha256-aa", root / "shards" / "sha256-dd")


def _other_config(root: Path) -> None:
    (root / "shards" / "sha256-aa" / "config.json").write_text("{}")


def _no_weights(root: Path) -> None:
    (root / "shards" / "sha256-aa" / "model.safetensors").unlink()


def _other_index(root: Path) -> None:
    (root / "shards" / "index.json").write_text("[]")


def _no_index(root: Path) -> None:
    (root / "model_index.json").unlink()


def _router_as_pickle(root: Path) -> None:
    (root / "router" / "diffusion_pytorch_model.safetensors").rename(root / "router" / "diffusion_pytorch_model.bin")


def _climbing_id(root: Path) -> None:
    path = root / "shards" / "index.json"
    path.write_text(path.read_text().replace("sha256:aa", "../../aa"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_pickle, "does not belong in a composite"),
        (_stray_shard, "does not belong in a composite"),
        (_other_config, "is not the recipe's"),
        (_no_weights, "cannot be read"),
        (_other_index, "is not a composite's index"),
        (_no_index, "has no model_index.json"),
        (_router_as_pickle, "cannot be loaded"),
        (_climbing_id, "must be letters, digits"),
    ],
)
def test_a_directory_that_is_no_composite_is_refused(composite: Path, tmp_path: Path, spoil: Any, says: str) -> None:
    shutil.copytree(composite, tmp_path / "spoilt")
    spoil(tmp_path / "spoilt")
    with pytest.raises(CompositeError, match=says):
        load(tmp_path / "spoilt")


def test_a_composite_with_a_shard_of_other_bytes_is_refused(composite: Path, tmp_path: Path) -> None:
    shutil.copytree(composite, tmp_path / "spoilt")
    path = tmp_path / "spoilt" / "shards" / "sha256-aa" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ShardError, match="cannot be read"):
        load(tmp_path / "spoilt")


def test_parts_that_do_not_belong_together_are_not_written(federation: TinyFederation, tmp_path: Path) -> None:
    two = {shard_id: federation.shards[shard_id] for shard_id in IDS[:2]}
    with pytest.raises(CompositeError, match="every shard needs a lambda"):
        write_composite(tmp_path / "a", federation.recipe, two, federation.lambdas, None)
    with pytest.raises(CompositeError, match="built over other shards"):
        write_composite(tmp_path / "a", federation.recipe, two, dict.fromkeys(two, 1.0), federation.router)
    with pytest.raises(CompositeError, match="must be above 0"):
        write_composite(tmp_path / "a", federation.recipe, two, dict.fromkeys(two, 0.0), None)
    assert not (tmp_path / "a").exists()


def test_a_directory_in_use_is_not_written_over(federation: TinyFederation, composite: Path) -> None:
    with pytest.raises(CompositeError, match="is not empty"):
        write_composite(composite, federation.recipe, federation.shards, federation.lambdas, None)
