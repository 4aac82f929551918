import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusion.conftest import IDS, TinyFederation
from diffusion.gaussians import SIZE, as_images, as_points, posterior, three_shards
from diffusion.recipes import tiny

from severable_diffusion.bank import Bank
from severable_diffusion.calibration import expected_calibration_error, fit_log_temperature
from severable_diffusion.composite_directory import load_router, router_bytes, router_config
from severable_diffusion.errors import CompositeError
from severable_diffusion.router import JointRouter, weights
from severable_diffusion.router_training import build_router
from severable_diffusion.schedule import NoiseSchedule

BUILD_ELSEWHERE = """
import hashlib, sys, torch
from pathlib import Path
from safetensors.torch import load_file
from severable_diffusion.bank import Bank
from severable_diffusion.composite_directory import router_bytes
from severable_diffusion.recipe import Recipe
from severable_diffusion.router_training import build_router
import json
torch.set_num_threads(2)  # build_router must not depend on what the process was set to
torch.manual_seed(12345)
banks = {path.stem: Bank.from_tensors(load_file(path)) for path in Path(sys.argv[1]).glob("*.safetensors")}
recipe = Recipe.from_dict(json.loads(Path(sys.argv[2]).read_text()))
print(hashlib.sha256(router_bytes(build_router(banks, recipe))).hexdigest())
"""


def digest(banks: Mapping[str, Bank], federation: TinyFederation) -> str:
    return hashlib.sha256(router_bytes(build_router(banks, federation.recipe))).hexdigest()


