"""What `severable-verify` reads: files up to a size, and the exact content of a directory."""

import os
from pathlib import Path

from severable_trust.digest import Digest, check_name, measure
from severable_trust.errors import MalformedError


def read_file(path: Path, max_bytes: int) -> bytes:
    """The content of a file.

    Raises:
        MalformedError: it is longer than `max_bytes`.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise MalformedError(f"{path.name}: longer than {max_bytes} bytes")
    return data


def list_directory(directory: Path, statement: str) -> dict[str, tuple[int, Digest]]:
    """Size in bytes and digest of every file below a directory, by POSIX path; the file `statement` is left out.

    Raises:
        MalformedError: a symbolic link, a device, a pipe or an odd name is in it.
        OSError: it cannot be read.
    """
    found: dict[str, tuple[int, Digest]] = {}
    for parent, folders, names in os.walk(directory, onerror=_raise, followlinks=False):
        for name in sorted((*folders, *names)):
            path = Path(parent) / name
            relative = path.relative_to(directory).as_posix()
            check_name(relative)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise MalformedError(f"{relative!r} is a link or a special file, only plain files are accepted")
            if path.is_file() and relative != statement:
                with path.open("rb") as stream:
                    found[relative] = measure(stream)
    return found


def _raise(error: OSError) -> None:
    raise error
