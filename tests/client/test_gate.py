import math
from dataclasses import replace

import pytest

from severable_client.errors import GateError
from severable_client.gate import HEADER_BYTES, MANIFEST_BYTES, Measured, examine, pass_gate
from severable_trust.contract import Limits
from severable_trust.digest import Digest, FileDigest
from severable_trust.shard import PrivacyReport

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


def test_every_rule_is_looked_at_whatever_the_ones_before_it_say() -> None:
    bad = replace(FACTS, finite=False, images=1, memorized_share=1.0, files=FILES[:1], tensor_bytes=1)
    checks = examine(bad, LIMITS)
    assert [check.rule for check in checks] == [check.rule for check in examine(FACTS, LIMITS)]
    assert sum(not check.holds for check in checks) == 6
    assert all(check.holds for check in examine(FACTS, LIMITS))


def test_a_private_training_is_reported_and_needs_a_delta_below_one_over_its_images() -> None:
    spent = PrivacyReport(epsilon=2.0, delta=0.01, noise_multiplier=1.0, sampling_rate=0.1, accountant="rdp")
    (check,) = (c for c in examine(replace(FACTS, privacy=spent), LIMITS) if c.rule == "differential privacy")
    assert check.holds
    assert check.measured == "epsilon 2.000 at delta 0.01"
    with pytest.raises(GateError, match="not below one over the 10 images"):
        pass_gate(replace(FACTS, privacy=replace(spent, delta=0.1)), LIMITS)
