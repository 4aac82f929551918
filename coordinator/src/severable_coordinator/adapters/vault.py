"""Vault on a directory: every file encrypted by tink's streaming AEAD under its party's data key.

    ROOT/files/<party>/<name>         AES256-GCM-HKDF, 1 MiB segments; the name is bound in as associated data
    KEYS/<party>.json                 the party's keyset, mode 0600, outside the database and outside ROOT

Destroying the key makes every file that was ever written under it unreadable, also in a backup of ROOT. Keys in an
HSM or KMS take the place of KEYS later; nothing outside this file knows where a key lives.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import tink
from tink import secret_key_access, streaming_aead

from severable_coordinator.adapters.disk import disk_errors, settle, write_private
from severable_coordinator.adapters.growing_file import GrowingFile
from severable_coordinator.adapters.unsealed import Unsealed
from severable_coordinator.errors import NotFoundError, StorageError
from severable_trust.digest import Digest, FileDigest
from severable_trust.errors import MalformedError

streaming_aead.register()


class DirectoryVault:
    """The parties' files below one directory, their keys below another."""

    def __init__(self, root: Path, keys: Path) -> None:
        """Keep files below `root` and keysets below `keys`; both are made, readable by the owner alone."""
        self._files = root / "files"
        self._keys = keys
        for directory in (self._files, self._keys):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, party: str, name: str, chunks: Iterator[bytes]) -> Digest:
        """See Vault. The file appears whole or not at all; plain bytes never reach the disk."""
        sha256 = hashlib.sha256()
        with self.writing(party, name) as write:
            for chunk in chunks:
                sha256.update(chunk)
                write(chunk)
        return Digest(sha256.hexdigest())

    @contextmanager
    def writing(self, party: str, name: str) -> Iterator[Callable[[bytes], object]]:
        """See Vault."""
        target = self._path(party, name)
        unfinished = target.with_name(target.name + ".partial")
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with (
                    unfinished.open("wb") as raw,
                    self._primitive(party, create=True).new_encrypting_stream(raw, _bound(party, name)) as sealed,
                ):
                    yield sealed.write
                unfinished.replace(target)
            finally:
                unfinished.unlink(missing_ok=True)

    def grow(
        self, party: str, name: str, kept_as: str, begin: Callable[[], Callable[[bytes], object]] = lambda: len
    ) -> GrowingFile:
        """See Vault."""
        kept, bound = self._path(party, kept_as), _bound(party, kept_as)
        path = kept if kept.is_file() else self._path(party, name)

        def seal(raw: io.RawIOBase) -> io.RawIOBase:
            sealed: io.BufferedWriter = self._primitive(party, create=True).new_encrypting_stream(raw, bound)
            return sealed.detach()

        def unseal(raw: BinaryIO) -> io.BufferedReader:
            plain: io.BufferedReader = self._primitive(party, create=False).new_decrypting_stream(raw, bound)
            return plain

        return GrowingFile(path, seal, unseal, partial(disk_errors, path), begin)

    def grown(self, party: str, name: str, kept_as: str) -> BinaryIO:
        """See Vault."""
        kept = self._path(party, kept_as)
        path = kept if kept.is_file() else self._path(party, name)
        if not path.is_file():
            raise NotFoundError(f"no whole file {name!r} of party {party!r} in the store")
        return Unsealed(path, self._primitive(party, create=False), _bound(party, kept_as))

    def keep(self, party: str, name: str, kept_as: str) -> None:
        """See Vault."""
        path, kept = self._path(party, name), self._path(party, kept_as)
        if not path.is_file() and kept.is_file():
            return
        with disk_errors(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.replace(kept)
            settle(kept.parent)

    def holds(self, party: str, name: str) -> bool:
        """See Vault."""
        return self._path(party, name).is_file()

    def open(self, party: str, name: str) -> BinaryIO:
        """See Vault."""
        path = self._path(party, name)
        if not path.is_file():
            raise NotFoundError(f"no file {name!r} of party {party!r} in the store")
        return Unsealed(path, self._primitive(party, create=False), _bound(party, name))

    def read(self, party: str, name: str) -> bytes:
        """See Vault."""
        with self.open(party, name) as stream:
            return stream.read()

    def names(self, party: str, prefix: str = "") -> list[str]:
        """See Vault."""
        base = self._files / party
        below = base / prefix if prefix.endswith("/") else base  # an upload has a thousand pieces, a party many files
        found = (path.relative_to(base).as_posix() for path in below.rglob("*") if path.is_file())
        return sorted(name for name in found if name.startswith(prefix) and not name.endswith(".partial"))

    def compartments(self) -> list[str]:
        """See Vault."""
        return sorted(path.name for path in self._files.iterdir() if path.is_dir())

    def key_names(self) -> list[str]:
        """See Vault."""
        return sorted(path.stem for path in self._keys.glob("*.json"))

    def unlink(self, party: str, prefix: str) -> list[str]:
        """See Vault."""
        names = self.names(party, prefix)
        base = self._files / party
        with _cannot_erase():
            for name in names:
                self._path(party, name).unlink(missing_ok=True)
            for directory in [*sorted(base.rglob("*"), reverse=True), base]:
                if directory.is_dir() and not any(directory.iterdir()):
                    directory.rmdir()
        return names

    def key_id(self, party: str) -> str:
        """See Vault."""
        keyset = self._keyset(party)
        return Digest.of(keyset).hex[:16] if keyset else ""

    def destroy_key(self, party: str) -> str:
        """See Vault. The keyset is overwritten before it is unlinked; a copy-on-write disk may keep the old block."""
        path, key_id = self._keys / f"{party}.json", self.key_id(party)
        if path.is_file():
            with _cannot_erase():
                with path.open("r+b") as stream:
                    stream.write(b"\0" * path.stat().st_size)
                    stream.flush()
                    os.fsync(stream.fileno())
                path.unlink()
        return key_id

    def _keyset(self, party: str) -> bytes:
        """The party's keyset; empty when there is none, or when its destruction was cut off after the overwriting."""
        path = self._keys / f"{party}.json"
        return path.read_bytes().strip(b"\0") if path.is_file() else b""

    def _path(self, party: str, name: str) -> Path:
        try:
            FileDigest(name=f"{party}/{name}", size=0, digest=Digest.of(b""))  # the one rule on safe relative paths
        except MalformedError as error:
            raise StorageError(f"{party}/{name}: not a name to store under") from error
        return self._files / party / name

    def _primitive(self, party: str, *, create: bool) -> streaming_aead.StreamingAead:
        path, keyset = self._keys / f"{party}.json", self._keyset(party)
        if keyset:
            try:
                handle = tink.json_proto_keyset_format.parse(keyset.decode(), secret_key_access.TOKEN)
            except (tink.TinkError, UnicodeDecodeError) as error:
                raise StorageError(f"{path}: the data key is damaged; restore it from the keys' backup") from error
        elif create:
            handle = tink.new_keyset_handle(streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB)
            write_private(path, tink.json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN).encode())
        else:
            raise StorageError(f"the data key of party {party!r} is gone: what it sealed cannot be read again")
        return handle.primitive(streaming_aead.StreamingAead)


def _bound(party: str, name: str) -> bytes:
    return f"{party}/{name}".encode()


@contextmanager
def _cannot_erase() -> Iterator[None]:
    """A disk that refuses to delete is one line, and nothing is said to be erased that is not."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{error.filename}: cannot be erased ({error.strerror}); see to the disk and do it again: it goes on here"
        ) from error
