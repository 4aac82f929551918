from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust.samples import NOON

from severable_trust.checkpoint import encode_base64
from severable_trust.errors import LogError, MalformedError, SignatureError, TrustError
from severable_trust.keys import PemSigner
from severable_trust.note import (
    Checkpoint,
    KeyType,
    LogKey,
    LogSigner,
    cosign,
    open_checkpoint,
    open_note,
    sign_note,
)

LOG = LogSigner.generate("log.example")
WITNESS = LogSigner.generate("alice.example/witness", KeyType.COSIGNATURE)
STRANGER = LogSigner.generate("stranger")
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
CHECKPOINT = Checkpoint("log.example", 3, bytes(range(32)))

# The example of Go's golang.org/x/mod/sumdb/note, the format's first implementation.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    TEXT + "\n\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_of_another_implementation_is_accepted() -> None:
    opened = open_note(GO_NOTE, [GO_VKEY])
    assert opened.text == TEXT
    assert opened.signers == (GO_VKEY,)


def test_a_signed_note_opens_to_its_text() -> None:
    opened = open_note(sign_note(TEXT, LOG), [LOG.vkey])
    assert (opened.text, opened.signers, opened.times, opened.unknown) == (TEXT, (LOG.vkey,), (), ())


def test_a_cosignature_says_when_it_was_made() -> None:
    note = cosign(sign_note(TEXT, LOG), WITNESS, NOON)
    opened = open_note(note, [LOG.vkey, WITNESS.vkey])
    assert opened.signers == (LOG.vkey, WITNESS.vkey)
    assert opened.times == ((WITNESS.vkey, NOON),)


def test_the_time_of_a_cosignature_is_signed() -> None:
    early, late = (cosign(sign_note(TEXT, LOG), WITNESS, moment) for moment in (NOON, NOON.replace(year=2027)))
    raw_early, raw_late = (note.splitlines()[-1].split(" ")[2] for note in (early, late))
    # key id and time of the later one, signature of the earlier one: the first 16 base64 digits are those 12 bytes
    with pytest.raises(SignatureError, match="wrong"):
        open_note(early.replace(raw_early, raw_late[:16] + raw_early[16:]), [LOG.vkey, WITNESS.vkey])


def test_a_line_of_an_unknown_key_is_skipped_and_listed() -> None:
    note = cosign(sign_note(TEXT, LOG), WITNESS, NOON)
    assert open_note(note, [LOG.vkey]).unknown == (WITNESS.key.name,)


def test_a_note_that_no_known_key_signed_is_refused() -> None:
    with pytest.raises(SignatureError, match="known key"):
        open_note(sign_note(TEXT, LOG), [STRANGER.vkey])


def test_a_key_of_the_same_name_is_another_key() -> None:
    with pytest.raises(SignatureError, match="known key"):
        open_note(sign_note(TEXT, LOG), [LogSigner.generate("log.example").vkey])


def test_a_wrong_signature_of_a_known_key_refuses_a_note_that_another_signed() -> None:
    note = cosign(sign_note(TEXT, LOG), WITNESS, NOON)
    line = sign_note("other\n", LOG).splitlines()[-1]
    forged = note.replace(note.splitlines()[-2], line)
    with pytest.raises(SignatureError, match=r"log\.example is wrong"):
        open_note(forged, [LOG.vkey, WITNESS.vkey])


def test_a_second_line_of_one_key_is_refused() -> None:
    note = sign_note(TEXT, LOG)
    with pytest.raises(SignatureError, match="two signatures"):
        open_note(note + note.splitlines()[-1] + "\n", [LOG.vkey])


