"""Recipes from JSON files, with what their shards must look like (needs torch: only an offer reads one)."""

import json
from pathlib import Path

from severable_coordinator.errors import ConfigError
from severable_coordinator.ports import RecipeRecord
from severable_diffusion import network
from severable_diffusion.errors import RecipeError
from severable_diffusion.recipe import Recipe
from severable_trust import canonical
from severable_trust.digest import Digest


def read_recipe(path: Path) -> RecipeRecord:
    """Read and check a recipe. ConfigError names the file and the field."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a recipe's JSON file") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a recipe is a JSON object")
    try:
        return record_of(Recipe.from_dict(value))
    except RecipeError as error:
        raise ConfigError(f"{path}: {error}") from error


def record_of(recipe: Recipe) -> RecipeRecord:
    """A recipe's canonical body, its digest, and what its shards must look like."""
    body = canonical.encode(recipe.to_dict())
    return RecipeRecord(
        digest=Digest.of(body),
        body=body,
        config=network.config_bytes(recipe),
        tensors=network.expected_tensors(recipe),
    )
