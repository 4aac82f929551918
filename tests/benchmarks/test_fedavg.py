"""Federated averaging by Flower's FedAvg: how steps are shared out, what a round does, and that it can be cut off."""

import copy

import pytest
import torch
from diffusion.recipes import tiny
from quality.fedavg import Averaging, local_steps

from severable_diffusion import network
from severable_diffusion.recipe import Recipe

SIZES = {"a": 48, "b": 16}


@pytest.fixture
def recipe() -> Recipe:
    return tiny(training={"epochs": 2, "batch": 8, "max_steps": 12, "ema_decay": 0.5, "warmup_steps": 2})


def averaging(recipe: Recipe, *, rounds: int = 3, seed: int = 5) -> Averaging:
    noise = torch.Generator().manual_seed(1)
    size, channels = recipe.image.size, recipe.image.channels
    images = {
        name: torch.rand(count, channels, size, size, generator=noise) * 2.0 - 1.0 for name, count in SIZES.items()
    }
    return Averaging(recipe, images, None, seed=seed, rounds=rounds)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return network.dump(one) == network.dump(other)


@pytest.mark.parametrize(("total", "clients", "rounds"), [(7500, 10, 60), (15000, 10, 60), (40, 10, 60), (1250, 10, 7)])
def test_all_clients_together_do_the_monoliths_steps(total: int, clients: int, rounds: int) -> None:
    plan = local_steps(total, clients, rounds)
    assert len(plan) <= rounds
    assert min(plan) >= 1
    assert max(plan) - min(plan) <= 1
    assert total - clients < clients * sum(plan) <= total


def test_it_starts_from_the_monoliths_initial_weights(recipe: Recipe) -> None:
    assert same(averaging(recipe).weights, network.build_seeded(recipe, 5).state_dict())


def test_a_round_is_the_mean_of_the_clients_weights_by_their_numbers_of_images(recipe: Recipe) -> None:
    run = averaging(recipe)
    run.advance()
    first, second = (run.clients[name].model.state_dict() for name in "ab")
    assert not same(first, second)
    for name, mixed in run.weights.items():
        torch.testing.assert_close(mixed, (48 * first[name] + 16 * second[name]) / 64)


def test_a_client_starts_every_round_from_the_global_weights_with_a_fresh_optimizer(recipe: Recipe) -> None:
    run, other = averaging(recipe), averaging(recipe)
    run.advance()
    other.advance()
    for client in other.clients.values():  # what a client was left with is of no consequence
        for parameter in client.model.parameters():
            parameter.data.zero_()
        client.optimizer.state.clear()
    run.advance()
    other.advance()
    assert same(run.weights, other.weights)


def test_a_training_that_was_cut_off_ends_in_the_same_bytes(recipe: Recipe) -> None:
    whole = averaging(recipe)
    whole.advance()
    state = copy.deepcopy(whole.state(7.0))
    whole.advance()
    whole.advance()
    resumed = averaging(recipe)
    assert resumed.resume(state) == 7.0
    resumed.advance()
    resumed.advance()
    assert same(resumed.weights, whole.weights)
    assert same(resumed.ema, whole.ema)
    assert resumed.losses == whole.losses
