import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer import Key as OtherKey

from severable_trust.canonical import decode, encode
from severable_trust.envelope import Envelope, Signature, pae, sign, verify
from severable_trust.errors import MalformedError, SignatureError, TrustError
from severable_trust.keys import PemSigner, Signer

TYPE = "text/plain"
ALICE, BOB = PemSigner.generate(), PemSigner.generate()
SIGNED = sign(b"payload", TYPE, [ALICE]).to_bytes()  # once: another signing may have another length
SIGNATURES = st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.binary(min_size=1)), min_size=1, max_size=4)


def keys(*signers: Signer) -> list[Any]:
    return [signer.public_key for signer in signers]


@given(st.binary(), st.text(), SIGNATURES)
def test_an_envelope_survives_its_bytes(payload: bytes, payload_type: str, signed: list[tuple[bytes, bytes]]) -> None:
    signatures = tuple(Signature(key.hex(), value) for key, value in sorted(dict(signed).items()))
    envelope = Envelope(payload, payload_type, signatures)
    assert Envelope.parse(envelope.to_bytes()) == envelope
    assert Envelope.parse(envelope.to_bytes()).to_bytes() == envelope.to_bytes()


def test_the_signed_bytes_are_those_of_the_dsse_specification() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md, test vector
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_the_length_of_a_type_is_counted_in_bytes() -> None:
    assert pae("\u20ac", b"") == b"DSSEv1 3 \xe2\x82\xac 0 "


def test_both_signers_of_an_envelope_are_named_in_order() -> None:
    envelope = sign(b"payload", TYPE, [ALICE, BOB])
    assert verify(envelope, keys(BOB, ALICE), 2) == tuple(sorted([ALICE.public_key.key_id, BOB.public_key.key_id]))


def test_countersigning_gives_the_envelope_that_both_would_have_signed() -> None:
    envelope = sign(b"payload", TYPE, [ALICE]).countersigned(BOB)
    assert len(verify(envelope, keys(ALICE, BOB), 2)) == 2
    with pytest.raises(SignatureError, match="already"):
        envelope.countersigned(ALICE)


def test_another_implementation_accepts_our_envelope() -> None:
    value: Any = decode(sign(b"payload", TYPE, [ALICE, BOB]).to_bytes(), "envelope")
    theirs = OtherEnvelope.from_dict(value)
    form = {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256"}
    known = [OtherKey.from_dict(k.key_id, {**form, "keyval": {"public": k.pem}}) for k in keys(ALICE, BOB)]
    assert len(theirs.verify(known, 2)) == 2


def test_a_signature_over_another_type_is_refused() -> None:
    envelope = sign(b"payload", TYPE, [ALICE])
    with pytest.raises(SignatureError, match="wrong"):
        verify(Envelope(b"payload", "text/html", envelope.signatures), keys(ALICE), 1)


def test_a_signature_over_another_payload_is_refused() -> None:
    envelope = sign(b"payload", TYPE, [ALICE])
    with pytest.raises(SignatureError, match="wrong"):
        verify(Envelope(b"pay1oad", TYPE, envelope.signatures), keys(ALICE), 1)


def test_an_unknown_signature_refuses_the_envelope_though_enough_known_ones_hold() -> None:
    with pytest.raises(SignatureError, match="unknown key"):
        verify(sign(b"payload", TYPE, [ALICE, BOB]), keys(ALICE), 1)


def test_too_few_signatures_are_refused() -> None:
    with pytest.raises(SignatureError, match="1 of the 2"):
        verify(sign(b"payload", TYPE, [ALICE]), keys(ALICE, BOB), 2)


def test_one_key_listed_twice_does_not_count_as_two() -> None:
    with pytest.raises(SignatureError, match="listed twice"):
        verify(sign(b"payload", TYPE, [ALICE]), keys(ALICE, ALICE), 1)


def test_a_signature_under_the_id_of_another_key_is_refused() -> None:
    (signature,) = sign(b"payload", TYPE, [ALICE]).signatures
    forged = Envelope(b"payload", TYPE, (Signature(BOB.public_key.key_id, signature.value),))
    with pytest.raises(SignatureError, match="wrong"):
        verify(forged, keys(ALICE, BOB), 1)


def test_calls_that_make_no_sense_are_the_callers_error() -> None:
    with pytest.raises(ValueError, match="threshold"):
        verify(sign(b"", TYPE, [ALICE]), keys(ALICE), 0)
    with pytest.raises(ValueError, match="at least one"):
        sign(b"", TYPE, [])
    with pytest.raises(ValueError, match="twice"):
        sign(b"", TYPE, [ALICE, ALICE])


def members() -> dict[str, Any]:
    value: Any = decode(sign(b"payload", TYPE, [ALICE]).to_bytes(), "envelope")
    return dict(value)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"payload": 1},
        {"payload": "!"},
        {"payload": "cGF5bG9hZA"},  # padding is missing
        {"payload": "cGF5bG9hZB=="},  # stray bits in the last character
        {"payload": "cGF5\nbG9hZA=="},
        {"payloadType": None},
        {"signatures": []},
        {"signatures": {}},
        {"signatures": [{"keyid": "00", "sig": "AA=="}]},
        {"signatures": [{"keyid": "0" * 64, "sig": ""}]},
        {"signatures": [{"keyid": "0" * 64, "sig": "AA==", "cert": ""}]},
        {"signatures": [{"keyid": 5, "sig": "AA=="}]},
        {"signatures": [{"sig": "AA=="}]},
        {"signatures": ["AA=="]},
        {"signatures": [{"keyid": "0" * 64, "sig": "AA=="}] * 2},
        {"signatures": [{"keyid": "1" * 64, "sig": "AA=="}, {"keyid": "0" * 64, "sig": "AA=="}]},
        {"signatures": [{"keyid": f"{n:064x}", "sig": "AA=="} for n in range(17)]},
    ],
)
def test_an_envelope_of_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        Envelope.parse(encode({**members(), **change}))


@pytest.mark.parametrize("member", ["payload", "payloadType", "signatures"])
def test_an_envelope_without_a_member_is_refused(member: str) -> None:
    value = members()
    del value[member]
    with pytest.raises(MalformedError):
        Envelope.parse(encode(value))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_as_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Envelope.parse(data)


@given(st.data())
def test_a_random_change_of_an_envelope_is_refused(data: st.DataObject) -> None:
    raw = bytearray(SIGNED)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(TrustError):
        verify(Envelope.parse(bytes(raw)), keys(ALICE), 1)


def test_the_payload_is_plain_base64_that_any_tool_decodes() -> None:
    assert base64.b64decode(members()["payload"]) == b"payload"
