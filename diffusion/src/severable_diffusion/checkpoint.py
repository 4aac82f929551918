"""A training on disk: everything that its next step depends on, as safetensors, written whole or not at all.

A `Trainer` that was restored ends with the same bytes as one that was never interrupted. The file is tied to recipe,
seed and images, and every one of its bytes is checked before any of it is used: its digest covers names,
types, shapes, values and facts, and the header must be the one that this module would write. No pickle anywhere.

It holds unreleased weights and what they were computed from, so it stays where the images are.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch

from severable_diffusion import training_state
from severable_diffusion.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from severable_diffusion.training import Trainer

FORMAT = "severable-training-checkpoint/v1"
MAX_HEADER = 64 << 20  # bytes; a header names tensors, some hundred bytes each
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.uint8: "U8"}
AGAIN = "train from the beginning"

_LENGTH = 8  # bytes before the header that say how long it is


def write(path: Path, trainer: Trainer, *, seconds: float = 0.0, images: str = "") -> None:
    """Write where a training stands; a reader finds the old file or the new one, never a part.

    Args:
        path: the file; its folder is there.
        trainer: between two steps.
        seconds: how long the training took until here, kept for the one who goes on.
        images: names the images by their content, where somebody can; only their number is looked at otherwise.

    Raises:
        OSError: the disk is full or refuses; what was there before is there still.
    """
    tensors = training_state.tensors_of(trainer)
    facts = training_state.facts_of(trainer) | {"seconds": seconds}
    part = path.with_name(f"{path.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(_header(tensors, facts, _ties(trainer, images), _digest(tensors, facts)))
            for name in _ordered(tensors):
                stream.write(_bytes_of(tensors[name]))
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def restore(path: Path, trainer: Trainer, *, images: str = "") -> float:
    """Put a fresh trainer where the written one was, and return the seconds that its training took until there.

    Args:
        path: a file that `write` wrote.
        trainer: of the same recipe, seed and images; it is left as it was if the file is refused.
        images: as given to `write`.

    Raises:
        CheckpointError: the file is missing, cut short, altered, of another training or of no training at all.
    """
    written, header = _read_header(path)
    try:
        tensors = safetensors_torch.load_file(path)
        facts = json.loads(header["facts"])
        if header["format"] != FORMAT:
            raise CheckpointError(path, f"has the format {str(header['format'])[:40]!r}, not {FORMAT}; {AGAIN}")
        if header["digest"] != _digest(tensors, facts):
            raise CheckpointError(path, f"was altered: its content does not have the digest that it names; {AGAIN}")
        if written != _header(tensors, facts, header["ties"], header["digest"]):
            raise CheckpointError(path, f"was altered: its header is not the one of its content; {AGAIN}")
        seconds = float(facts["seconds"])
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(path, f"cannot be read as a checkpoint of a training; {AGAIN}") from error
    if header["ties"] != _ties(trainer, images):
        raise CheckpointError(path, f"belongs to another recipe, seed or set of images; {AGAIN}")
    try:
        training_state.put_back(trainer, tensors, facts)
    except (ValueError, KeyError) as error:
        raise CheckpointError(path, f"does not fit this training ({error}); {AGAIN}") from error
    return seconds


def _ties(trainer: Trainer, images: str) -> str:
    """Return what ties a checkpoint to one training: a digest of recipe, seed, number of images and their name."""
    tied = [trainer.recipe.to_dict(), trainer.seed, len(trainer.images_NCHW), images]
    return hashlib.sha256(json.dumps(tied, sort_keys=True).encode()).hexdigest()


def _read_header(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the first bytes of the file, up to the tensors, and the metadata in them."""
    try:
        with path.open("rb") as stream:
            length = stream.read(_LENGTH)
            size = int.from_bytes(length, "little")
            header = stream.read(size) if len(length) == _LENGTH and size <= MAX_HEADER else b""
        found = json.loads(header)["__metadata__"]
    except FileNotFoundError as error:
        raise CheckpointError(path, "is not there; train from the beginning") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(path, f"cannot be read as a checkpoint of a training; {AGAIN}") from error
    if not isinstance(found, dict) or not {"format", "ties", "digest", "facts"} <= found.keys():
        raise CheckpointError(path, f"is no checkpoint of a training; {AGAIN}")
    return length + header, found


def _header(tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any], ties: str, digest: str) -> bytes:
    """Return the safetensors header of a checkpoint, its length in front: the same bytes for equal content."""
    told = {"format": FORMAT, "ties": ties, "digest": digest, "facts": json.dumps(facts, sort_keys=True)}
    entries: dict[str, Any] = {"__metadata__": told}
    place = 0
    for name in _ordered(tensors):
        tensor = tensors[name]
        end = place + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _LENGTH)  # the tensors begin at a multiple of eight
    return len(header).to_bytes(_LENGTH, "little") + header


def _digest(tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(_header(tensors, facts, "", ""))
    for name in _ordered(tensors):
        digest.update(_bytes_of(tensors[name]))
    return digest.hexdigest()


def _ordered(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names in the file's order: wide numbers first, so that every tensor is aligned."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
