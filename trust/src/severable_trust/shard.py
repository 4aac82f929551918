"""Shard claims: what a party states about the weights it hands over.

The claim's statement id is the shard's id. The three files are the whole of a shard: weights, configuration, manifest.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from severable_trust.digest import Digest, FileDigest
from severable_trust.errors import StatementError
from severable_trust.statement import Kind, Record
from severable_trust.terms import MAX_SUB_SHARDS, check_id, require_finite, require_text, require_unique

WEIGHTS, CONFIG, MANIFEST = "model.safetensors", "config.json", "manifest.json"
SHARD_FILES = (CONFIG, MANIFEST, WEIGHTS)  # sorted by name

_NONCE = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """What the party's own gate measured before the shard left.

    Attributes:
        finite: every weight is a finite number.
        images: how many training images were probed, 0 or more.
        bytes: size of the weights file in bytes, 0 or more.
        memorized_share: share of probed images that the shard reproduced, 0 to 1.
    """

    finite: bool
    images: int
    bytes: int
    memorized_share: float

    def __post_init__(self) -> None:
        if self.images < 0 or self.bytes < 0:
            raise StatementError("gate: images and bytes must not be negative")
        if not 0 <= self.memorized_share <= 1:
            raise StatementError(f"gate: memorized_share is {self.memorized_share}, must be from 0 to 1")


@dataclass(frozen=True, slots=True, order=True)
class ClassCount:
    """One class of the training images: its name in the recipe, and how many images it has, 1 or more."""

    name: str
    images: int

    def __post_init__(self) -> None:
        require_text(self.name, "data: class name")
        if self.images < 1:
            raise StatementError(f"data: class {self.name[:80]!r} has {self.images} images, must have at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDigest:
    """What a claim says about the training images, without showing one.

    Attributes:
        images: how many, 1 or more.
        classes: how many of each class, by the recipe's label names; kept sorted, empty for a recipe without
            conditions. An owner's own folder names are never in it.
        root: Merkle root (RFC 6962 section 2.1) over the sorted HMAC-SHA256, under a salt that stays with the party,
            of each image file's SHA-256 and label.
    """

    images: int
    classes: tuple[ClassCount, ...]
    root: Digest

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(sorted(self.classes)))
        if self.images < 1:
            raise StatementError("data: images must be at least 1")
        require_unique(tuple(entry.name for entry in self.classes), "data: classes")
        if self.classes and sum(entry.images for entry in self.classes) != self.images:
            raise StatementError(f"data: the classes' images do not add up to {self.images}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyReport:
    """What a differentially private training spent, as the party's accountant says: one image more or less.

    Attributes:
        epsilon: above 0.
        delta: above 0, below 1.
        noise_multiplier: standard deviation of the noise as a multiple of the clipping norm, above 0.
        sampling_rate: the chance of each image to be in a batch, above 0, at most 1.
        accountant: how epsilon was computed, such as `rdp`.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    sampling_rate: float
    accountant: str

    def __post_init__(self) -> None:
        for name in ("epsilon", "delta", "noise_multiplier", "sampling_rate"):
            value: float = getattr(self, name)
            require_finite(value, f"privacy: {name}")
            if value <= 0:
                raise StatementError(f"privacy: {name} is {value}, must be above 0")
        if self.delta >= 1 or self.sampling_rate > 1:
            raise StatementError("privacy: delta must be below 1 and sampling_rate at most 1")
        require_text(self.accountant, "privacy: accountant")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubShard:
    """Which part of a party's records a shard was trained on.

    Attributes:
        index: from 0, below `count`.
        count: over how many sub-shards the contract divides the records, 2 to 64.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 2 <= self.count <= MAX_SUB_SHARDS:
            raise StatementError(f"sub_shard: count is {self.count}, must be from 2 to {MAX_SUB_SHARDS}")
        if not 0 <= self.index < self.count:
            raise StatementError(f"sub_shard: index is {self.index}, must be from 0 to {self.count - 1}")

    def __str__(self) -> str:
        """As people read it."""
        return f"sub-shard {self.index} of {self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardClaim(Record):
    """What a party signs about one shard.

    Attributes:
        party: the party's id.
        contract: statement id of the contract it was trained under.
        recipe: digest of the recipe.
        nonce: 64 hexadecimal digits that the coordinator chose for this task, so that no shard is sent twice.
        files: exactly `model.safetensors`, `config.json` and `manifest.json`; kept sorted by name.
        images: how many images it was trained on, 1 or more.
        data: digest of exactly those images.
        steps: optimiser steps, 1 or more.
        loss: last training loss.
        gate: what the party's gate measured.
        software: names and versions of what trained it; kept sorted by name.
        privacy: what a differentially private training spent; None, and not written, for any other.
        sub_shard: which part of the party's records; None, and not written, where the contract does not divide them.

    Raises:
        StatementError: a field outside its range, or other files than the three.
    """

    KIND: ClassVar[Kind] = Kind.SHARD

    party: str
    contract: Digest
    recipe: Digest
    nonce: str
    files: tuple[FileDigest, ...]
    images: int
    data: DataDigest
    steps: int
    loss: float
    gate: GateReport
    software: tuple[tuple[str, str], ...]
    privacy: PrivacyReport | None = None
    sub_shard: SubShard | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(sorted(self.files)))
        object.__setattr__(self, "software", tuple(sorted(self.software)))
        check_id(self.party, "shard: party")
        if not _NONCE.fullmatch(self.nonce):
            raise StatementError("shard: nonce is not 64 hexadecimal digits")
        if tuple(file.name for file in self.files) != SHARD_FILES:
            raise StatementError(f"shard: files are not exactly {', '.join(SHARD_FILES)}")
        if self.images < 1 or self.steps < 1:
            raise StatementError("shard: images and steps must be at least 1")
        if self.data.images != self.images:
            raise StatementError(f"shard: trained on {self.images} images, but its data are {self.data.images}")
        require_finite(self.loss, "shard: loss")
        require_unique(tuple(name for name, _ in self.software), "shard: software")

    def file(self, name: str) -> FileDigest:
        """The claimed digest of one of the three files."""
        return self.files[SHARD_FILES.index(name)]

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """The three files."""
        return tuple((file.name, file.digest) for file in self.files)
