"""Training with the tiny recipe: what comes out is what the coordinator's verifier lets in."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from client.samples import NONCE, NOON, PARTY, RECIPE, RECIPE_BYTES, TINY, Federation, tiny_recipe, write_images

from severable_client.adapters.memory import MemoryRecipeStore
from severable_client.errors import GateError, TrainingError
from severable_client.placement import Placement
from severable_client.ports import JobRequest
from severable_client.training import Finished, Order, read_recipe, recipe_bytes, train_shard
from severable_client.training_set import TrainingSet
from severable_diffusion import network
from severable_diffusion.images import read_image_folder
from severable_diffusion.training import TrainingProgress
from severable_trust.canonical import decode, encode
from severable_trust.contract import Contract, ContractState, Limits
from severable_trust.digest import Digest
from severable_trust.roster import Roster
from severable_trust.shard import DataDigest, ShardClaim
from severable_trust.statement import open_statement, statement_id
from severable_trust.tensors import TensorSpec
from severable_trust.verifier import AdmissionPolicy, admit

TRANSFORMER = encode(
    json.loads(json.dumps(TINY)) | {"architecture": {"kind": "dit", "patch": 2, "width": 16, "heads": 2, "layers": 1}}
)


def order_for(federation: Federation, contract: Contract | None = None, recipe: bytes = RECIPE_BYTES) -> Order:
    contract = contract or federation.contract()
    contract_id = str(statement_id(federation.signed(contract)))
    request = JobRequest(task="t", nonce=NONCE, contract=contract_id, recipe=str(Digest.of(recipe)))
    return Order(request=request, party=PARTY, contract=contract, recipe=read_recipe(recipe), seed=7)


@pytest.fixture(scope="module", name="images_NCHW")
def sixteen_images(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    folder = write_images(tmp_path_factory.mktemp("images"))
    return read_image_folder(folder, read_recipe(RECIPE_BYTES).image).images_NCHW


def set_of(images_NCHW: torch.Tensor, label_N: torch.Tensor | None = None) -> TrainingSet:
    data = DataDigest(images=len(images_NCHW), classes=(), root=Digest.of(b"images"))
    return TrainingSet(images_NCHW=images_NCHW, label_N=label_N, data=data)


def trained(
    order: Order, federation: Federation, images_NCHW: torch.Tensor, label_N: torch.Tensor | None = None
) -> Finished:
    return train_shard(order, set_of(images_NCHW, label_N), federation.owner, lambda _: None, lambda: None)


@pytest.mark.parametrize("recipe", [RECIPE_BYTES, TRANSFORMER], ids=["u-net", "transformer"])
def test_a_trained_shard_passes_the_coordinators_verifier(
    federation: Federation, images_NCHW: torch.Tensor, recipe: bytes
) -> None:
    order = order_for(federation, federation.contract(recipes=(Digest.of(recipe),)), recipe)
    finished = trained(order, federation, images_NCHW)
    contract = federation.signed(order.contract)
    keys = [federation.owner.public_key, federation.coordinator.public_key]
    expected = network.expected_tensors(order.recipe)
    policy = AdmissionPolicy(
        party=PARTY,
        nonce=NONCE,
        roster=open_statement(federation.roster(federation.owner.public_key), Roster, keys).value,
        contract=open_statement(contract, Contract, keys, threshold=2),
        state=ContractState.ACTIVE,
        recipe=Digest.of(recipe),
        config=network.config_bytes(order.recipe),
        tensors={name: TensorSpec(dtype, shape) for name, (dtype, shape) in expected.items()},
        now=NOON,
        max_bytes=1 << 20,
    )
    files = {name: io.BytesIO(data) for name, data in finished.files.items()}
    claim = admit(finished.claim.to_bytes(), files, policy).claim.value
    assert (claim.images, claim.steps) == (16, 6)
    assert claim.gate.images == 16
    assert 0 <= claim.gate.memorized_share <= 1


def test_the_same_seed_gives_the_same_files(federation: Federation, images_NCHW: torch.Tensor) -> None:
    order = order_for(federation)
    first, again = (trained(order, federation, images_NCHW) for _ in range(2))
    assert first.files == again.files
    assert first.files != trained(replace(order, seed=8), federation, images_NCHW).files


def test_the_manifest_says_what_was_trained_and_not_by_which_seed(
    federation: Federation, images_NCHW: torch.Tensor
) -> None:
    order = order_for(federation)
    manifest: Any = decode(trained(order, federation, images_NCHW).files["manifest.json"], "manifest")
    assert manifest.keys() == {
        "format", "party", "contract", "recipe", "nonce", "images", "steps", "software",
    }  # fmt: skip
    assert (manifest["images"], manifest["steps"], manifest["nonce"]) == (16, 6, NONCE)
    assert "torch" in manifest["software"]


def test_progress_is_told_after_every_step_and_the_gate_once(federation: Federation, images_NCHW: torch.Tensor) -> None:
    told: list[TrainingProgress | str] = []
    train_shard(order_for(federation), set_of(images_NCHW), federation.owner, told.append, lambda: told.append("gate"))
    assert [entry.step for entry in told[:-1] if isinstance(entry, TrainingProgress)] == [1, 2, 3, 4, 5, 6]
    assert told[-1] == "gate"


def test_too_few_images_are_refused_before_any_work(federation: Federation, images_NCHW: torch.Tensor) -> None:
    strict = federation.contract(limits=Limits(min_images=17, memorization_ceiling=1.0))
    told: list[TrainingProgress] = []
    with pytest.raises(GateError, match="16 images are fewer than the 17"):
        train_shard(order_for(federation, strict), set_of(images_NCHW), federation.owner, told.append, lambda: None)
    assert told == []


def test_a_network_that_recites_its_images_is_refused(federation: Federation) -> None:
    # With a single training image there is no second nearest one, and every sample counts as a copy.
    single_NCHW = torch.zeros(1, 1, 8, 8)
    strict = federation.contract(limits=Limits(min_images=1, memorization_ceiling=0.5))
    with pytest.raises(GateError, match="repeat training images"):
        trained(order_for(federation, strict), federation, single_NCHW)


def test_weights_that_are_no_numbers_are_refused(federation: Federation, images_NCHW: torch.Tensor) -> None:
    wild = tiny_recipe(learning_rate=1.0, warmup_steps=0, gradient_clip=1000.0)
    contract = federation.contract(recipes=(Digest.of(wild),))
    with pytest.raises(GateError, match="NaN or infinity"):
        trained(order_for(federation, contract, wild), federation, images_NCHW * float("nan"))


def test_a_recipe_with_conditions_is_trained_on_images_and_their_labels(
    federation: Federation, images_NCHW: torch.Tensor
) -> None:
    recipe = encode(TINY | {"conditions": {"labels": ["one", "two"]}})
    order = order_for(federation, federation.contract(recipes=(Digest.of(recipe),)), recipe)
    label_N = torch.arange(16) % 2
    files = trained(order, federation, images_NCHW, label_N).files
    assert files != trained(order, federation, images_NCHW, 1 - label_N).files
    with pytest.raises(TrainingError, match="label"):
        trained(order, federation, images_NCHW)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (json.dumps(TINY).encode(), "canonical"),
        (encode(TINY | {"colour": "red"}), "colour"),
        (tiny_recipe(batch=0), "training.batch"),
    ],
)
def test_a_recipe_that_cannot_be_followed_names_the_field(data: bytes, says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        read_recipe(data)


def test_a_recipe_that_is_not_held_is_refused() -> None:
    with pytest.raises(TrainingError, match="not held here"):
        recipe_bytes(MemoryRecipeStore(), str(RECIPE))


def test_the_claim_is_signed_by_the_party_and_names_the_files(
    federation: Federation, images_NCHW: torch.Tensor
) -> None:
    finished = trained(order_for(federation), federation, images_NCHW)
    claim = open_statement(finished.claim, ShardClaim, [federation.owner.public_key]).value
    assert {file.name: file.digest for file in claim.files} == {
        name: Digest.of(data) for name, data in finished.files.items()
    }
    assert claim.data == set_of(images_NCHW).data


def test_a_private_recipe_ends_in_a_claim_that_says_what_was_spent(
    federation: Federation, images_NCHW: torch.Tensor
) -> None:
    pytest.importorskip("opacus")
    body = tiny_recipe(privacy={"noise_multiplier": 2.0, "clipping_norm": 0.1, "delta": 0.01})
    contract = federation.contract(recipes=(Digest.of(body),))
    finished = trained(order_for(federation, contract, body), federation, images_NCHW)
    privacy = open_statement(finished.claim, ShardClaim, [federation.owner.public_key]).value.privacy
    assert privacy is not None
    assert (privacy.delta, privacy.noise_multiplier, privacy.sampling_rate) == (0.01, 2.0, 0.5)
    assert 0.0 < privacy.epsilon < 20.0


def test_a_manifest_says_by_what_precision_and_how_many_processes_where_that_is_unusual(
    federation: Federation, images_NCHW: torch.Tensor
) -> None:
    order = replace(order_for(federation), place=Placement(precision="bf16"))
    finished = trained(order, federation, images_NCHW)
    manifest: Any = decode(finished.files["manifest.json"], "manifest")
    assert manifest["execution"] == {"precision": "bf16"}
    assert Placement(processes=3).unusual() == {"processes": "3"}


def test_a_gpu_that_is_not_there_is_named_with_the_fields_that_ask_for_it(
    federation: Federation, images_NCHW: torch.Tensor
) -> None:
    order = replace(order_for(federation), place=Placement(device="cuda:77"))
    with pytest.raises(TrainingError, match=r"'device' is cuda:77, and torch finds no cuda:77 here"):
        trained(order, federation, images_NCHW)
    with pytest.raises(
        TrainingError, match=r"'device' is cuda, field 'devices' is 99, and torch finds no cuda:98 here"
    ):
        Placement(device="cuda", processes=99).plan(98)
