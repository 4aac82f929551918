"""What byte equality depends on, and the switch that makes torch repeat itself.

The same recipe, images and seed give the same bytes on one environment: torch build, CPU capability, one thread,
float32. Another CPU may pick another kernel and round otherwise; so a composite's manifest records `describe()`.
Training may be executed otherwise (bfloat16, channels-last, compiled, a GPU, more threads); which facts then stand
beside these, and what still holds, is said by `severable_diffusion.execution`. Banks and routers are made as above.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

DTYPE = torch.float32


def describe() -> dict[str, str]:
    """Return the facts on which the bytes of shards, banks and routers depend, by name."""
    return {
        "torch": str(torch.__version__),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "threads": "1",
        "dtype": str(DTYPE).removeprefix("torch."),
    }


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Run the block with one torch thread, since sums split over threads round differently.

    The thread count is torch's own, one for the whole process: do not overlap with other torch work that needs more.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def seed_from(*parts: bytes) -> int:
    """Return a seed in [0, 2^63) from content: SHA-256 over the parts, each preceded by its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def generator(seed: int) -> torch.Generator:
    """Return a CPU generator at `seed`."""
    return torch.Generator(device="cpu").manual_seed(seed)
