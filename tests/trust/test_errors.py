import pytest
from hypothesis import given
from hypothesis import strategies as st

from severable_trust.digest import Digest
from severable_trust.errors import (
    MAX_MESSAGE,
    AdmissionError,
    ContractError,
    LogError,
    MalformedError,
    SignatureError,
    StatementError,
    TrustError,
)

FAMILY = [MalformedError, SignatureError, StatementError, LogError, ContractError]


@given(st.sampled_from(FAMILY), st.text())
def test_a_message_is_one_printable_line_whatever_it_quotes(kind: type[TrustError], text: str) -> None:
    shown = str(kind(text))
    assert shown.isprintable()
    assert len(shown) == len(text)


def test_a_message_is_cut_when_it_quotes_too_much() -> None:
    shown = str(MalformedError("x" * 10_000))
    assert len(shown) == MAX_MESSAGE
    assert shown.endswith("...")


def test_what_was_received_cannot_move_the_cursor() -> None:
    with pytest.raises(MalformedError) as caught:
        Digest.parse("\x1b[2J\nverified: receipt:00")
    assert str(caught.value).isprintable()


def test_an_admission_error_keeps_its_step_and_reason() -> None:
    error = AdmissionError("9 finite", "tensor 'a' holds NaN")
    assert (error.step, error.reason) == ("9 finite", "tensor 'a' holds NaN")
    assert str(error) == "shard refused at step 9 finite: tensor 'a' holds NaN"
    assert isinstance(error, TrustError)
