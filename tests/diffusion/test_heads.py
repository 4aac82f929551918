import pytest
import torch
from diffusion.gaussians import SIZE, as_images, as_points, posterior, three_shards
from diffusion.recipes import tiny

from severable_diffusion.bank import Bank
from severable_diffusion.composite_directory import router_bytes
from severable_diffusion.heads import HeadsRouter, build_head
from severable_diffusion.router import JointRouter, weights
from severable_diffusion.schedule import NoiseSchedule

RECIPE = tiny(
    process={"steps": 1000},
    image={"size": SIZE},
    bank={"images": 1500},
    router={"channels": 16, "steps": 180, "batch": 64, "learning_rate": 0.005, "ema_decay": 0.97, "bins": 8},
)


@pytest.fixture(scope="module")
def banks() -> dict[str, Bank]:
    source = torch.Generator().manual_seed(1)
    drawn = [as_images(mixture.draw(1500, source)).float() for mixture in three_shards()]
    return {str(k): Bank.from_images(x_NCHW, RECIPE, seed_material=str(k)) for k, x_NCHW in enumerate(drawn)}


@pytest.fixture(scope="module")
def reference() -> Bank:
    """Public images that cover the shards' data without telling whose they are."""
    source = torch.Generator().manual_seed(5)
    x_NCHW = torch.cat([as_images(mixture.draw(500, source)).float() for mixture in three_shards()])
    return Bank.from_images(x_NCHW[torch.randperm(1500, generator=source)], RECIPE, seed_material="public")


@pytest.fixture(scope="module")
def heads(banks: dict[str, Bank], reference: Bank) -> dict[str, JointRouter]:
    return {shard_id: build_head(shard_id, bank, reference, RECIPE) for shard_id, bank in banks.items()}


def test_dropping_a_shard_leaves_the_bytes_of_every_other_head(heads: dict[str, JointRouter]) -> None:
    together = HeadsRouter.of(heads)
    never_had_it = HeadsRouter.of({shard_id: heads[shard_id] for shard_id in ("2", "0")})
    assert router_bytes(together.without("1")) == router_bytes(never_had_it)
    assert [router_bytes(head) for head in together.heads] == [router_bytes(heads[k]) for k in ("0", "1", "2")]


def test_a_head_is_built_from_its_own_bank_and_the_reference_alone(
    heads: dict[str, JointRouter], banks: dict[str, Bank], reference: Bank
) -> None:
    assert router_bytes(build_head("1", banks["1"], reference, RECIPE)) == router_bytes(heads["1"])


@pytest.mark.parametrize("log_snr", [1.0, -0.5, -2.0, -4.0, -12.0])
def test_heads_that_never_saw_each_other_approach_the_true_posterior(
    heads: dict[str, JointRouter], log_snr: float
) -> None:
    shards, schedule, lambdas = three_shards(), NoiseSchedule.of(RECIPE.process), (1.0, 3.0, 0.5)
    source = torch.Generator().manual_seed(2)
    t_N = schedule.time_of(torch.tensor([log_snr])).repeat(2000)
    label_N = torch.multinomial(torch.tensor(lambdas), 2000, replacement=True, generator=source)
    each_KND = torch.stack([shard.draw(2000, source) for shard in shards])
    x0_NCHW = as_images(each_KND[label_N, torch.arange(2000)]).float()
    x_NCHW = schedule.add_noise(x0_NCHW, torch.randn(x0_NCHW.shape, generator=source), t_N)
    logits_NK = HeadsRouter.of(heads).logits(x_NCHW, schedule.log_snr_T[t_N])
    w_NK = weights(logits_NK, torch.tensor(lambdas).log(), torch.ones(3, dtype=torch.bool))
    alpha, sigma = float(schedule.alpha_T[t_N[0]]), float(schedule.sigma_T[t_N[0]])
    true_NK = posterior(shards, lambdas, as_points(x_NCHW).double(), alpha, sigma)
    assert (true_NK * (true_NK / w_NK).log()).sum(dim=1).mean() < 0.1  # nats; a joint router is held to 0.05
