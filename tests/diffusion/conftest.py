"""One tiny federation of three shards for all diffusion tests: trained once, read only."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusion.recipes import tiny
from hypothesis import settings

from severable_diffusion import network
from severable_diffusion.bank import Bank, draw_bank
from severable_diffusion.composite_directory import write_composite
from severable_diffusion.recipe import Recipe
from severable_diffusion.router import JointRouter
from severable_diffusion.router_training import build_router
from severable_diffusion.training import train

settings.register_profile("diffusion", deadline=None, max_examples=25)
settings.load_profile("diffusion")

IDS = ("sha256:aa", "sha256:bb", "sha256:cc")


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyFederation:
    recipe: Recipe
    shards: dict[str, bytes]
    banks: dict[str, Bank]
    lambdas: dict[str, float]
    router: JointRouter


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return tiny()


@pytest.fixture(scope="session")
def images_NCHW() -> torch.Tensor:
    return torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0


@pytest.fixture(scope="session")
def federation(recipe: Recipe, images_NCHW: torch.Tensor) -> TinyFederation:
    shards = {}
    for place, shard_id in enumerate(IDS):
        own_NCHW = images_NCHW[place::3] * (place + 1) / 3
        shards[shard_id] = network.dump(train(recipe, own_NCHW, seed=place).state_dict)
    banks = {
        shard_id: draw_bank(network.load(recipe, data), recipe, seed_material=shard_id)
        for shard_id, data in shards.items()
    }
    lambdas = dict(zip(IDS, (1.0, 2.0, 1.0), strict=True))
    return TinyFederation(
        recipe=recipe, shards=shards, banks=banks, lambdas=lambdas, router=build_router(banks, recipe)
    )


@pytest.fixture(scope="session")
def composite(federation: TinyFederation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("composite") / "all"
    write_composite(directory, federation.recipe, federation.shards, federation.lambdas, federation.router)
    return directory
