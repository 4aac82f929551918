"""A small disk for one process: a tmpfs in a mount namespace of its own."""

import shutil
import subprocess
from pathlib import Path

import pytest


def small_disk(folder: Path, size: str, ballast: int = 0) -> list[str]:
    """The command that runs another with a small disk mounted at a folder, seen by it alone.

    Args:
        folder: where.
        size: as mount(8) has it, such as "64k".
        ballast: bytes of a file `ballast` that takes up space from the beginning.
    """
    script = f'mount -t tmpfs -o size={size} tmpfs "$0" && head -c {ballast} /dev/zero > "$0/ballast" && exec "$@"'
    plain = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script if ballast else plain, str(folder)]


def require_mountable(folder: Path) -> None:
    """Go on where such a disk can be had; otherwise skip the test."""
    if shutil.which("unshare") is None or _refused(folder):
        pytest.skip("needs unshare and user namespaces")


def _refused(folder: Path) -> bool:
    return subprocess.run([*small_disk(folder, "64k"), "true"], capture_output=True, check=False).returncode != 0
