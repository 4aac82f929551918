"""How large a shard may be: what the network of its recipe weighs, and little more.

Known before the first byte comes, so that nobody fills the disk and nothing large travels beside the weights.
"""

import math
from collections.abc import Iterable

from severable_coordinator.errors import RefusedError
from severable_coordinator.ports import RecipeRecord
from severable_trust.digest import FileDigest
from severable_trust.shard import CONFIG, MANIFEST, WEIGHTS
from severable_trust.tensors import ITEM_BYTES, MAX_HEADER

SMALL_FILE_BYTES = 64 << 10
SMALLEST_CHUNK = 4 << 10  # bytes on average, but for a few
SMALL_CHUNKS = 64
_LENGTH_BYTES = 8  # of a safetensors file, before its header


def require_fitting(files: Iterable[FileDigest], recipe: RecipeRecord) -> None:
    """Refuse files that are claimed to be larger than a shard of the recipe can be. RefusedError."""
    weights = sum(math.prod(shape) * ITEM_BYTES[dtype] for dtype, shape in recipe.tensors.values())
    most = {WEIGHTS: _LENGTH_BYTES + MAX_HEADER + weights, CONFIG: SMALL_FILE_BYTES, MANIFEST: SMALL_FILE_BYTES}
    for file in files:
        if file.size > most[file.name]:
            line = f"{file.name} has {file.size} bytes by its claim, a shard of this recipe at most {most[file.name]}"
            raise RefusedError(line)


def require_large_chunks(name: str, chunks: int, held: int) -> None:
    """Refuse a file that comes in ever more tiny chunks, each of which costs a turn. RefusedError."""
    if chunks >= SMALL_CHUNKS + held // SMALLEST_CHUNK:
        raise RefusedError(f"{name}: {chunks} chunks for {held} bytes; send {SMALLEST_CHUNK} or more at a time")
