"""Writing a directory that is there whole, under its name, or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from severable_coordinator.errors import ConfigError


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """A scratch directory beside `out`, to be renamed to it within the block; what is left of it goes at the end.

    Raises:
        ConfigError: nothing can be written there.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
        scratch.chmod(0o755)  # as `mkdir` makes it: what is written for a recipient may be read
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror}); choose another place") from error
    try:
        yield scratch
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
