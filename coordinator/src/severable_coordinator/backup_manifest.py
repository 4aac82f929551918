"""What a backup holds: one canonical JSON file with the size and SHA-256 of every other. Pure."""

from dataclasses import dataclass
from datetime import datetime

from severable_coordinator.errors import ConfigError
from severable_trust import canonical
from severable_trust.digest import Digest, FileDigest
from severable_trust.errors import TrustError
from severable_trust.instant import format_instant, parse_instant

FORMAT = "severable-backup/v1"
MANIFEST = "backup.json"
_MEMBERS = {"coordinator", "files", "format", "log_size", "taken"}
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupManifest:
    """A backup's list of contents.

    Attributes:
        coordinator: whose it is.
        taken: when it was begun (UTC, whole seconds).
        log_size: entries of the log in it.
        files: every file but this one, by name.
    """

    coordinator: str
    taken: datetime
    log_size: int
    files: tuple[FileDigest, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        files = [{"name": f.name, "size": f.size, "digest": str(f.digest)} for f in self.files]
        return canonical.encode(
            {
                "format": FORMAT,
                "coordinator": self.coordinator,
                "taken": format_instant(self.taken),
                "log_size": self.log_size,
                "files": files,
            }
        )


def parse_manifest(data: bytes, where: str) -> BackupManifest:
    """The manifest in canonical JSON bytes. ConfigError names what is wrong."""
    try:
        value = canonical.decode_any_form(data, "manifest", _MAX_BYTES)
        if not isinstance(value, dict) or value.keys() != _MEMBERS or value["format"] != FORMAT:
            raise ConfigError(f"{where}: not the manifest of a backup ({FORMAT})")
        manifest = BackupManifest(
            coordinator=str(value["coordinator"]),
            taken=parse_instant(str(value["taken"])),
            log_size=int(str(value["log_size"])),
            files=tuple(_file(item) for item in _listed(value["files"])),
        )
        same = manifest.to_bytes() == data
    except (TrustError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{where}: the manifest is damaged ({error}); use another backup") from error
    if not same:
        raise ConfigError(f"{where}: the manifest is damaged; use another backup")
    return manifest


def _listed(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("files are not a list")
    return value


def _file(item: object) -> FileDigest:
    if not isinstance(item, dict):
        raise TypeError("a file is not an object")
    return FileDigest(name=str(item["name"]), size=int(str(item["size"])), digest=Digest.parse(str(item["digest"])))
