"""Writing a file that must not be there yet: whole or not at all."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from severable_coordinator.errors import ConfigError, ConflictError


def write_new_file(path: Path, data: bytes) -> None:
    """Write a file that appears under its name only when all of it is on the disk; readable by its owner alone.

    Raises:
        ConflictError: something is there under this name; it is left as it is.
        ConfigError: the directory is missing, full or not writable.
    """
    if os.path.lexists(path):
        raise _taken(path)
    part = ""
    try:
        descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        path.open("xb").close()  # takes the name, should somebody have come first it is refused
        Path(part).replace(path)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        if part:
            with suppress(FileNotFoundError):
                Path(part).unlink()


def _taken(path: Path) -> ConflictError:
    return ConflictError(f"{path}: exists already and is left as it is; choose another name")
