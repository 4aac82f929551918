"""Recipes for tests: the shipped tiny one, and variations of it."""

import copy
import json
from pathlib import Path
from typing import Any

from severable_diffusion.recipe import Recipe

FOLDER = Path(__file__).parents[2] / "deploy" / "severable_demo" / "recipes"


def tiny_values() -> dict[str, Any]:
    values: dict[str, Any] = json.loads((FOLDER / "tiny.json").read_text())
    return values


def tiny(**sections: Any) -> Recipe:
    """The tiny recipe with some fields replaced: `tiny(parametrization="eps", process={"steps": 50})`."""
    values = copy.deepcopy(tiny_values())
    for name, change in sections.items():
        if isinstance(change, dict):
            values.setdefault(name, {}).update(change)
        else:
            values[name] = change
    return Recipe.from_dict(values)
