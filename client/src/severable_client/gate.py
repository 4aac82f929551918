"""The outgoing gate: pure rules over measured facts. What they refuse never leaves this machine.

Measuring is training.py's work; here is only the decision, so that every rule can be read, and tested, alone.
"""

from dataclasses import dataclass

from severable_client.errors import GateError
from severable_trust.contract import Limits
from severable_trust.digest import FileDigest
from severable_trust.shard import CONFIG, MANIFEST, SHARD_FILES, WEIGHTS, GateReport

HEADER_BYTES = 1 << 20  # a safetensors header is smaller
MANIFEST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The facts about a finished shard.

    Attributes:
        finite: whether every weight is a finite number.
        images: how many images it was trained on.
        memorized_share: share of its own samples that are nearly a training image, 0 to 1.
        files: what would be shipped.
        tensor_bytes: how many bytes the recipe's tensors take.
        config: the configuration's bytes as the recipe has them.
    """

    finite: bool
    images: int
    memorized_share: float
    files: tuple[FileDigest, ...]
    tensor_bytes: int
    config: FileDigest


def require_enough_images(images: int, limits: Limits) -> None:
    """Refuse a data set smaller than the contract's limit; asked before training too, to save the work.

    Raises:
        GateError: too few.
    """
    if images < limits.min_images:
        raise GateError(f"{images} images are fewer than the {limits.min_images} that the contract asks for")


def pass_gate(facts: Measured, limits: Limits) -> GateReport:
    """Return the report that goes into the claim, if every rule holds.

    Args:
        facts: what was measured.
        limits: the contract's privacy limits.

    Raises:
        GateError: the first rule that does not hold, with the figures.
    """
    # 1. Nothing but numbers: NaN or infinity could also smuggle a payload in its spare bits.
    if not facts.finite:
        raise GateError("the weights hold NaN or infinity; lower the recipe's learning rate or look at the images")
    # 2. Enough images that the shard speaks for a data set and not for a person.
    require_enough_images(facts.images, limits)
    # 3. It does not recite its training images.
    if not facts.memorized_share <= limits.memorization_ceiling:
        raise GateError(
            f"{facts.memorized_share:.1%} of the shard's samples repeat training images, "
            f"the contract allows {limits.memorization_ceiling:.1%}; train fewer steps or on more images",
        )
    # 4. Exactly the three files, and of the sizes that the recipe explains: no room for anything else.
    sizes = {file.name: file.size for file in facts.files}
    if len(facts.files) != len(SHARD_FILES) or set(sizes) != set(SHARD_FILES):
        raise GateError(f"the shard would ship {', '.join(sorted(sizes))}; it must be exactly {', '.join(SHARD_FILES)}")
    if not facts.tensor_bytes <= sizes[WEIGHTS] <= facts.tensor_bytes + HEADER_BYTES:
        raise GateError(f"{WEIGHTS} has {sizes[WEIGHTS]} bytes, the recipe's tensors take {facts.tensor_bytes}")
    if next(file for file in facts.files if file.name == CONFIG) != facts.config:
        raise GateError(f"{CONFIG} is not the recipe's")
    if not 0 < sizes[MANIFEST] <= MANIFEST_BYTES:
        raise GateError(f"{MANIFEST} has {sizes[MANIFEST]} bytes, at most {MANIFEST_BYTES} are allowed")
    return GateReport(
        finite=facts.finite, images=facts.images, bytes=sizes[WEIGHTS], memorized_share=facts.memorized_share
    )
