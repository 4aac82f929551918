import base64
import json
import logging
from pathlib import Path

import pytest

from severable_diffusion.errors import CompositeError
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.recalled import MANIFEST, refuse_recalled

OWN, OTHER, NEXT = "a" * 64, "b" * 64, "c" * 64


def envelope(value: object) -> dict[str, object]:
    return {"payload": base64.b64encode(json.dumps(value).encode()).decode(), "signatures": []}


def recall(recalled: str) -> str:
    predicate = {"recalled": f"sha256:{recalled}", "replacement": f"sha256:{NEXT}"}
    return json.dumps({"recall": envelope({"predicate": predicate})})


@pytest.fixture
def composite(tmp_path: Path) -> Path:
    directory = tmp_path / "composite"
    directory.mkdir()
    subject = [{"name": "composite", "digest": {"sha256": OWN}}]
    (directory / MANIFEST).write_text(json.dumps(envelope({"subject": subject})))
    (directory / "model_index.json").write_text("{}")
    return directory


@pytest.mark.parametrize("place", ["composite.recall.json", "composite/recall.json"])
def test_a_recalled_composite_is_not_loaded_and_the_line_names_the_replacement(composite: Path, place: str) -> None:
    (composite.parent / place).write_text(recall(OWN))
    with pytest.raises(CompositeError, match=f"was recalled, its replacement is sha256:{NEXT}") as refused:
        CompositePipeline.from_pretrained(composite)
    assert "severable-verify recall" in str(refused.value)


def test_a_recall_is_found_from_within_the_directory_too(composite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (composite.parent / "composite.recall.json").write_text(recall(OWN))
    monkeypatch.chdir(composite)
    with pytest.raises(CompositeError, match="recalled"):
        refuse_recalled(Path())


def test_a_recall_of_another_composite_is_a_warning(composite: Path, caplog: pytest.LogCaptureFixture) -> None:
    (composite.parent / "composite.recall.json").write_text(recall(OTHER))
    with caplog.at_level(logging.WARNING):
        refuse_recalled(composite)
    assert "another composite" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recall": {"payload": "?"}}', '{"recall": 1}', '{"recall": {}}'])
def test_a_recall_that_cannot_be_read_refuses_since_nobody_can_tell(composite: Path, text: str) -> None:
    (composite.parent / "composite.recall.json").write_text(text)
    with pytest.raises(CompositeError, match="cannot be read"):
        refuse_recalled(composite)


def test_a_composite_without_its_manifest_beside_a_recall_is_refused(composite: Path) -> None:
    (composite / MANIFEST).unlink()
    (composite.parent / "composite.recall.json").write_text(recall(OTHER))
    with pytest.raises(CompositeError, match="cannot be read"):
        refuse_recalled(composite)


def test_a_composite_that_nobody_recalled_is_not_looked_at(composite: Path) -> None:
    (composite / MANIFEST).unlink()
    refuse_recalled(composite)
