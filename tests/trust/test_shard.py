from dataclasses import replace
from typing import Any

import pytest
from trust.samples import make_claim
from trust.shard_data import shard_files

from severable_trust.digest import Digest, FileDigest
from severable_trust.errors import StatementError
from severable_trust.record import from_plain, to_plain
from severable_trust.shard import SHARD_FILES, ClassCount, DataDigest, GateReport, PrivacyReport, ShardClaim, SubShard

CONTRACT = Digest.of(b"contract")


def test_a_claim_lists_the_three_files_in_one_order() -> None:
    files = shard_files()
    backwards = dict(reversed(files.items()))
    assert make_claim(CONTRACT, files) == make_claim(CONTRACT, backwards)
    claim = make_claim(CONTRACT, files)
    assert tuple(file.name for file in claim.files) == SHARD_FILES
    assert claim.file("config.json") == FileDigest.of("config.json", files["config.json"])


@pytest.mark.parametrize("missing", SHARD_FILES)
def test_a_claim_without_one_of_the_files_is_refused(missing: str) -> None:
    claim = make_claim(CONTRACT, shard_files())
    with pytest.raises(StatementError, match="not exactly"):
        replace(claim, files=tuple(file for file in claim.files if file.name != missing))


@pytest.mark.parametrize("extra", ["pytorch_model.bin", ".git/config", "config.json"])
def test_a_claim_with_a_further_file_is_refused(extra: str) -> None:
    claim = make_claim(CONTRACT, shard_files())
    with pytest.raises(StatementError, match="not exactly"):
        replace(claim, files=(*claim.files, FileDigest.of(extra, b"")))


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": ""},
        {"nonce": "5A" * 32},
        {"nonce": "5a" * 31},
        {"images": 0},
        {"images": 101},
        {"steps": 0},
        {"loss": float("nan")},
        {"loss": float("inf")},
        {"party": "../alice"},
        {"software": (("torch", "1"), ("torch", "2"))},
    ],
)
def test_a_claim_with_a_field_out_of_range_is_refused(change: dict[str, Any]) -> None:
    claim: ShardClaim = make_claim(CONTRACT, shard_files())
    with pytest.raises(StatementError):
        replace(claim, **change)


@pytest.mark.parametrize(("index", "count"), [(0, 1), (0, 0), (-1, 4), (4, 4), (0, 65)])
def test_a_sub_shard_that_no_contract_can_have_is_refused(index: int, count: int) -> None:
    with pytest.raises(StatementError, match="sub_shard"):
        SubShard(index=index, count=count)


def test_a_claim_states_its_sub_shard_and_says_nothing_where_there_is_none() -> None:
    claim = make_claim(CONTRACT, shard_files())
    assert "sub_shard" not in to_plain(claim)
    part = replace(claim, sub_shard=SubShard(index=2, count=8))
    assert to_plain(part)["sub_shard"] == {"index": 2, "count": 8}
    assert from_plain(ShardClaim, to_plain(part), "shard") == part
    with pytest.raises(StatementError, match="leave it out"):
        from_plain(ShardClaim, {**to_plain(claim), "sub_shard": None}, "shard")


@pytest.mark.parametrize(
    ("images", "classes"),
    [(0, ()), (2, (("one", 1),)), (2, (("one", 1), ("one", 1))), (1, (("one", 1), ("two", 0))), (1, ((" ", 1),))],
)
def test_a_data_digest_whose_counts_make_no_sense_is_refused(images: int, classes: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(StatementError, match="data"):
        DataDigest(images=images, classes=tuple(ClassCount(*entry) for entry in classes), root=CONTRACT)


def test_a_claim_is_about_the_images_it_was_trained_on() -> None:
    claim = make_claim(CONTRACT, shard_files())
    assert [entry.name for entry in claim.data.classes] == ["nine", "one"]
    with pytest.raises(StatementError, match="trained on 99 images, but its data are 100"):
        replace(claim, images=99)


@pytest.mark.parametrize(("images", "size", "share"), [(-1, 0, 0.0), (0, -1, 0.0), (0, 0, -0.1), (0, 0, 1.1)])
def test_a_gate_report_out_of_range_is_refused(images: int, size: int, share: float) -> None:
    with pytest.raises(StatementError):
        GateReport(finite=True, images=images, bytes=size, memorized_share=share)


SPENT = PrivacyReport(epsilon=2.5, delta=1e-5, noise_multiplier=1.0, sampling_rate=0.01, accountant="rdp")


def test_a_claim_of_a_private_training_says_what_it_spent_and_any_other_does_not_mention_it() -> None:
    claim = make_claim(CONTRACT, shard_files())
    assert "privacy" not in claim.to_predicate()
    private = replace(claim, privacy=SPENT)
    assert private.to_predicate()["privacy"]["epsilon"] == 2.5
    assert ShardClaim.from_predicate(private.to_predicate()) == private
    with pytest.raises(StatementError, match="null, leave it out"):
        ShardClaim.from_predicate(claim.to_predicate() | {"privacy": None})


@pytest.mark.parametrize(
    "change",
    [{"epsilon": 0.0}, {"epsilon": float("inf")}, {"delta": 1.0}, {"delta": 0.0}, {"sampling_rate": 1.5},
     {"noise_multiplier": -1.0}, {"accountant": " "}],
)  # fmt: skip
def test_a_privacy_report_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(StatementError, match="privacy"):
        replace(SPENT, **change)