def test_the_build_gives_the_same_bytes_in_a_new_process(federation: TinyFederation, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for shard_id, bank in federation.banks.items():
        save_file(bank.tensors(), tmp_path / f"{shard_id}.safetensors")
    (tmp_path / "recipe.json").write_text(json.dumps(federation.recipe.to_dict()))
    done = subprocess.run(
        [sys.executable, "-P", "-c", BUILD_ELSEWHERE, tmp_path, tmp_path / "recipe.json"],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == hashlib.sha256(router_bytes(federation.router)).hexdigest()


def test_the_order_of_the_banks_is_irrelevant(federation: TinyFederation) -> None:
    assert digest(dict(reversed(federation.banks.items())), federation) == digest(federation.banks, federation)


def test_a_router_rebuilt_without_a_shard_is_the_one_of_a_federation_that_never_had_it(
    federation: TinyFederation,
) -> None:
    had_three = dict(federation.banks)
    digest(had_three, federation)
    del had_three[IDS[1]]
    never_had_it = {
        IDS[2]: Bank.from_tensors(federation.banks[IDS[2]].tensors()),
        IDS[0]: Bank.from_tensors(federation.banks[IDS[0]].tensors()),
    }
    assert digest(had_three, federation) == digest(never_had_it, federation)


def test_another_bank_or_id_gives_another_router(federation: TinyFederation) -> None:
    changed = federation.banks | {
        IDS[0]: federation.banks[IDS[0]].rows(torch.arange(federation.recipe.bank.images).flip(0))
    }
    renamed = {shard_id + "0": bank for shard_id, bank in federation.banks.items()}
    assert len({digest(banks, federation) for banks in (federation.banks, changed, renamed)}) == 3


def test_a_kept_router_is_loaded_with_the_same_bytes(federation: TinyFederation) -> None:
    config, data = router_config(federation.router), router_bytes(federation.router)
    loaded = load_router(config, data)
    assert router_bytes(loaded) == data
    assert router_config(loaded) == config
    with pytest.raises(CompositeError, match="build it again"):
        load_router(config, data[:-9])


def test_banks_that_do_not_fit_the_recipe_are_refused(federation: TinyFederation) -> None:
    with pytest.raises(CompositeError, match="bank of shard sha256:aa"):
        build_router(federation.banks | {IDS[0]: federation.banks[IDS[0]].rows(slice(3))}, federation.recipe)
    with pytest.raises(CompositeError, match="at least one"):
        build_router({}, federation.recipe)


def test_one_shard_alone_gets_all_the_weight(federation: TinyFederation) -> None:
    router = build_router({IDS[0]: federation.banks[IDS[0]]}, federation.recipe)
    logits_NK = router.logits(torch.zeros(2, 1, 8, 8), torch.zeros(2))
    assert weights(logits_NK, torch.zeros(1), torch.ones(1, dtype=torch.bool)).tolist() == [[1.0], [1.0]]


@pytest.fixture(scope="module")
def trained() -> JointRouter:
    """A router trained on banks of the Gaussian mixtures, whose posterior is known."""
    source = torch.Generator().manual_seed(1)
    drawn = [as_images(mixture.draw(2000, source)).float() for mixture in three_shards()]
    banks = {str(k): Bank.from_images(x_NCHW, RECIPE, seed_material=str(k)) for k, x_NCHW in enumerate(drawn)}
    return build_router(banks, RECIPE)


RECIPE = tiny(
    process={"steps": 1000},
    image={"size": SIZE},
    bank={"images": 2000},
    router={"channels": 16, "steps": 300, "batch": 64, "learning_rate": 0.005, "ema_decay": 0.97, "bins": 8},
)


@pytest.mark.parametrize("log_snr", [2.0, 0.5, -0.5, -1.5, -3.0, -5.0, -12.0])
def test_a_trained_router_approaches_the_true_posterior_and_is_calibrated(trained: JointRouter, log_snr: float) -> None:
    shards, schedule = three_shards(), NoiseSchedule.of(RECIPE.process)
    lambdas = (1.0, 3.0, 0.5)
    source = torch.Generator().manual_seed(2)
    t_N = schedule.time_of(torch.tensor([log_snr])).repeat(3600)
    label_N = torch.multinomial(torch.tensor(lambdas), 3600, replacement=True, generator=source)
    each_KND = torch.stack([shard.draw(3600, source) for shard in shards])
    x0_NCHW = as_images(each_KND[label_N, torch.arange(3600)]).float()  # fresh data, drawn by lambda
    x_NCHW = schedule.add_noise(x0_NCHW, torch.randn(x0_NCHW.shape, generator=source), t_N)
    logits_NK = trained.logits(x_NCHW, schedule.log_snr_T[t_N])
    w_NK = weights(logits_NK, torch.tensor(lambdas).log(), torch.ones(3, dtype=torch.bool))
    alpha, sigma = float(schedule.alpha_T[t_N[0]]), float(schedule.sigma_T[t_N[0]])
    true_NK = posterior(shards, lambdas, as_points(x_NCHW).double(), alpha, sigma)
    divergence = (true_NK * (true_NK / w_NK).log()).sum(dim=1).mean()
    assert divergence < 0.05  # nats
    assert (w_NK - true_NK).abs().mean() < 0.05
    assert expected_calibration_error(w_NK, label_N) < 0.05


def test_beyond_the_noisy_end_of_the_band_the_weights_are_the_lambdas(trained: JointRouter) -> None:
    x_NCHW = torch.randn(5, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    assert bool((trained.logits(x_NCHW, torch.full((5,), -9.0)) == 0).all())


def test_a_router_without_conditions_refuses_one(trained: JointRouter) -> None:
    with pytest.raises(CompositeError, match="knows no conditions"):
        trained.logits(torch.zeros(1, 1, SIZE, SIZE), torch.zeros(1), torch.zeros(1))


def test_the_fitted_temperature_undoes_a_known_one() -> None:
    source = torch.Generator().manual_seed(0)
    true_NK = 2.0 * torch.randn(20_000, 3, generator=source)
    label_N = torch.multinomial(true_NK.softmax(dim=1), 1, generator=source)[:, 0]
    assert fit_log_temperature(true_NK * 2.5, label_N) == pytest.approx(0.916, abs=0.05)
    overconfident = expected_calibration_error((true_NK * 2.5).softmax(dim=1), label_N)
    assert overconfident > 0.1
    assert expected_calibration_error(true_NK.softmax(dim=1), label_N) < 0.015
