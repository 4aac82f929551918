"""Keys behind a URI: a real PKCS#11 token (SoftHSM) signs, and whatever cannot be used is said in one line."""

from collections.abc import Iterator

import pytest
from tokens import PIN, Token, soft_token
from trust.samples import Keys, make_contract

from severable_trust.contract import Contract
from severable_trust.errors import SignerError
from severable_trust.key_uri import open_signer
from severable_trust.keys import PemSigner
from severable_trust.statement import open_statement, sign_statement


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    with soft_token(tmp_path_factory.mktemp("token"), 2, 3) as made:
        yield made


def test_a_key_in_a_token_signs_statements_like_any_other(token: Token, keys: Keys) -> None:
    signer = open_signer(token.uri(2), token.keys[2], lambda: PIN)
    contract = make_contract(keys)
    proven = open_statement(sign_statement(contract, signer), Contract, [token.keys[2]])
    assert proven.value == contract


def test_a_wrong_pin_is_said_in_one_line(token: Token) -> None:
    with pytest.raises(SignerError, match=r"key hsm:2\?label=federation: does not sign: PinIncorrect"):
        open_signer(token.uri(2), token.keys[2], lambda: "0815")


def test_a_key_that_does_not_belong_to_its_public_half_is_refused(token: Token) -> None:
    with pytest.raises(SignerError, match="signs with another key"):
        open_signer(token.uri(3), token.keys[2], lambda: PIN)


@pytest.mark.parametrize("uri", ["hsm:9?label=federation", "hsm:2?label=nobody"])
def test_a_key_or_token_that_is_not_there_is_said_in_one_line(token: Token, uri: str) -> None:
    with pytest.raises(SignerError, match=r"does not sign|cannot be opened") as refused:
        open_signer(uri, token.keys[2], lambda: PIN)
    assert "\n" not in str(refused.value)


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    key = PemSigner.generate().public_key
    with pytest.raises(SignerError, match=r"scheme 'carrier-pigeon' is none of .*hsm"):
        open_signer("carrier-pigeon:1", key, lambda: PIN)
