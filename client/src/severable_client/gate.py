"""The outgoing gate: pure rules over measured facts. What they refuse never leaves this machine.

Measuring is training.py's work; here is only the decision, so that every rule can be read, and tested, alone. Every
rule is looked at, also after one that does not hold: whoever reads the report sees all of it at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from severable_client.errors import GateError
from severable_trust.contract import Limits
from severable_trust.digest import FileDigest
from severable_trust.shard import CONFIG, MANIFEST, SHARD_FILES, WEIGHTS, GateReport, PrivacyReport

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
        privacy: what a differentially private training spent; None for any other.
    """

    finite: bool
    images: int
    memorized_share: float
    files: tuple[FileDigest, ...]
    tensor_bytes: int
    config: FileDigest
    privacy: PrivacyReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule, looked at.

    Attributes:
        rule: what is asked, in a few words.
        measured: what was found, for people.
        limit: what is allowed, for people.
        problem: one line that says what is wrong and what to do; empty where the rule holds.
    """

    rule: str
    measured: str
    limit: str
    problem: str

    @property
    def holds(self) -> bool:
        """Whether the shard may leave as far as this rule is concerned."""
        return not self.problem


def check_images(images: int, limits: Limits) -> Check:
    """Return the rule on the data set's size; it can be looked at before training too, to save the work."""
    few = f"{images} images are fewer than the {limits.min_images} that the contract asks for"
    return Check(
        rule="size of the data set",
        measured=f"{images} images",
        limit=f"at least {limits.min_images} (contract)",
        problem=few if images < limits.min_images else "",
    )


def examine(facts: Measured, limits: Limits) -> tuple[Check, ...]:
    """Return every rule with what was measured, in the order in which they decide.

    Args:
        facts: what was measured.
        limits: the contract's privacy limits.
    """
    # 1. Nothing but numbers: NaN or infinity could also smuggle a payload in its spare bits.
    wild = "the weights hold NaN or infinity; lower the recipe's learning rate or look at the images"
    finite = Check(
        rule="finite weights",
        measured="every weight is a finite number" if facts.finite else "NaN or infinity",
        limit="finite numbers alone",
        problem="" if facts.finite else wild,
    )
    # 2. Enough images that the shard speaks for a data set and not for a person. 3. It does not recite them.
    few, recited = check_images(facts.images, limits), _recited(facts, limits)
    private = () if facts.privacy is None else (_private(facts.privacy, facts.images),)
    return (finite, few, recited, *private, *_shipment(facts))


def require_all(checks: tuple[Check, ...]) -> None:
    """Return if every rule holds.

    Raises:
        GateError: the first rule that does not, with the figures.
    """
    for check in checks:
        if not check.holds:
            raise GateError(check.problem)


def pass_gate(facts: Measured, limits: Limits) -> GateReport:
    """Return the report that goes into the claim, if every rule holds.

    Raises:
        GateError: the first rule that does not hold, with the figures.
    """
    require_all(examine(facts, limits))
    (weights,) = (file for file in facts.files if file.name == WEIGHTS)
    return GateReport(
        finite=facts.finite, images=facts.images, bytes=weights.size, memorized_share=facts.memorized_share
    )


def _recited(facts: Measured, limits: Limits) -> Check:
    recites = (
        f"{facts.memorized_share:.1%} of the shard's samples repeat training images, "
        f"the contract allows {limits.memorization_ceiling:.1%}; train fewer steps or on more images"
    )
    return Check(
        rule="memorization",
        measured=f"{facts.memorized_share:.1%} of its samples repeat a training image",
        limit=f"at most {limits.memorization_ceiling:.1%} (contract)",
        problem="" if facts.memorized_share <= limits.memorization_ceiling else recites,  # NaN does not hold
    )


def _private(spent: PrivacyReport, images: int) -> Check:
    """A delta of one over the number of images or more would allow a whole image to be given away."""
    weak = f"delta {spent.delta:g} is not below one over the {images} images; use a recipe with a smaller one"
    return Check(
        rule="differential privacy",
        measured=f"epsilon {spent.epsilon:.3f} at delta {spent.delta:g}",
        limit=f"delta below 1/{images}; noise and clipping as the recipe has them",
        problem="" if spent.delta * images < 1 else weak,
    )


def _shipment(facts: Measured) -> Iterator[Check]:
    """Exactly the three files, and of the sizes that the recipe explains: no room for anything else."""
    files = {file.name: file for file in facts.files}
    listed, wanted = ", ".join(sorted(file.name for file in facts.files)), ", ".join(SHARD_FILES)
    exact = len(facts.files) == len(SHARD_FILES) and set(files) == set(SHARD_FILES)
    problem = "" if exact else f"the shard would ship {listed}; it must be exactly {wanted}"
    yield Check(rule="list of files", measured=listed, limit=f"exactly {wanted}", problem=problem)
    tensors = f"the recipe's tensors take {facts.tensor_bytes}"
    yield _sized(files, WEIGHTS, facts.tensor_bytes, facts.tensor_bytes + HEADER_BYTES, tensors)
    held = files.get(CONFIG)
    yield Check(
        rule=CONFIG,
        measured="absent" if held is None else "the recipe's own" if held == facts.config else str(held.digest),
        limit="the recipe's own, byte for byte",
        problem="" if held == facts.config else f"{CONFIG} is not the recipe's",
    )
    yield _sized(files, MANIFEST, 1, MANIFEST_BYTES, f"1 to {MANIFEST_BYTES} are allowed")


def _sized(files: Mapping[str, FileDigest], name: str, least: int, most: int, why: str) -> Check:
    size = files[name].size if name in files else None
    found = "is absent" if size is None else f"has {size} bytes"
    return Check(
        rule=f"size of {name}",
        measured="absent" if size is None else f"{size:,} bytes",
        limit=f"{least:,} to {most:,} bytes",
        problem="" if size is not None and least <= size <= most else f"{name} {found}; {why}",
    )
