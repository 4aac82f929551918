"""Train one shard: a recipe and a folder of images in, three files and a signed claim out.

Only the worker process imports this module: torch stays out of the daemon, the Flower executor and the command line.
Shapes: N images, C channels, H height, W width.
"""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata

import torch

from severable_client.errors import TrainingError
from severable_client.gate import Measured, check_images, examine, pass_gate, require_all
from severable_client.inspection import Evidence, Inspected, probe
from severable_client.placement import USUAL, Placement
from severable_client.ports import JobRequest, RecipeStore
from severable_client.training_set import TrainingSet
from severable_diffusion import network
from severable_diffusion.errors import DiffusionError, TeamError
from severable_diffusion.images import ImageRows
from severable_diffusion.private_training import trainer_for
from severable_diffusion.recipe import Recipe
from severable_diffusion.team import ALONE, Team
from severable_diffusion.training import TrainedShard, Trainer, TrainingProgress
from severable_trust.canonical import decode, encode
from severable_trust.contract import Contract
from severable_trust.digest import Digest, FileDigest
from severable_trust.envelope import Envelope
from severable_trust.errors import TrustError
from severable_trust.keys import Signer
from severable_trust.shard import CONFIG, MANIFEST, WEIGHTS, DataDigest, GateReport, PrivacyReport, ShardClaim, SubShard
from severable_trust.statement import sign_statement

MANIFEST_FORMAT = "severable-shard-manifest/v1"
FLOAT_BYTES = 4
OnProgress = Callable[[TrainingProgress], None]
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
        place: where and how the training computes.
        part: the sub-shard that the images are of, or None.
    """

    request: JobRequest
    party: str
    contract: Contract
    recipe: Recipe
    seed: int
    place: Placement = USUAL
    part: SubShard | None = None


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


def train_shard(
    order: Order,
    images: TrainingSet,
    signer: Signer,
    on_progress: OnProgress,
    on_gate: Callable[[], None],
    *,
    on_inspected: Callable[[Inspected], None] = lambda _: None,
    train: Callable[[Trainer, OnProgress], TrainedShard] = Trainer.run,
    team: Team = ALONE,
) -> Finished:
    """Return a trained, measured and claimed shard.

    Args:
        order: what is to be trained.
        images: the party's images.
        signer: the party's statement key.
        on_progress: called after every step; what it raises ends the training.
        on_gate: called once when training is done and measuring begins.
        on_inspected: told what the gate saw, before anything is signed and also when the shard is refused.
        train: does the steps of a fresh trainer; a `Sitting` keeps them.
        team: the processes that train it together.

    Raises:
        GateError: the shard must not leave.
        TeamError: another process of the team is gone.
        TrainingError: the recipe's network cannot be built or read back.
    """
    _require_enough(order, images, on_inspected)
    with _training_errors(order):
        trained = train(_trainer(order, images, team), on_progress)
        on_gate()
        files = _files(order, trained, images=len(images.images_NCHW))
        facts, evidence = _measure(order, trained, files, images.images_NCHW)
    limits = order.contract.limits
    on_inspected(Inspected(checks=examine(facts, limits), facts=facts, evidence=evidence))
    gate = pass_gate(facts, limits)
    return Finished(files, sign_statement(_claim(order, trained, facts, gate, images.data), signer))


def _require_enough(order: Order, images: TrainingSet, on_inspected: Callable[[Inspected], None]) -> None:
    """Ask the gate's first question before the work as well."""
    enough = check_images(len(images.images_NCHW), order.contract.limits)
    if not enough.holds:
        on_inspected(Inspected(checks=(enough,)))
        require_all((enough,))


@contextmanager
def _training_errors(order: Order) -> Iterator[None]:
    try:
        yield
    except TeamError:
        raise  # whoever made the team knows what became of the others
    except DiffusionError as error:
        raise TrainingError(str(error)) from error
    except torch.OutOfMemoryError as error:  # where smaller parts of a batch would not help
        line = f"the memory of {order.place.device} cannot hold the network and its optimizer"
        raise TrainingError(line) from error


def _trainer(order: Order, images: TrainingSet, team: Team) -> Trainer:
    torch.set_num_threads(order.place.threads)
    plan = order.place.plan()
    return trainer_for(order.recipe, images.images_NCHW, order.seed, images.label_N, plan=plan, team=team)


def _files(order: Order, trained: TrainedShard, *, images: int) -> dict[str, bytes]:
    return {
        WEIGHTS: network.dump(trained.state_dict),
        CONFIG: network.config_bytes(order.recipe),
        MANIFEST: _manifest(order, images=images, steps=trained.steps),
    }


def _claim(order: Order, trained: TrainedShard, facts: Measured, gate: GateReport, data: DataDigest) -> ShardClaim:
    return ShardClaim(
        party=order.party,
        contract=Digest.parse(order.request.contract),
        recipe=Digest.parse(order.request.recipe),
        nonce=order.request.nonce,
        files=facts.files,
        images=facts.images,
        data=data,
        steps=trained.steps,
        loss=trained.loss,
        gate=gate,
        software=_software(order),
        privacy=_privacy(trained),
        sub_shard=order.part,
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


def _measure(
    order: Order, trained: TrainedShard, files: dict[str, bytes], images_NCHW: ImageRows
) -> tuple[Measured, Evidence | None]:
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in trained.state_dict.values())
    material = f"gate {order.request.nonce}"
    device = order.place.device_of(0)
    evidence = None
    if finite:
        evidence = probe(order.recipe, files[WEIGHTS], images_NCHW, seed_material=material, device=device)
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
    unusual = order.place.unusual()
    return encode(
        {
            "format": MANIFEST_FORMAT,
            "party": order.party,
            "contract": order.request.contract,
            "recipe": order.request.recipe,
            "nonce": order.request.nonce,
            "images": images,
            "steps": steps,
            "software": dict(_software(order)),
            **({"execution": unusual} if unusual else {}),
        }
    )


def _software(order: Order) -> tuple[tuple[str, str], ...]:
    names = (*SOFTWARE, "accelerate") if order.place.processes > 1 else SOFTWARE
    versions = {name: metadata.version(name) for name in names}
    return tuple(sorted({**versions, "python": platform.python_version()}.items()))
