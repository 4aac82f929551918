"""A process that loads torch, as a worker would, and says what it finds: one JSON object, then one for each recipe.

    python -P -m severable_client.torch_facts --home HOME [--recipe sha256:...]...

`doctor` starts it, so that torch stays out of its own process and so that a torch which cannot be loaded is a finding.
The objects of the recipes say how the images fit each, which takes a look at every image; they come last.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from severable_client.adapters.config import read_config
from severable_client.adapters.files import FolderRecipeStore
from severable_client.adapters.prepared_images import look_through
from severable_client.bootstrap import Home, open_home
from severable_client.errors import ClientError
from severable_client.home import Layout
from severable_client.memory_need import memory_need
from severable_client.placement import Placement
from severable_client.training import read_recipe, recipe_bytes
from severable_diffusion.errors import DiffusionError


def facts(home: Path, recipes: Sequence[str], place: Placement) -> dict[str, Any]:
    """Return what torch is and sees, how a training would compute, and what one of its processes takes per recipe."""
    cuda = torch.cuda.is_available()
    return {
        "torch": torch.__version__,
        "cuda_build": torch.version.cuda,
        "devices": [_device(number) for number in range(torch.cuda.device_count())] if cuda else [],
        "training": _training(place),
        "recipes": {digest: _need(home, digest, place.accumulate * place.processes) for digest in recipes},
    }


def _device(number: int) -> dict[str, Any]:
    free, total = torch.cuda.mem_get_info(number)
    return {"name": torch.cuda.get_device_name(number), "free": free, "total": total}


def _training(place: Placement) -> dict[str, str]:
    try:
        return {"line": place.describe()}
    except ClientError as error:
        return {"problem": str(error)}


def _need(home: Path, digest: str, accumulate: int) -> dict[str, Any]:
    try:
        recipe = read_recipe(recipe_bytes(FolderRecipeStore(Layout(home).recipes), digest))
        need = memory_need(recipe, accumulate)
    except (ClientError, DiffusionError) as error:
        return {"problem": str(error)}
    return asdict(need) | {"total": need.total, "name": recipe.name}


def images_for(home: Home, digest: str) -> dict[str, str]:
    """Return one line about how the data folder fits a recipe, or what is the matter with it."""
    try:
        recipe = read_recipe(recipe_bytes(home.recipes, digest))
        count = look_through(home, recipe)
    except ClientError as error:
        return {"problem": str(error)}
    return {"line": f"{count} images in {home.config.data} fit recipe {recipe.name!r}"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the facts; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="severable_client.torch_facts", description="Say what torch finds here, as JSON."
    )
    parser.add_argument("--home", type=Path, required=True, help="the owner's home folder")
    parser.add_argument("--recipe", action="append", default=[], help="memory and images for this one, sha256:...")
    args = parser.parse_args(arguments)
    config = read_config(Layout(args.home).config)
    place = Placement(
        device=config.device,
        precision=config.precision.value,
        accumulate=config.accumulate,
        threads=config.threads,
        processes=config.devices,
    )
    _say(facts(args.home, args.recipe, place))
    if args.recipe:
        home = open_home(args.home)
        for digest in args.recipe:
            _say(images_for(home, digest))
    return 0


def _say(found: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
