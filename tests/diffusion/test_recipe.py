import dataclasses
import json
from typing import Any

import pytest
from diffusion.recipes import FOLDER, tiny, tiny_values
from hypothesis import given
from hypothesis import strategies as st

from severable_diffusion.errors import RecipeError
from severable_diffusion.recipe import Recipe, Training


@pytest.mark.parametrize("name", ["digits.json", "digits-dit.json", "tiny.json"])
def test_every_shipped_recipe_is_read_and_written_back_unchanged(name: str) -> None:
    values = json.loads((FOLDER / name).read_text())
    recipe = Recipe.from_dict(values)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert Recipe.from_dict(json.loads(recipe.to_bytes())) == recipe


@given(batch=st.integers(1, 4096), rate=st.floats(1e-7, 1.0), epochs=st.integers(1, 1_000_000))
def test_writing_and_reading_a_recipe_is_the_identity(batch: int, rate: float, epochs: int) -> None:
    recipe = tiny(training={"batch": batch, "learning_rate": rate, "epochs": epochs})
    assert Recipe.from_dict(json.loads(recipe.to_bytes())) == recipe


def test_a_float_written_as_a_whole_number_is_the_same_recipe() -> None:
    assert tiny(training={"gradient_clip": 1}) == tiny(training={"gradient_clip": 1.0})


def test_an_optional_field_left_out_takes_its_default() -> None:
    values = tiny_values()
    del values["training"]["gradient_clip"]
    assert Recipe.from_dict(values).training.gradient_clip == 1.0


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("training.speed", {"training": {"speed": 1}}),
        ("training.batch", {"training": {"batch": 0}}),
        ("training.batch", {"training": {"batch": True}}),
        ("training.batch", {"training": {"batch": "8"}}),
        ("training.learning_rate", {"training": {"learning_rate": float("nan")}}),
        ("image.channels", {"image": {"channels": 2}}),
        ("image.size", {"image": {"size": 4.0}}),
        ("image.size", {"image": {"size": 9}, "architecture": {"block_out_channels": [8, 8]}}),
        ("process.schedule", {"process": {"schedule": "sigmoid"}}),
        ("process.steps", {"sampler": {"steps": 200}}),
        ("parametrization", {"parametrization": "score"}),
        ("architecture.down_block_types", {"architecture": {"down_block_types": ["os.system"]}}),
        ("architecture.down_block_types", {"architecture": {"down_block_types": []}}),
        ("architecture.norm_num_groups", {"architecture": {"norm_num_groups": 3}}),
        ("architecture.block_out_channels", {"architecture": {"block_out_channels": "16"}}),
        ("router.noise_low", {"router": {"noise_low": 9.0, "noise_high": 2.0}}),
        ("sampler.scheduler", {"sampler": {"scheduler": "euler"}}),
        ("name", {"name": "two\nlines"}),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(field: str, change: dict[str, Any]) -> None:
    values = tiny_values()
    values["architecture"]["up_block_types"] = ["UpBlock2D"]
    for section, fields in change.items():
        if isinstance(fields, dict):
            values[section].update(fields)
        else:
            values[section] = fields
    if change.get("architecture", {}).get("block_out_channels") == [8, 8]:
        values["architecture"]["down_block_types"] *= 2
        values["architecture"]["up_block_types"] *= 2
    with pytest.raises(RecipeError) as caught:
        Recipe.from_dict(values)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


def test_a_missing_section_is_refused_by_its_name() -> None:
    values = tiny_values()
    del values["bank"]
    with pytest.raises(RecipeError, match="recipe field bank: is missing"):
        Recipe.from_dict(values)


def test_a_recipe_that_is_no_object_is_refused() -> None:
    with pytest.raises(RecipeError, match="must be an object, is list"):
        Recipe.from_dict([])


def test_values_made_in_code_pass_the_same_checks() -> None:
    with pytest.raises(RecipeError, match=r"training\.batch"):
        Training(epochs=1, max_steps=1, batch=0, learning_rate=0.1)


def test_a_recipe_is_a_value(recipe: Recipe) -> None:
    assert hash(recipe) == hash(tiny())
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.name = "other"  # type: ignore[misc]  # the point of the test
