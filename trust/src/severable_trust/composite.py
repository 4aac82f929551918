"""Composites: which shards, at which weights, under which router, make one model.

`CompositeContent.digest` is the composite's identity. Nothing of time, order or issuer goes into it, so a composite
rebuilt after a removal has the digest of the composite of a federation that the removed party never joined.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from severable_trust.canonical import encode
from severable_trust.digest import Digest, FileDigest
from severable_trust.errors import StatementError
from severable_trust.instant import check_instant
from severable_trust.record import to_plain
from severable_trust.statement import Kind, Record
from severable_trust.terms import check_id, require_finite, require_unique

CONTENT_FORMAT = "severable-composite/v1"


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A shard of a composite and its weight lambda, above 0."""

    shard: Digest
    weight: float

    def __post_init__(self) -> None:
        require_finite(self.weight, "composite: weight")
        if self.weight <= 0:
            raise StatementError(f"composite: weight of {self.shard} is {self.weight}, must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeContent:
    """What a composite is made of, and nothing else.

    Law: the order in which members are given does not matter, `members` is kept sorted by shard.

    Attributes:
        recipe: digest of the recipe that the shards share.
        members: at least one; no shard twice.
        router: digest of the router.
        scheduler: digest of the scheduler's configuration.

    Raises:
        StatementError: no member, or a shard twice.
    """

    recipe: Digest
    members: tuple[Member, ...]
    router: Digest
    scheduler: Digest

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(sorted(self.members)))
        if not self.members:
            raise StatementError("composite: has no member")
        require_unique(tuple(member.shard for member in self.members), "composite: members")

    @property
    def digest(self) -> Digest:
        """SHA-256 of the canonical JSON of the four fields and the format's name."""
        return Digest.of(encode({"format": CONTENT_FORMAT, **to_plain(self)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeManifest(Record):
    """The coordinator's statement about one issued composite directory.

    Attributes:
        content: what it is made of; its digest is the statement's subject.
        group: the access group it is for.
        issued: when it was issued (UTC, whole seconds).
        files: every file of the directory except the manifest itself; kept sorted by name, no name twice.
        environment: what its bytes depend on (torch build, CPU capability, threads); kept sorted by name.

    Raises:
        StatementError: no file, a file twice, or an empty group.
        MalformedError: `issued` is not UTC in whole seconds.
    """

    KIND: ClassVar[Kind] = Kind.COMPOSITE

    content: CompositeContent
    group: str
    issued: datetime
    files: tuple[FileDigest, ...]
    environment: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(sorted(self.files)))
        object.__setattr__(self, "environment", tuple(sorted(self.environment)))
        check_id(self.group, "composite: group")
        check_instant(self.issued)
        if not self.files:
            raise StatementError("composite: lists no file")
        require_unique(tuple(file.name for file in self.files), "composite: files")
        require_unique(tuple(name for name, _ in self.environment), "composite: environment")

    def in_toto_subjects(self) -> tuple[tuple[str, Digest], ...]:
        """The digest of the content, under the name `composite`."""
        return (("composite", self.content.digest),)
