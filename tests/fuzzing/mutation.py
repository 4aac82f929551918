"""Changes to valid inputs that random bytes would hardly ever find.

JSON is changed as a value and written canonically again, so that a change gets past the check of the spelling; a text
that holds base64 of JSON (the payload of an envelope) is opened, changed inside and closed.
"""

import base64
import binascii
import json
from random import Random
from typing import Any

SAFETENSORS_PREFIX = 8  # bytes
WORDS = (
    "",
    "0",
    "=",
    "\n",
    "\n\n",
    "\x00",
    "\u202e",
    "\N{EM DASH} ",
    "é",
    "\U0001f9ea",
    "a" * 300,
    "../x",
    "sha256:",
    "0001-01-01T00:00:00Z",
)
TOKENS = (
    b"",
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"{",
    b"[" * 1200,
    b"]",
    b'"',
    b",",
    b":",
    b"\\ud800",
    b"\n",
    b"1" * 5000,
    b"1e999",
    b"-0",
    b"NaN",
    b"null",
)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 - 1, 2**53, 2**63, 10**400, 0.1, 1e-7, -1e308,
    [], {}, [[]], [0] * 70, {"a": {}},
)  # fmt: skip


def mutate(data: bytes, random: Random) -> bytes:
    """The input with one to four changes."""
    for _ in range(random.randint(1, 4)):
        data = _in_json(data, random) if random.random() < 0.6 else _in_bytes(data, random)
    return data


def _in_json(data: bytes, random: Random) -> bytes:
    head = b"" if data[:1] == b"{" else data[:SAFETENSORS_PREFIX]
    end = data.rfind(b"}") + 1
    try:
        value = json.loads(data[len(head) : end])
    except (ValueError, RecursionError):
        return _in_bytes(data, random)
    written = _written(_changed(value, random))
    if head:
        head = len(written).to_bytes(SAFETENSORS_PREFIX, "little")
    return head + written + data[end:]


def _written(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", errors="surrogatepass")


def _changed(value: Any, random: Random) -> Any:
    """The value with one node changed, anywhere in it."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice(sorted(value))
        return _changed_member(value, name, random)
    if isinstance(value, list) and value and random.random() < 0.8:
        place = random.randrange(len(value))
        changed = [*value[:place], _changed(value[place], random), *value[place + 1 :]]
        return random.choice((changed, changed + value, value[:place], value[::-1]))
    if isinstance(value, str) and random.random() < 0.8:
        return _changed_text(value, random)
    return random.choice((*VALUES, *WORDS))


def _changed_member(value: dict[str, Any], name: str, random: Random) -> dict[str, Any]:
    way = random.random()
    rest = {key: item for key, item in value.items() if key != name}
    if way < 0.1:
        return rest
    if way < 0.2:
        return {**rest, name + random.choice(WORDS): value[name]}
    if way < 0.25:
        return {**value, name: value[random.choice(sorted(value))]}
    return {**value, name: _changed(value[name], random)}


def _changed_text(text: str, random: Random) -> str:
    try:
        inner = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        inner = b""
    if inner[:1] == b"{":
        return base64.b64encode(_in_json(inner, random)).decode()
    place = random.randrange(len(text) + 1)
    inserted = text[:place] + random.choice(WORDS) + text[place:]
    return random.choice((text[:place], text[place:], inserted, text + text))


def _in_bytes(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data) + 1)
    end = min(len(data), start + random.choice((1, 1, 4, 32)))
    flipped = bytes(byte ^ (1 << random.randrange(8)) for byte in data[start:end])
    return random.choice(
        (
            data[:start] + flipped + data[end:],
            data[:start] + data[end:],
            data[:end] + data[start:],
            data[:start] + random.choice(TOKENS) + data[end:],
            data[:start],
        )
    )
