"""The examples in docs/formats are the known answers of tests/vectors, so that no page can go stale."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from vectors import make

from severable_trust.bundle import ReceiptBundle
from severable_trust.canonical import encode
from severable_trust.entry import LogEntry
from severable_trust.statement import Kind

VECTORS = Path(make.__file__).parent
PAGES = VECTORS.parents[1] / "docs" / "formats"


def example(page: str) -> Any:
    found = re.search(r"```json\n(.*?)```", (PAGES / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


@pytest.mark.parametrize("kind", list(Kind))
def test_the_page_of_a_kind_shows_its_vector(kind: Kind) -> None:
    vectors = json.loads((VECTORS / "statements.json").read_bytes())
    (predicate,) = [vector["predicate"] for vector in vectors if vector["kind"] == kind.value]
    assert example(kind.value) == predicate
    assert kind.predicate_type in (PAGES / "README.md").read_text(encoding="utf-8")


def test_the_page_of_the_trust_root_shows_its_vector() -> None:
    assert encode(example("trust-root")) == (VECTORS / "trust-root-v1.json").read_bytes()


def test_the_page_of_the_log_shows_the_entry_and_the_proof_of_the_vector() -> None:
    bundle = ReceiptBundle.parse((VECTORS / "receipt-v1.json").read_bytes())
    entry = LogEntry.parse(encode(example("log")))
    assert entry.kind is Kind.RECEIPT
    assert bundle.proof.to_text() in (PAGES / "log.md").read_text(encoding="utf-8")


def test_the_page_of_the_bundle_shows_every_member() -> None:
    assert example("receipt-bundle").keys() == json.loads((VECTORS / "receipt-v1.json").read_bytes()).keys()


def test_the_page_of_the_log_bundle_shows_every_member_and_the_vectors_checkpoint() -> None:
    shown, vector = example("log-bundle"), json.loads((VECTORS / "log-bundle-v1.json").read_bytes())
    assert shown.keys() == vector.keys()
    assert (shown["checkpoint"], shown["format"]) == (vector["checkpoint"], vector["format"])
    (erased,) = [entry for entry in vector["entries"] if entry["envelope"] is None]
    assert erased in shown["entries"]
