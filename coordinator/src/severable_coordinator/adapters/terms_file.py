"""The terms of a contract as a YAML file that a lawyer and an engineer can both read (docs/contracts.md).

Read strictly: what is not understood is refused with its line, so that no term is dropped in silence. Anchors, tags and
directives are refused before anything is built from the text.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import yaml

from severable_coordinator.errors import ConfigError
from severable_coordinator.offers import EVIDENCE, SCOPE, TRIGGERS, Terms
from severable_trust.contract import Action
from severable_trust.digest import Digest
from severable_trust.errors import MalformedError
from severable_trust.terms import MAX_SUB_SHARDS

FORMAT = "severable-terms/v1"
TEMPLATE = Path(__file__).with_name("terms_template.yaml")
MAX_BYTES = 65536
MAX_DEPTH = 16  # terms nest three deep; the time that deep nesting takes to read grows with its square
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_REFUSED = (yaml.AnchorToken, yaml.AliasToken, yaml.TagToken, yaml.DirectiveToken)


@dataclass(frozen=True, slots=True)
class Draft:
    """A terms file: the terms, and the files of recipes that it names beside digests."""

    terms: Terms
    recipes: tuple[Path, ...] = ()


def read_terms(path: Path) -> Draft:
    """The terms that a file holds. ConfigError names the file, the line, and what to do."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); `contract template` prints an example"
        ) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: longer than {MAX_BYTES} bytes, which no terms are")
    try:
        root = _Node(path, _compose(path, data.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        why = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigError(f"{path}{line}: is not YAML ({why})") from error
    return _draft(root)


def _compose(path: Path, text: str) -> yaml.Node:
    depth = 0
    for token in yaml.scan(text):
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MAX_DEPTH:
            raise ConfigError(
                f"{path}, line {token.start_mark.line + 1}: nested deeper than {MAX_DEPTH}, as no terms are"
            )
        if isinstance(token, _REFUSED):
            raise ConfigError(
                f"{path}, line {token.start_mark.line + 1}: anchors, aliases, tags and directives are not allowed; "
                "write the value out"
            )
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        raise ConfigError(f"{path}: is empty; `contract template` prints an example")
    return node


class _Node:
    """A node of the file that knows its line."""

    def __init__(self, path: Path, node: yaml.Node) -> None:
        self.path = path
        self._node = node

    def refuse(self, what: str) -> NoReturn:
        raise ConfigError(f"{self.path}, line {self._node.start_mark.line + 1}: {what}")

    def fields(self, where: str, required: set[str], optional: set[str]) -> dict[str, "_Node"]:
        """The members of a mapping, exactly those that are known and once each."""
        if not isinstance(self._node, yaml.MappingNode):
            self.refuse(f"{where} must be a list of `name: value` lines")
        found: dict[str, _Node] = {}
        for key, value in self._node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            if name not in required | optional:
                _Node(self.path, key).refuse(
                    f"unknown field {name!r} in {where}; known are {_listed(required | optional)}"
                )
            if name in found:
                _Node(self.path, key).refuse(f"field {name!r} stands twice in {where}")
            found[name] = _Node(self.path, value)
        if missing := sorted(required - found.keys()):
            self.refuse(f"{where} lacks {_listed(missing)}")
        return found

    def text(self, what: str) -> str:
        """One line of text."""
        if not isinstance(self._node, yaml.ScalarNode) or not self._node.value.strip():
            self.refuse(f"{what} must be text")
        return str(self._node.value)

    def number(self, what: str, read: type[int] | type[float], least: float, most: float) -> float:
        """A number within bounds."""
        try:
            value = read(self.text(what))
        except ValueError:
            self.refuse(f"{what} must be a {'whole ' if read is int else ''}number")
        if not least <= value <= most:
            self.refuse(f"{what} is {value}; must be from {least:g} to {most:g}")
        return value

    def words(self, what: str) -> tuple[tuple["_Node", str], ...]:
        """A list of texts, none twice."""
        if not isinstance(self._node, yaml.SequenceNode) or not self._node.value:
            self.refuse(f"{what} must be a list with at least one entry, as [a, b]")
        found = [(node, node.text(what)) for node in (_Node(self.path, item) for item in self._node.value)]
        for place, (node, word) in enumerate(found):
            if word in [earlier for _, earlier in found[:place]]:
                node.refuse(f"{what} names {word!r} twice")
        return tuple(found)

    def moment(self, what: str) -> datetime:
        """A day (its first second, UTC) or a UTC time in whole seconds."""
        text = self.text(what)
        form = "%Y-%m-%dT%H:%M:%SZ" if "T" in text else "%Y-%m-%d"
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            self.refuse(f"{what} is {text!r}; write a day as 2027-01-31 or a UTC time as 2027-01-31T00:00:00Z")


def _draft(root: _Node) -> Draft:
    top = root.fields(
        "the terms",
        {"format", "target", "permissions", "recipients", "term", "lambda", "limits", "deletion", "governing_law",
         "legal_basis"},
        {"recipes", "apps"},
    )  # fmt: skip
    if top["format"].text("format") != FORMAT:
        top["format"].refuse(f"format must be {FORMAT}")
    term = top["term"].fields("term", {"notice_days"}, {"valid_from", "valid_until", "days"})
    limits = top["limits"].fields("limits", {"min_images", "memorization_ceiling"}, {"sub_shards"})
    deletion = top["deletion"].fields("deletion", {"deadline_days"}, {"scope", "triggers", "evidence"})
    if ("valid_until" in term) == ("days" in term):
        top["term"].refuse("term must have either valid_until or days")
    weight = top["lambda"].number("lambda", float, 0, 1e6)
    if weight == 0:
        top["lambda"].refuse("lambda must be above 0")
    files, digests = _recipes(top.get("recipes"))
    terms = Terms(
        target=top["target"].text("target"),
        permissions=tuple(_action(node, word) for node, word in top["permissions"].words("permissions")),
        recipients=_plain(top["recipients"].words("recipients")),
        days=int(term["days"].number("days", int, 1, 36500)) if "days" in term else 0,
        valid_from=term["valid_from"].moment("valid_from") if "valid_from" in term else None,
        valid_until=term["valid_until"].moment("valid_until") if "valid_until" in term else None,
        notice_days=int(term["notice_days"].number("notice_days", int, 0, 3650)),
        weight=weight,
        min_images=int(limits["min_images"].number("min_images", int, 1, 1e12)),
        memorization_ceiling=limits["memorization_ceiling"].number("memorization_ceiling", float, 0, 1),
        sub_shards=int(limits["sub_shards"].number("sub_shards", int, 1, MAX_SUB_SHARDS))
        if "sub_shards" in limits
        else 1,
        deletion_days=int(deletion["deadline_days"].number("deadline_days", int, 0, 3650)),
        deletion_scope=_plain(deletion["scope"].words("scope")) if "scope" in deletion else SCOPE,
        deletion_triggers=_plain(deletion["triggers"].words("triggers")) if "triggers" in deletion else TRIGGERS,
        deletion_evidence=deletion["evidence"].text("evidence") if "evidence" in deletion else EVIDENCE,
        governing_law=top["governing_law"].text("governing_law"),
        legal_basis=top["legal_basis"].text("legal_basis"),
        recipes=digests,
        apps=_apps(top.get("apps")),
    )
    return Draft(terms, files)


def _plain(words: tuple[tuple[_Node, str], ...]) -> tuple[str, ...]:
    return tuple(word for _, word in words)


def _action(node: _Node, word: str) -> Action:
    try:
        return Action(word)
    except ValueError:
        node.refuse(f"{word!r} is no permission; known are {_listed(Action)}")


def _recipes(node: _Node | None) -> tuple[tuple[Path, ...], tuple[Digest, ...]]:
    """Files (beside the terms) and digests."""
    if node is None:
        return (), ()
    files, digests = [], []
    for entry, word in node.words("recipes"):
        if word.startswith("sha256:"):
            digests.append(_digest(entry, word))
        else:
            files.append(node.path.parent / word)
    return tuple(files), tuple(digests)


def _apps(node: _Node | None) -> tuple[Digest, ...]:
    """Digests beside the coordinator's present bundle, which `current` names and which is always among them."""
    if node is None:
        return ()
    return tuple(_digest(entry, word) for entry, word in node.words("apps") if word != "current")


def _digest(node: _Node, word: str) -> Digest:
    try:
        return Digest.parse(word)
    except MalformedError as error:
        node.refuse(str(error))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
