"""The gate's look at a shard where a GPU's memory does not hold what is drawn at once."""

from typing import Any

import pytest
import torch
from client.samples import RECIPE_BYTES

from severable_client import inspection
from severable_client.training import read_recipe
from severable_diffusion import network
from severable_diffusion.bank import Bank, draw_bank

RECIPE = read_recipe(RECIPE_BYTES)
WEIGHTS = network.dump(network.build_seeded(RECIPE, 3).state_dict())
SHAPE = (10, RECIPE.image.channels, RECIPE.image.size, RECIPE.image.size)
X_NCHW = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0


def probed() -> inspection.Evidence:
    evidence = inspection.probe(RECIPE, WEIGHTS, X_NCHW, seed_material="gate a")
    assert evidence is not None
    return evidence


def test_samples_that_do_not_fit_the_device_are_drawn_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, calls = probed(), list[str]()

    def short(*args: Any, **options: Any) -> Bank:
        calls.append(options["seed_material"])
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return draw_bank(*args, **options)

    monkeypatch.setattr(inspection, "draw_bank", short)
    assert torch.equal(probed().x_NCHW, plain.x_NCHW)
    assert calls == ["gate a", "gate a"]


def test_images_too_few_to_tell_a_copy_from_are_not_compared() -> None:
    assert inspection.probe(RECIPE, WEIGHTS, X_NCHW[:1], seed_material="gate a") is None
