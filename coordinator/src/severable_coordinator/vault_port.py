"""Where the coordinator's files are kept, each encrypted under the key of whom it belongs to: the ports.

The contract suite is in tests/contracts; adapters/vault.py stands behind them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from severable_trust.digest import Digest


class Growing(Protocol):
    """A file of a vault while it comes in; see adapters/growing_file.py."""

    @property
    def size(self) -> int:
        """Plain bytes that it holds. What was written last may be lost with this process: up to three MiB."""

    @property
    def there(self) -> bool:
        """Whether it can be gone on with: false once it was taken away, or a write of it failed."""

    def write(self, data: bytes) -> None:
        """Take more plain bytes. StorageError."""

    def finish(self) -> None:
        """Make it whole. StorageError."""

    def close(self) -> None:
        """Let go of it as it is."""


class Files(Protocol):
    """Files by compartment (a party's, or a set of shards') and relative name: what building a composite needs."""

    def write(self, party: str, name: str, chunks: Iterator[bytes]) -> Digest:
        """Encrypt and keep a file under a relative name; the digest is that of the plain bytes. StorageError."""

    def holds(self, party: str, name: str) -> bool:
        """Whether there is a file of this name."""

    def read(self, party: str, name: str) -> bytes:
        """Return a file's plain bytes."""

    def names(self, party: str, prefix: str = "") -> list[str]:
        """Names of a party's files below a prefix."""

    def compartments(self) -> list[str]:
        """Names under which files are kept: parties, and sets of shards that have a router."""


class Vault(Files, Protocol):
    """Files of the parties, each encrypted under its party's data key; see adapters/vault.py."""

    def writing(self, party: str, name: str) -> AbstractContextManager[Callable[[bytes], object]]:
        """Write a file block by block; it is there, whole, once the context ends well, and else not at all."""

    def grow(
        self, party: str, name: str, kept_as: str, begin: Callable[[], Callable[[bytes], object]] = ...
    ) -> Growing:
        """Begin a file, or go on with what is there of it, that is kept under another name once it is whole.

        `begin` begins a pass over it, which is given every byte that is held, in order and once; anew where what was
        held turned out to be less.
        """

    def grown(self, party: str, name: str, kept_as: str) -> BinaryIO:
        """Open a file that has grown whole, whether it is kept already or not. NotFoundError, StorageError."""

    def keep(self, party: str, name: str, kept_as: str) -> None:
        """Give a file that has grown whole the name that it is kept under; doing so twice is one doing."""

    def open(self, party: str, name: str) -> BinaryIO:
        """Open a file for reading plain bytes, seekable to the start. NotFoundError, StorageError."""

    def key_names(self) -> list[str]:
        """Names under which there is a data key."""

    def unlink(self, party: str, prefix: str) -> list[str]:
        """Remove a party's files below a prefix and return their names."""

    def key_id(self, party: str) -> str:
        """Name the party's data key without revealing it; "" when there is none."""

    def destroy_key(self, party: str) -> str:
        """Destroy the party's data key; returns its id ("" when there was none). What was written is unreadable."""
