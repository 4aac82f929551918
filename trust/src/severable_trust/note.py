"""Signed notes of C2SP: how the log signs its checkpoints and how parties cosign them.

Specifications: https://c2sp.org/signed-note (Ed25519, key type 0x01) and https://c2sp.org/tlog-cosignature (Ed25519
cosignature/v1, key type 0x04, which also signs the time at which the cosigner saw the checkpoint).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from severable_trust.checkpoint import Checkpoint, LogProof, check_origin, decode_base64
from severable_trust.errors import LogError, MalformedError, SignatureError
from severable_trust.instant import check_instant
from severable_trust.note_key import ID_BYTES, KEY_NAME, SIGNATURE_MARK, KeyType, LogKey, LogSigner

__all__ = [
    "Checkpoint",
    "Cosigned",
    "KeyType",
    "LogKey",
    "LogProof",
    "LogSigner",
    "OpenedNote",
    "cosign",
    "cosignature_line",
    "open_checkpoint",
    "open_cosigned",
    "open_note",
    "sign_note",
]

MAX_NOTE = 1 << 16  # characters
_TIME_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedNote:
    """A note at least one of whose signatures has been verified, and none of the known keys' was wrong.

    Attributes:
        text: what was signed, ending in a newline.
        signers: vkeys whose signatures hold, in the order of their lines.
        times: for each cosigner's vkey, when it cosigned (UTC).
        unknown: names on the lines of keys that were not given; nothing is known about those.
    """

    text: str
    signers: tuple[str, ...]
    times: tuple[tuple[str, datetime], ...]
    unknown: tuple[str, ...]


def sign_note(text: str, signer: LogSigner) -> str:
    """The text as a signed note: the text, an empty line, one signature line.

    Raises:
        ValueError: the text does not end in a newline or holds a control character, or the key is for cosigning.
    """
    if signer.key.type is not KeyType.ED25519:
        raise ValueError(f"key {signer.key.name} cosigns notes, it does not sign them")
    if not text.endswith("\n") or not _is_plain(text):
        raise ValueError("the text of a note is plain lines, each ended by a newline")
    return text + "\n" + signer.line(text.encode("utf-8"))


def cosign(note: str, signer: LogSigner, at: datetime) -> str:
    """The note with one more line: the cosignature of this key, seen at this time (UTC, whole seconds).

    The caller has opened the note and checked its consistency with the checkpoint it cosigned before.

    Raises:
        ValueError: the key is not a cosignature key.
        MalformedError: not a note, or the time is not UTC in whole seconds.
    """
    if signer.key.type is not KeyType.COSIGNATURE:
        raise ValueError(f"key {signer.key.name} signs notes, it does not cosign them")
    check_instant(at)
    text, _ = _split(note)
    seconds = int(at.timestamp())
    return note + signer.line(_cosigned(text, seconds), seconds.to_bytes(_TIME_BYTES, "big"))


def open_note(note: str, vkeys: Sequence[str]) -> OpenedNote:
    """The note's text, proven by at least one of these keys.

    As C2SP asks, lines of other keys are skipped (they are listed as `unknown`), a wrong signature of a known key is
    refused whatever the other lines say, and so is a second line of one key.

    Raises:
        MalformedError: not a note, or a vkey is not one.
        SignatureError: no signature by a given key, or a wrong one.
    """
    text, lines = _split(note)
    known = {(key.name, key.id): key for key in map(LogKey.parse, vkeys)}
    signers: list[str] = []
    times: list[tuple[str, datetime]] = []
    unknown: list[str] = []
    for name, raw in map(_read_line, lines):
        key = known.get((name, raw[:ID_BYTES]))
        if key is None:
            unknown.append(name)
            continue
        at = _verify_line(key, raw[ID_BYTES:], text)
        if str(key) in signers:
            raise SignatureError(f"note: two signatures by key {name}")
        signers.append(str(key))
        if at is not None:
            times.append((str(key), at))
    if not signers:
        raise SignatureError("note: not signed by a known key")
    return OpenedNote(text=text, signers=tuple(signers), times=tuple(times), unknown=tuple(unknown))


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint with who vouches for having seen it. Only `open_cosigned` makes one.

    Attributes:
        checkpoint: the log's commitment.
        cosigners: vkey and time (UTC) of each cosignature, in the order of their lines.
    """

    checkpoint: Checkpoint
    cosigners: tuple[tuple[str, datetime], ...]


