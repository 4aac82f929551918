from dataclasses import replace
from typing import Any

import pytest
from trust.samples import Federation

from severable_trust.bundle import TrustRoot
from severable_trust.canonical import decode, encode
from severable_trust.errors import MalformedError, StatementError
from severable_trust.note import KeyType, LogSigner

WITNESS = LogSigner.generate("witness", KeyType.COSIGNATURE).vkey


def test_a_trust_root_survives_its_bytes(federation: Federation) -> None:
    for root in (federation.root, replace(federation.root, witnesses=(WITNESS,))):
        assert TrustRoot.parse(root.to_bytes()) == root
        assert TrustRoot.parse(root.to_bytes()).to_bytes() == root.to_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"format": "severable-trust-root/v2"},
        {"coordinator_id": "a b"},
        {"coordinator_key": "none"},
        {"log_vkey": "none"},
        {"log_vkey": WITNESS},
        {"witnesses": [WITNESS, WITNESS]},
        {"witnesses": ["none"]},
        {"more": 1},
    ],
)
def test_a_trust_root_of_another_form_is_refused(federation: Federation, change: dict[str, Any]) -> None:
    value = decode(federation.root.to_bytes(), "trust root")
    assert isinstance(value, dict)
    with pytest.raises(MalformedError):
        TrustRoot.parse(encode({**value, **change}))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}"])
def test_bytes_that_are_no_trust_root_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        TrustRoot.parse(data)


def test_the_logs_own_key_is_no_witness(federation: Federation) -> None:
    with pytest.raises(MalformedError, match="witness"):
        replace(federation.root, witnesses=(federation.root.log_vkey,))
    with pytest.raises(StatementError, match="twice"):
        replace(federation.root, witnesses=(WITNESS, WITNESS))
