"""A recall that lies beside a composite keeps it from loading.

    composite.recall.json     beside the directory `composite`, where its holder is asked to put it
    composite/recall.json     inside it; seen too, though `severable-verify composite` then finds a file too many

Only whose composite it is is compared here, no signature: this package knows no keys, and who can write beside the
weights can change them too. `severable-verify recall` says who asked, and how to answer.
"""

from __future__ import annotations

import base64
import json
import logging
from typing import TYPE_CHECKING, Any

from severable_diffusion.errors import CompositeError

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "composite.dsse.json"
_MAX_BYTES = 4 << 20
_LOG = logging.getLogger(__name__)


def refuse_recalled(directory: Path) -> None:
    """Refuse a composite that a recall beside it is about, or may be about.

    A recall of another composite is told in a warning and otherwise ignored.

    Raises:
        CompositeError: the recall names this composite; or one of the two cannot be read, so that nobody can tell.
    """
    absolute = directory.absolute()
    for path in (absolute.with_name(f"{absolute.name}.recall.json"), absolute / "recall.json"):
        if path.is_file():
            _judge(directory, path)


def _judge(directory: Path, path: Path) -> None:
    how = "check it with `severable-verify recall`, use the composite that it names instead, and answer it"
    try:
        recall = _statement(json.loads(_read(path))["recall"])["predicate"]
        own = _statement(json.loads(_read(directory / MANIFEST)))["subject"][0]["digest"]["sha256"]
        recalled = str(recall["recalled"]).removeprefix("sha256:")
        instead = str(recall["replacement"] or "none")[:80]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise CompositeError(
            f"{directory}: there is a recall beside it, {path.name}, and it or the manifest cannot be read; {how}"
        ) from error
    if recalled == own:
        raise CompositeError(f"{directory} was recalled, its replacement is {instead}: {path.name}; {how}")
    _LOG.warning("%s is a recall of another composite than %s; it is not followed here", path.name, directory)


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"{path.name} is longer than {_MAX_BYTES} bytes")
    return data


def _statement(envelope: Any) -> Any:
    return json.loads(base64.b64decode(envelope["payload"], validate=True))
