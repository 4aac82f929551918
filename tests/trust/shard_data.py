"""The files of a shard: a tiny network in safetensors, written by hand so that it can also be written wrongly."""

import io
import json
import struct
from collections.abc import Mapping
from typing import BinaryIO

from severable_trust.tensors import TensorSpec

CONFIG = b'{"sample_size":8}'
TENSORS = {"conv.weight": TensorSpec("F32", (2, 3)), "conv.bias": TensorSpec("F32", (2,))}


def safetensors(tensors: Mapping[str, tuple[TensorSpec, bytes]], metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file of these tensors, whatever their contents are."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, (spec, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": offsets}
        data += content
    return with_header(json.dumps(header).encode(), data)


def with_header(header: bytes, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def weights(first: float = 0.5) -> bytes:
    """The federation's tiny network: a weight of 2 x 3 and a bias of 2, float32."""
    return safetensors(
        {
            "conv.weight": (TENSORS["conv.weight"], struct.pack("<6f", first, 1, -1, 2, 3, 4)),
            "conv.bias": (TENSORS["conv.bias"], struct.pack("<2f", 0, 1)),
        }
    )


def shard_files(model: bytes | None = None) -> dict[str, bytes]:
    return {
        "model.safetensors": weights() if model is None else model,
        "config.json": CONFIG,
        "manifest.json": b'{"data_set":"digits"}',
    }


def streams(files: Mapping[str, bytes]) -> dict[str, BinaryIO]:
    return {name: io.BytesIO(data) for name, data in files.items()}
