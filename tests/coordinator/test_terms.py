"""The YAML form of a contract's terms: read strictly, with the line of whatever is not understood."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from coordinator.federation import REPOSITORY, World
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from severable_coordinator.adapters.terms_file import TEMPLATE, read_terms
from severable_coordinator.errors import ConfigError
from severable_trust.contract import Action, Contract
from severable_trust.digest import Digest
from severable_trust.errors import TrustError
from severable_trust.statement import read_unverified

FORMATS = REPOSITORY / "docs/formats"
EXAMPLES = sorted((FORMATS / "examples").glob("*-terms.yaml"))
USUAL = TEMPLATE.read_text(encoding="utf-8")


def schema(name: str) -> Draft202012Validator:
    loaded = json.loads((FORMATS / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(loaded)
    return Draft202012Validator(loaded)


class _Dates(yaml.SafeLoader):
    """YAML as JSON would have it: dates stay text."""


_Dates.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def plain(text: str) -> Any:
    return yaml.load(text, Loader=_Dates)  # noqa: S506  # a SafeLoader without dates


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "terms.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_for_hospitals_is_the_template() -> None:
    assert (FORMATS / "examples/hospital-terms.yaml").read_text(encoding="utf-8") == USUAL


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_published_example_is_read_and_fits_its_schema(path: Path) -> None:
    assert read_terms(path).terms.permissions
    schema("contract-terms").validate(plain(path.read_text(encoding="utf-8")))


def test_the_terms_are_those_of_the_file() -> None:
    terms = read_terms(FORMATS / "examples/archive-terms.yaml").terms
    assert terms.permissions == tuple(Action)
    assert terms.recipients == ("licensees", "museums")
    assert (terms.valid_from, terms.valid_until) == (datetime(2027, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC))
    assert (terms.weight, terms.min_images, terms.memorization_ceiling, terms.sub_shards) == (2.5, 500, 0.02, 8)
    assert (terms.notice_days, terms.deletion_days) == (90, 14)
    assert terms.recipes == (Digest("e1d8e552330911f9f779f85b6f2c00a15e790dcc3fbb3b28f5da1d660a30c5b8"),)


@pytest.mark.parametrize(("said", "means"), [("", None), ("  sub_shards: 1\n", None), ("  sub_shards: 8\n", 8)])
def test_sub_shards_are_one_unless_the_file_says_more(tmp_path: Path, said: str, means: int | None) -> None:
    text = USUAL.replace("deletion:\n", f"{said}deletion:\n", 1).replace("\n\n  sub_shards", "\n  sub_shards")
    schema("contract-terms").validate(plain(text))
    world = World(tmp_path / "home")
    world.join("archive")
    terms = read_terms(written(tmp_path, text)).terms
    contract = read_unverified(world.coordinator.contracting.offer("archive", world.recipe, terms), Contract)
    assert contract.limits.sub_shards == means
    schema("contract").validate(contract.to_predicate())


def test_an_offer_of_a_file_says_what_the_file_says(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    world.join("archive")
    terms = read_terms(FORMATS / "examples/archive-terms.yaml").terms
    contract = read_unverified(world.coordinator.contracting.offer("archive", world.recipe, terms), Contract)
    assert (contract.valid_from, contract.valid_until) == (terms.valid_from, terms.valid_until)
    assert contract.recipes == tuple(sorted((world.recipe.digest, *terms.recipes))) or set(contract.recipes) == {
        world.recipe.digest, *terms.recipes
    }  # fmt: skip
    assert contract.deletion.evidence == terms.deletion_evidence
    schema("contract").validate(contract.to_predicate())


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ("target: chest x-rays 2019-2024", "traget: x", 6, "unknown field 'traget'"),
        ("target: chest x-rays 2019-2024", "target: a\ntarget: b", 7, "'target' stands twice"),
        ("target: chest x-rays 2019-2024", "target: ''", 6, "target must be text"),
        ("target: chest x-rays 2019-2024", "target: [a]", 6, "target must be text"),
        ("target: chest x-rays 2019-2024", "target: &a x", 6, "anchors, aliases, tags"),
        ("target: chest x-rays 2019-2024", "target: !!python/object/apply:os.system [ls]", 6, "anchors, aliases, tags"),
        ("target: chest x-rays 2019-2024", "target: *a", 6, "anchors, aliases, tags"),
        ("[train, compose, infer]", "[train, sell]", 10, "'sell' is no permission"),
        ("[train, compose, infer]", "[train, train]", 10, "names 'train' twice"),
        ("[train, compose, infer]", "[]", 10, "at least one entry"),
        ("[train, compose, infer]", "train", 10, "must be a list"),
        ("  days: 365", "  days: 0", 18, "from 1 to 36500"),
        ("  days: 365", "  days: a year", 18, "whole number"),
        ("  days: 365", "  valid_until: 31.12.2027", 18, "write a day as"),
        ("  days: 365", "  days: 1\n  valid_until: 2030-01-01", 18, "either valid_until or days"),
        ("lambda: 1.0", "lambda: 0", 22, "above 0"),
        ("lambda: 1.0", "lambda: .nan", 22, "number"),
        ("lambda: 1.0", "lambda: 1e999", 22, "from 0 to 1e\\+06"),
        ("apps: [current]", "apps: [newest]", 28, "digest"),
        ("  memorization_ceiling: 0.1 ", "  memorization_ceiling: 2 ", 32, "from 0 to 1"),
        ("  # sub_shards: 8 ", "  sub_shards: 65 ", 33, "from 1 to 64"),
        ("  # sub_shards: 8 ", "  sub_shards: 2.5 ", 33, "whole number"),
        ("severable-terms/v1", "severable-terms/v2", 3, "format must be severable-terms/v1"),
        ("governing_law: Switzerland", "", 3, "lacks governing_law"),
        ("term:", "term: [", 19, "is not YAML"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, why: str
) -> None:
    assert old in USUAL
    path = written(tmp_path, USUAL.replace(old, new, 1))
    with pytest.raises(ConfigError, match=rf"terms\.yaml, line \d+: .*{why}") as refused:
        read_terms(path)
    said = int(str(refused.value).split("line ")[1].split(":")[0])
    assert abs(said - line) <= 1
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "- a", "just text", "\x00", "a: b: c", "? [a]: b", "%YAML 1.1\n---\na: b"])
def test_a_file_that_is_no_terms_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_terms(written(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_a_file_without_end_or_of_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="longer than"):
        read_terms(written(tmp_path, "#" * 70_000))
    path = tmp_path / "latin.yaml"
    path.write_bytes("target: Zürich".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        read_terms(path)
    with pytest.raises(ConfigError, match="contract template"):
        read_terms(tmp_path / "none.yaml")


def nested_deeply(tmp_path: Path) -> Path:
    return written(tmp_path, "[" * 65_000)  # read to its end, it would take minutes


def test_a_file_nested_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_terms(nested_deeply(tmp_path))
    assert "\n" not in str(refused.value)
    assert "line 1: nested deeper than 16" in str(refused.value)


@given(st.text(max_size=60), st.integers(0, len(USUAL)), st.integers(0, 40))
@settings(max_examples=150)
def test_terms_with_anything_written_over_them_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: str, at: int, length: int
) -> None:
    path = tmp_path_factory.mktemp("terms") / "terms.yaml"
    path.write_text(USUAL[:at] + text + USUAL[at + length :], encoding="utf-8", errors="replace")
    said = ""
    try:
        read_terms(path)
    except ConfigError as error:
        said = str(error)
    assert "\n" not in said


ALTERED: list[Callable[[dict[str, Any]], object]] = [
    lambda value: value.pop("target"),
    lambda value: value.update(extra=1),
    lambda value: value.update(version=0),
    lambda value: value.update(permission=[{"action": "sell"}]),
    lambda value: value.update(permission=[]),
    lambda value: value.update({"lambda": 0}),
    lambda value: value.update(recipes=["abc"]),
    lambda value: value.update(valid_from="2026-01-01"),
    lambda value: value["limits"].update(memorization_ceiling=2),
    lambda value: value["limits"].update(sub_shards=1),
    lambda value: value["limits"].update(sub_shards=65),
    lambda value: value["limits"].update(sub_shards=None),
    lambda value: value["obligation"].append(value["obligation"][0]),
    lambda value: value["assigner"].update(key_id="x"),
]


@pytest.mark.parametrize("number", range(len(ALTERED)))
def test_the_contracts_schema_refuses_what_the_package_refuses(number: int) -> None:
    value = json.loads((FORMATS / "examples/contract.json").read_text(encoding="utf-8"))
    schema("contract").validate(value)
    assert Contract.from_predicate(value).version == 1
    ALTERED[number](value)
    assert not schema("contract").is_valid(value)
    with pytest.raises(TrustError):
        Contract.from_predicate(value)


@pytest.mark.parametrize(
    "change",
    [{"target": ""}, {"extra": 1}, {"permissions": ["sell"]}, {"lambda": 0}, {"format": "x"}, {"apps": ["newest"]}],
    ids=lambda change: next(iter(change)),
)
def test_the_terms_schema_refuses_what_the_reader_refuses(tmp_path: Path, change: dict[str, Any]) -> None:
    value = plain(USUAL) | change
    assert not schema("contract-terms").is_valid(value)
    with pytest.raises(ConfigError):
        read_terms(written(tmp_path, yaml.safe_dump(value)))
