"""Recipes for tests: the shipped tiny one, and variations of it."""

import copy
import json
from pathlib import Path
from typing import Any

from severable_diffusion.recipe import Recipe

DIT: dict[str, Any] = {"kind": "dit", "patch": 2, "width": 16, "heads": 2, "layers": 2}
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


def tiny_dit(**sections: Any) -> Recipe:
    """The tiny recipe with a transformer for a network; fields replaced as in `tiny`."""
    values = tiny(**{name: change for name, change in sections.items() if name != "architecture"}).to_dict()
    return Recipe.from_dict(values | {"architecture": DIT | sections.get("architecture", {})})