@given(st.data())
def test_a_change_of_the_text_or_the_signature_is_refused(data: st.DataObject) -> None:
    raw = bytearray(cosign(sign_note(CHECKPOINT.text, LOG), WITNESS, NOON).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return
    with pytest.raises(TrustError):
        open_checkpoint(text, LOG.vkey, [WITNESS.vkey])


@pytest.mark.parametrize(
    ("note", "why"),
    [
        ("", "not a text"),
        ("text\n", "not a text"),
        ("text\n\n", "not a text"),
        ("text\n\n\u2014 log.example AAAAAAAA", "not a text"),
        ("text\n\nlog.example AAAAAAAA\n", "not a dash"),
        ("text\n\n\u2014 log.example\n", "not a dash"),
        ("text\n\n\u2014 log+example AAAAAAAA\n", "not a dash"),
        ("text\n\n\u2014 log.example !\n", "not base64"),
        ("text\n\n\u2014 log.example AAAAAAAA AAAA\n", "not base64"),
        ("text\n\n\u2014 log.example AAAA\n", "too short"),
        ("te\rxt\n\n\u2014 log.example AAAAAAAA\n", "control character"),
        ("te\x00xt\n\n\u2014 log.example AAAAAAAA\n", "control character"),
        ("x" * 70_000 + "\n\n\u2014 log.example AAAAAAAA\n", "too long"),
    ],
)
def test_text_that_is_no_note_is_refused(note: str, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        open_note(note, [LOG.vkey])


@pytest.mark.parametrize("length", [0, 1, 63, 65])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    raw = encode_base64(LOG.key.id + b"\x01" * length)
    with pytest.raises((MalformedError, SignatureError), match=r"too short|is wrong"):
        open_note(f"{TEXT}\n\u2014 log.example {raw}\n", [LOG.vkey])


def test_a_cosignature_of_a_time_beyond_all_calendars_is_refused() -> None:
    note, beyond = sign_note(TEXT, LOG), (1 << 63).to_bytes(8, "big")
    line = WITNESS.line(f"cosignature/v1\ntime {1 << 63}\n{TEXT}".encode(), beyond)
    with pytest.raises(MalformedError, match="no time that exists"):
        open_note(note + line, [LOG.vkey, WITNESS.vkey])


def test_a_checkpoint_with_a_line_of_a_stranger_is_refused() -> None:
    note = cosign(sign_note(CHECKPOINT.text, LOG), WITNESS, NOON)
    with pytest.raises(SignatureError, match="unknown key"):
        open_checkpoint(note, LOG.vkey)


def test_a_cosignature_too_short_for_its_time_is_refused() -> None:
    note = sign_note(TEXT, LOG)
    line = f"\u2014 {WITNESS.key.name} " + "AAAA"
    with pytest.raises((MalformedError, SignatureError)):
        open_note(f"{note}{line}\n", [LOG.vkey, WITNESS.vkey])


def test_keys_do_what_their_type_says() -> None:
    with pytest.raises(ValueError, match="cosigns"):
        sign_note(TEXT, WITNESS)
    with pytest.raises(ValueError, match="does not cosign"):
        cosign(sign_note(TEXT, LOG), LOG, NOON)
    with pytest.raises(ValueError, match="newline"):
        sign_note("no newline", LOG)
    with pytest.raises(MalformedError):
        cosign("no note", WITNESS, NOON)
    with pytest.raises(MalformedError):
        cosign(sign_note(TEXT, LOG), WITNESS, datetime(2026, 1, 1, microsecond=5, tzinfo=UTC))


@pytest.mark.parametrize("signer", [LOG, WITNESS])
def test_a_key_survives_its_text_and_its_pem(signer: LogSigner) -> None:
    assert LogKey.parse(signer.vkey) == signer.key
    assert str(LogKey.parse(signer.vkey)) == signer.vkey
    assert LogSigner(signer.key.name, signer.private_pem(), signer.key.type).vkey == signer.vkey


def test_known_keys_of_others_are_read() -> None:
    go_checksum_database = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert str(LogKey.parse(go_checksum_database)) == go_checksum_database


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a3+",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeuman+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AQ==",
    ],
)
def test_text_that_is_no_key_is_refused(vkey: str) -> None:
    with pytest.raises(MalformedError):
        LogKey.parse(vkey)


def test_a_private_key_of_another_kind_is_refused() -> None:
    with pytest.raises(MalformedError, match="Ed25519"):
        LogSigner("log.example", PemSigner.generate().private_pem())
    with pytest.raises(MalformedError, match="PEM"):
        LogSigner("log.example", b"")


def test_a_checkpoint_opens_under_its_logs_key() -> None:
    assert open_checkpoint(sign_note(CHECKPOINT.text, LOG), LOG.vkey) == CHECKPOINT


def test_a_checkpoint_of_another_origin_is_refused_though_well_signed() -> None:
    note = sign_note(replace(CHECKPOINT, origin="other.example").text, LOG)
    with pytest.raises(LogError, match=r"other\.example"):
        open_checkpoint(note, LOG.vkey)


def test_a_checkpoint_that_only_its_witness_signed_is_refused() -> None:
    note = cosign(sign_note(CHECKPOINT.text, LOG), WITNESS, NOON)
    lines = note.splitlines(keepends=True)
    with pytest.raises(LogError, match=r"not signed by log\.example"):
        open_checkpoint("".join([*lines[:-2], lines[-1]]), LOG.vkey, [WITNESS.vkey])
