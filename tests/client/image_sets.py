"""Sets of images as owners have them: written as a folder and as tar archives, for both readers' tests."""

import io
import json
import struct
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Sample:
    """One image and what is said about it."""

    name: str
    content: bytes
    label: str = ""
    caption: str = ""
    record: str = ""


def png(seed: int = 0, size: int = 8, mode: str = "L") -> bytes:
    """A small picture of noise."""
    shape = (size, size) if mode == "L" else (size, size, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def as_folder(root: Path, samples: list[Sample]) -> Path:
    """A flat folder with metadata.jsonl."""
    root.mkdir(parents=True)
    rows = []
    for sample in samples:
        (root / f"{sample.name}.png").write_bytes(sample.content)
        row = {"file_name": f"{sample.name}.png", "label": sample.label, "caption": sample.caption}
        rows.append(json.dumps(row | {"record_id": sample.record or f"{sample.name}.png"}))
    (root / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return root


def as_archives(root: Path, samples: list[Sample], per_archive: int = 2) -> Path:
    """Tar archives of a few samples each."""
    root.mkdir(parents=True)
    for begin in range(0, len(samples), per_archive):
        members: list[tuple[str, bytes]] = []
        for sample in samples[begin : begin + per_archive]:
            said = json.dumps({"record_id": sample.record or f"{sample.name}.png"})
            members += [
                (f"{sample.name}.png", sample.content),
                (f"{sample.name}.cls", sample.label.encode()),
                (f"{sample.name}.txt", sample.caption.encode()),
                (f"{sample.name}.json", said.encode()),
            ]
        (root / f"shard-{begin:04d}.tar").write_bytes(archive(members))
    return root


def archive(members: list[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar archive of plain files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as writer:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            writer.addfile(info, io.BytesIO(content))
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has this many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
