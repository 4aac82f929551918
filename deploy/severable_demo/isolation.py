"""A stranger's machine: a virtual environment that holds the trust package and what it depends on, nothing else.

Built offline from what is installed here: the closure of `severable-trust`'s requirements is linked in, so that
`severable-verify` runs where torch, Flower and gRPC cannot be imported.
"""

import re
import subprocess
import venv
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9._-]+")
FORBIDDEN = ("torch", "flwr", "grpc", "diffusers", "numpy", "severable_coordinator", "severable_client")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `severable-verify` said: its exit status and its lines."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Stranger:
    """Runs `severable-verify` in an environment of its own."""

    python: Path
    packages: tuple[str, ...]

    def verify(self, *arguments: str) -> Verdict:
        """Run the verifier; nothing of this process's environment reaches it."""
        command = [str(self.python), "-I", "-m", "severable_trust.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={}, timeout=60)
        return Verdict(done.returncode, (done.stdout + done.stderr).strip())

    def importable(self) -> list[str]:
        """Which of the forbidden packages it can import; must be none."""
        code = f"import importlib.util as u; print([n for n in {FORBIDDEN!r} if u.find_spec(n)])"
        done = subprocess.run([str(self.python), "-I", "-c", code], capture_output=True, text=True, check=True, env={})
        return [name for name in FORBIDDEN if repr(name) in done.stdout]


def make_stranger(directory: Path) -> Stranger:
    """Make the environment in a new directory."""
    venv.create(directory, symlinks=True, with_pip=False)
    site = next(directory.glob("lib/python*/site-packages"))
    names = closure("severable-trust")
    for name in names:
        for root in _roots(metadata.distribution(name)):
            (site / root.name).symlink_to(root)
    return Stranger(directory / "bin" / "python", tuple(names))


def closure(name: str) -> list[str]:
    """A distribution and all that it requires, by name."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found[current] = None
        for requirement in metadata.distribution(current).requires or ():
            match = _NAME.match(requirement)
            if match and "extra ==" not in requirement and _installed(match.group()):
                waiting.append(match.group())
    return sorted(found)


def _installed(name: str) -> bool:
    """A requirement behind an environment marker (another system, another Python) is not there."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _roots(distribution: metadata.Distribution) -> list[Path]:
    """Top-level files and folders of an installed distribution, an editable one's source folder included."""
    roots: dict[Path, None] = {}
    for file in distribution.files or ():
        if file.parts[0] in {"..", "__pycache__"}:
            continue
        root = Path(str(distribution.locate_file(file.parts[0])))
        if root.suffix == ".pth":
            for line in root.read_text().splitlines():
                roots.update(dict.fromkeys(path for path in Path(line).iterdir() if path.is_dir()))
        else:
            roots[root] = None
    return [root for root in roots if root.exists()]
