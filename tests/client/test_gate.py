import math
from dataclasses import replace

import pytest

from severable_client.errors import GateError
from severable_client.gate import HEADER_BYTES, MANIFEST_BYTES, Measured, pass_gate
from severable_trust.contract import Limits
from severable_trust.digest import Digest, FileDigest

CONFIG = FileDigest.of("config.json", b"{}")
LIMITS = Limits(min_images=10, memorization_ceiling=0.25)


def file_of(name: str, size: int) -> FileDigest:
    return FileDigest(name=name, size=size, digest=Digest.of(name.encode()))


FILES = (CONFIG, file_of("manifest.json", 300), file_of("model.safetensors", 4100))
FACTS = Measured(finite=True, images=10, memorized_share=0.25, files=FILES, tensor_bytes=4000, config=CONFIG)


def test_facts_at_every_limit_pass_and_are_reported() -> None:
    report = pass_gate(FACTS, LIMITS)
    assert (report.finite, report.images, report.bytes, report.memorized_share) == (True, 10, 4100, 0.25)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"finite": False}, "NaN or infinity"),
        ({"images": 9}, "9 images are fewer than the 10"),
        ({"memorized_share": 0.2501}, "repeat training images"),
        ({"memorized_share": math.nan}, "repeat training images"),
        ({"files": FILES[:2]}, "exactly"),
        ({"files": (*FILES, file_of("notes.txt", 5))}, "notes.txt"),
        ({"files": (*FILES, FILES[2])}, "exactly"),
        ({"tensor_bytes": 4101}, "the recipe's tensors take 4101"),
        ({"files": (*FILES[:2], file_of("model.safetensors", 4001 + HEADER_BYTES))}, "model.safetensors"),
        ({"config": FileDigest.of("config.json", b"{ }")}, "not the recipe's"),
        ({"files": (CONFIG, file_of("manifest.json", MANIFEST_BYTES + 1), FILES[2])}, "manifest.json"),
        ({"files": (CONFIG, file_of("manifest.json", 0), FILES[2])}, "manifest.json"),
    ],
)
def test_a_fact_beyond_a_limit_is_refused_with_the_reason(changes: dict[str, object], says: str) -> None:
    with pytest.raises(GateError, match=says):
        pass_gate(replace(FACTS, **changes), LIMITS)  # type: ignore[arg-type]  # a dict of unlike fields
