"""The digest of an owner's images and the places of records in sub-shards, as properties."""

import hashlib
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from severable_client.catalogue import Catalogue, Cataloguer, ImageRecord, Picture, catalogue_of, leaf, sub_shard
from severable_client.errors import DataFolderError
from severable_trust.merkle import EMPTY_ROOT, leaf_hash, node_hash
from severable_trust.shard import ClassCount

SALT, OTHER = b"s" * 32, b"t" * 32
LABELS = st.sampled_from(["cat", "dog", "Äpfel"])
SETS = st.lists(st.tuples(LABELS, st.binary(max_size=20)), max_size=20)


def pictures(images: list[tuple[str, bytes]], names: str = "image") -> list[Picture]:
    return [
        Picture(ImageRecord(record=f"{names}-{row}", label=label, place=f"/{names}/{row}"), content)
        for row, (label, content) in enumerate(images)
    ]


def digest_of(images: list[tuple[str, bytes]], salt: bytes = SALT, names: str = "image") -> Catalogue:
    return catalogue_of(pictures(images, names), salt)


@given(SETS, st.randoms(use_true_random=False))
def test_neither_names_nor_order_change_the_root(images: list[tuple[str, bytes]], order: random.Random) -> None:
    shuffled = sorted(images, key=lambda _: order.random())
    first, second = digest_of(images), digest_of(shuffled, names="renamed")
    assert (first.root, first.classes, first.images) == (second.root, second.classes, second.images)


@given(SETS, LABELS, st.binary(max_size=20))
def test_one_more_image_is_another_root(images: list[tuple[str, bytes]], label: str, content: bytes) -> None:
    assert digest_of(images).root != digest_of([*images, (label, content)]).root


@given(SETS.filter(bool))
def test_another_salt_is_another_root(images: list[tuple[str, bytes]]) -> None:
    assert digest_of(images).root != digest_of(images, OTHER).root


@given(SETS.filter(bool))
def test_another_label_is_another_root(images: list[tuple[str, bytes]]) -> None:
    (label, content), *rest = images
    assert digest_of(images).root != digest_of([(f"{label} or so", content), *rest]).root


@given(SETS)
def test_the_classes_count_every_image_once(images: list[tuple[str, bytes]]) -> None:
    catalogue = digest_of(images)
    assert dict(catalogue.classes) == Counter(label for label, _ in images)
    assert sum(count for _, count in catalogue.classes) == catalogue.images == len(images)


def test_the_sequence_tells_orders_apart() -> None:
    one, two = ("cat", b"1"), ("dog", b"2")
    assert digest_of([one, two]).sequence != digest_of([two, one]).sequence


def test_the_root_of_two_images_is_that_of_rfc_6962() -> None:
    content = [hashlib.sha256(value).digest() for value in (b"1", b"2")]
    first, second = sorted(leaf(SALT, "cat", value) for value in content)
    root = node_hash(leaf_hash(first), leaf_hash(second)).hex()
    assert digest_of([("cat", b"1"), ("cat", b"2")]).root.hex == root
    assert digest_of([]).root.hex == EMPTY_ROOT.hex()


def test_a_claim_names_a_class_only_by_the_recipes_label() -> None:
    catalogue = digest_of([("cat", b"1"), ("cat", b"2"), ("dog", b"3")])
    assert catalogue.claimed(()).classes == ()
    assert catalogue.claimed(("dog", "cat", "bird")).classes == (ClassCount("cat", 2), ClassCount("dog", 1))


@pytest.mark.parametrize("salt", [b"", b"short", b"x" * 33])
def test_a_salt_of_another_length_is_a_mistake(salt: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Cataloguer(salt)


@given(st.text(min_size=1).filter(lambda text: text.isprintable()), st.integers(1, 64))
def test_a_record_has_one_place_whatever_else_there_is(record: str, count: int) -> None:
    assert 0 <= sub_shard(SALT, record, count) < count
    assert sub_shard(SALT, record, count) == sub_shard(SALT, record, count)
    assert sub_shard(SALT, record, 1) == 0


def test_records_spread_evenly_and_otherwise_under_another_salt() -> None:
    records = [f"record {number}" for number in range(4000)]
    places = [sub_shard(SALT, record, 4) for record in records]
    assert all(850 < count < 1150 for count in Counter(places).values())  # mean 1000, standard deviation 27
    assert places != [sub_shard(OTHER, record, 4) for record in records]


def test_no_sub_shard_at_all_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="0 sub-shards"):
        sub_shard(SALT, "record", 0)


@pytest.mark.parametrize(
    "change", [{"record": ""}, {"label": " cat"}, {"label": "a\nb"}, {"label": "x" * 81}, {"caption": "\x1b[2J"}]
)
def test_a_record_with_text_that_cannot_be_shown_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(DataFolderError, match="printable"):
        ImageRecord(**({"record": "r", "label": "l", "place": "p"} | change))