def open_cosigned(note: str, log_vkey: str, required: Sequence[str] = (), known: Sequence[str] = ()) -> Cosigned:
    """The checkpoint of a signed note: signed by its log, cosigned by every required witness and maybe by known ones.

    A line by any other key refuses the note: what is accepted holds nothing unverified.

    Raises:
        MalformedError: not a note or not a checkpoint, or a vkey is not one.
        SignatureError: a signature is wrong, or a line is by another key.
        LogError: it is of another log, or the log or a required witness has not signed it.
    """
    opened = open_note(note, [log_vkey, *required, *known])
    if opened.unknown:
        raise SignatureError(f"checkpoint: signature by unknown key {opened.unknown[0][:80]!r}")
    for vkey in (log_vkey, *required):
        if vkey not in opened.signers:
            raise LogError(f"checkpoint: not signed by {LogKey.parse(vkey).name}")
    checkpoint = Checkpoint.parse(opened.text)
    check_origin(checkpoint, LogKey.parse(log_vkey).name)
    return Cosigned(checkpoint, opened.times)


def open_checkpoint(note: str, log_vkey: str, witnesses: Sequence[str] = ()) -> Checkpoint:
    """The checkpoint of a note that its log signed and every witness cosigned; raises what `open_cosigned` does."""
    return open_cosigned(note, log_vkey, witnesses).checkpoint


def cosignature_line(note: str, vkey: str) -> str:
    """The one line of a note that this key wrote, ended by a newline; nothing is verified.

    Raises:
        MalformedError: not a note, or no line is by this key.
    """
    _, lines = _split(note)
    key = LogKey.parse(vkey)
    for line in lines:
        name, raw = _read_line(line)
        if name == key.name and raw[:ID_BYTES] == key.id:
            return line + "\n"
    raise MalformedError(f"note: no line by {key.name}")


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _is_plain(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


def _split(note: str) -> tuple[str, list[str]]:
    if len(note) > MAX_NOTE or not _is_plain(note):
        raise MalformedError("note: too long, or holds a control character")
    text, gap, lines = note.rpartition("\n\n")
    if not gap or not lines.endswith("\n"):
        raise MalformedError("note: not a text, an empty line and signature lines")
    return text + "\n", lines[:-1].split("\n")


def _read_line(line: str) -> tuple[str, bytes]:
    name, space, encoded = line.removeprefix(SIGNATURE_MARK).partition(" ")
    if not line.startswith(SIGNATURE_MARK) or not space or not KEY_NAME.fullmatch(name):
        raise MalformedError("note: a signature line is not a dash, a key name and base64")
    raw = decode_base64(encoded, "note: signature")
    if len(raw) <= ID_BYTES:
        raise MalformedError("note: a signature is too short")
    return name, raw


def _verify_line(key: LogKey, raw: bytes, text: str) -> datetime | None:
    """When the cosigner signed, or None for the log's own signature."""
    if key.type is KeyType.ED25519:
        _verify(key, raw, text.encode("utf-8"))
        return None
    seconds = int.from_bytes(raw[:_TIME_BYTES], "big")
    _verify(key, raw[_TIME_BYTES:], _cosigned(text, seconds))
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise MalformedError(f"note: cosignature by {key.name} is of no time that exists") from error


def _verify(key: LogKey, signature: bytes, signed: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, signed)
    except InvalidSignature as error:
        raise SignatureError(f"note: signature by {key.name} is wrong") from error
