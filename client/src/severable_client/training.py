"""Train one shard: a recipe and a folder of images in, three files and a signed claim out.

Only the worker process imports this module: torch stays out of the daemon, the Flower executor and the command line.
Shapes: N images, C channels, H height, W width.
"""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from severable_client.errors import DataFolderError, TrainingError
from severable_client.gate import Measured, check_images, examine, pass_gate, require_all
from severable_client.inspection import Evidence, Inspected, probe
from severable_client.ports import JobRequest, RecipeStore
from severable_diffusion import network
from severable_diffusion.errors import DataError, DiffusionError
from severable_diffusion.images import read_image_folder
from severable_diffusion.private_training import trainer_for
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import TrainedShard, TrainingProgress
from severable_trust.canonical import decode, encode
from severable_trust.contract import Contract
from severable_trust.digest import Digest, FileDigest
from severable_trust.envelope import Envelope
from severable_trust.errors import TrustError
from severable_trust.keys import Signer
from severable_trust.shard import CONFIG, MANIFEST, WEIGHTS, GateReport, PrivacyReport, ShardClaim
from severable_trust.statement import sign_statement

MANIFEST_FORMAT = "severable-shard-manifest/v1"
FLOAT_BYTES = 4
SOFTWARE = ("severable-client", "severable-diffusion", "torch", "diffusers", "safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be trained, and for whom.

    Attributes:
        request: what was asked.
        party: who trains.
        contract: the contract that permits it.
        recipe: the recipe.
        seed: of every random draw, 0 to 2**62 - 1.
        threads: CPU threads.
    """

    request: JobRequest
    party: str
    contract: Contract
    recipe: Recipe
    seed: int
    threads: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A shard that passed the gate: its files' bytes by name, and the claim's envelope."""

    files: dict[str, bytes]
    claim: Envelope


def recipe_bytes(recipes: RecipeStore, digest: str) -> bytes:
    """Return the canonical bytes of a recipe.

    Raises:
        TrainingError: it is not held here.
    """
    data = recipes.get(digest)
    if data is None:
        raise TrainingError(f"recipe {digest[:80]} is not held here; run `severable-client contract list` to fetch it")
    return data


def read_recipe(data: bytes) -> Recipe:
    """Return the recipe in canonical JSON bytes.

    Raises:
        TrainingError: not canonical JSON, or a recipe that this version cannot follow; the field is named.
    """
    try:
        return Recipe.from_dict(decode(data, "recipe"))
    except (TrustError, DiffusionError) as error:
        raise TrainingError(f"the recipe cannot be followed: {error}") from error


def read_images(folder: Path, recipe: Recipe) -> torch.Tensor:
    """Return the folder's images, float32 in [-1, 1], shape (N, C, H, W).

    Raises:
        DataFolderError: the folder or file at fault, and what to do.
    """
    try:
        return read_image_folder(folder, recipe.image).images_NCHW
    except DataError as error:
        raise DataFolderError(str(error)) from error


def train_shard(
    order: Order,
    images_NCHW: torch.Tensor,
    signer: Signer,
    on_progress: Callable[[TrainingProgress], None],
    on_gate: Callable[[], None],
    *,
    on_inspected: Callable[[Inspected], None] = lambda _: None,
) -> Finished:
    """Return a trained, measured and claimed shard.

    Args:
        order: what is to be trained.
        images_NCHW: the party's images, float32 in [-1, 1].
        signer: the party's statement key.
        on_progress: called after every step; what it raises ends the training.
        on_gate: called once when training is done and measuring begins.
        on_inspected: told what the gate saw, before anything is signed and also when the shard is refused.

    Raises:
        GateError: the shard must not leave.
        TrainingError: the recipe's network cannot be built or read back.
    """
    limits = order.contract.limits
    enough = check_images(len(images_NCHW), limits)
    if not enough.holds:  # asked before the work as well
        on_inspected(Inspected(checks=(enough,)))
        require_all((enough,))
    torch.set_num_threads(order.threads)
    try:
        trained = _train(order, images_NCHW, on_progress)
        on_gate()
        files = {
            WEIGHTS: network.dump(trained.state_dict),
            CONFIG: network.config_bytes(order.recipe),
            MANIFEST: _manifest(order, images=len(images_NCHW), steps=trained.steps),
        }
        facts, evidence = _measure(order, trained, files, images_NCHW)
    except DiffusionError as error:
        raise TrainingError(str(error)) from error
    on_inspected(Inspected(checks=examine(facts, limits), facts=facts, evidence=evidence))
    gate = pass_gate(facts, limits)
    return Finished(files, sign_statement(_claim(order, trained, facts, gate), signer))


def _claim(order: Order, trained: TrainedShard, facts: Measured, gate: GateReport) -> ShardClaim:
    return ShardClaim(
        party=order.party,
        contract=Digest.parse(order.request.contract),
        recipe=Digest.parse(order.request.recipe),
        nonce=order.request.nonce,
        files=facts.files,
        images=facts.images,
        steps=trained.steps,
        loss=trained.loss,
        gate=gate,
        software=_software(),
        privacy=_privacy(trained),
    )


def _privacy(trained: TrainedShard) -> PrivacyReport | None:
    spent = trained.privacy
    if spent is None:
        return None
    return PrivacyReport(
        epsilon=spent.epsilon,
        delta=spent.delta,
        noise_multiplier=spent.noise_multiplier,
        sampling_rate=spent.sampling_rate,
        accountant="rdp",
    )


def _train(order: Order, images_NCHW: torch.Tensor, on_progress: Callable[[TrainingProgress], None]) -> TrainedShard:
    trainer = trainer_for(order.recipe, images_NCHW, order.seed)
    while trainer.step < trainer.steps:  # not trainer.run(): that would pin torch to one thread
        on_progress(trainer.advance())
    return trainer.run()


def _measure(
    order: Order, trained: TrainedShard, files: dict[str, bytes], images_NCHW: torch.Tensor
) -> tuple[Measured, Evidence | None]:
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in trained.state_dict.values())
    material = f"gate {order.request.nonce}"
    evidence = probe(order.recipe, files[WEIGHTS], images_NCHW, seed_material=material) if finite else None
    facts = Measured(
        finite=finite,
        images=len(images_NCHW),
        memorized_share=1.0 if evidence is None else evidence.share,
        files=tuple(FileDigest.of(name, data) for name, data in sorted(files.items())),
        tensor_bytes=sum(tensor.numel() for tensor in trained.state_dict.values()) * FLOAT_BYTES,
        config=FileDigest.of(CONFIG, network.config_bytes(order.recipe)),
        privacy=_privacy(trained),
    )
    return facts, evidence


def _manifest(order: Order, *, images: int, steps: int) -> bytes:
    return encode(
        {
            "format": MANIFEST_FORMAT,
            "party": order.party,
            "contract": order.request.contract,
            "recipe": order.request.recipe,
            "nonce": order.request.nonce,
            "images": images,
            "steps": steps,
            "software": dict(_software()),
        }
    )


def _software() -> tuple[tuple[str, str], ...]:
    versions = {name: metadata.version(name) for name in SOFTWARE}
    return tuple(sorted({**versions, "python": platform.python_version()}.items()))
