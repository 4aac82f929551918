"""A receipt bundle has one spelling, all of which is authenticated: no change of one byte is accepted.

The quick tests cover every byte too: those of the signed parts on their own, the others in the whole bundle. The slow
ones leave no argument about parts: the whole bundle, every byte, one after the other (`make soak`).
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from trust.log_samples import CONTRACT, SHARD, WholeLog
from trust.samples import Federation

from severable_trust.bundle import verify_receipt
from severable_trust.errors import TrustError
from severable_trust.log_bundle import verify_log_bundle
from severable_trust.statement import Proven, open_statement


def accepted(variants: Iterable[tuple[int, bytes]], verify: Callable[[bytes], object]) -> list[int]:
    """The positions whose change is not refused; any error but a TrustError ends the test."""
    found = []
    for position, data in variants:
        try:
            verify(data)
        except TrustError:
            continue
        found.append(position)
    return found


def flipped(data: bytes, positions: Iterable[int]) -> Iterable[tuple[int, bytes]]:
    """One bit of one byte changed; which bit goes round, so that every kind of change comes up everywhere."""
    for position in positions:
        altered = bytearray(data)
        altered[position] ^= 1 << position % 7
        yield position, bytes(altered)


def left_out(data: bytes) -> Iterable[tuple[int, bytes]]:
    return ((position, data[:position] + data[position + 1 :]) for position in range(len(data)))


def test_every_change_of_one_byte_outside_the_payloads_is_refused(federation: Federation) -> None:
    data = federation.bundle().to_bytes()
    payloads = [range(*match.span(1)) for match in re.finditer(rb'"payload":"([^"]+)"', data)]
    outside = [position for position in range(len(data)) if not any(position in span for span in payloads)]
    assert (len(payloads), len(outside) > 1000) == (4, True)
    assert accepted(flipped(data, outside), lambda altered: verify_receipt(altered, federation.root)) == []


@pytest.mark.parametrize("name", ["receipt", "request", "contract", "roster"])
def test_every_change_of_one_byte_of_a_signed_part_is_refused(federation: Federation, name: str) -> None:
    proven: Proven[Any] = getattr(federation, name)
    keys = [federation.keys.coordinator.public_key, federation.keys.alice.public_key]
    data = proven.envelope.to_bytes()
    kind = type(proven.value)
    assert accepted(flipped(data, range(len(data))), lambda altered: open_statement(altered, kind, keys)) == []


@pytest.mark.soak
@pytest.mark.integration
def test_every_change_of_one_byte_of_a_bundle_is_refused(federation: Federation) -> None:
    data = federation.bundle().to_bytes()
    assert accepted(flipped(data, range(len(data))), lambda altered: verify_receipt(altered, federation.root)) == []


@pytest.mark.integration
def test_a_bundle_with_any_byte_left_out_is_refused(federation: Federation) -> None:
    data = federation.bundle().to_bytes()
    assert accepted(left_out(data), lambda altered: verify_receipt(altered, federation.root)) == []


def test_a_truncated_bundle_is_refused(federation: Federation) -> None:
    data = federation.bundle().to_bytes()
    cut = ((length, data[:length]) for length in range(0, len(data), 97))
    assert accepted(cut, lambda altered: verify_receipt(altered, federation.root)) == []


def small_log(log: WholeLog) -> bytes:
    """A contract, an erased shard and the roster."""
    return log.of(log.entries[CONTRACT], log.entries[SHARD]).to_bytes()


def test_every_change_of_one_byte_of_a_log_outside_the_payloads_is_refused(log: WholeLog) -> None:
    data = small_log(log)
    verify_log_bundle(data, log.federation.root)
    payloads = [range(*match.span(1)) for match in re.finditer(rb'"payload":"([^"]+)"', data)]
    outside = [position for position in range(len(data)) if not any(position in span for span in payloads)]
    assert (len(payloads), len(outside) > 1000) == (3, True)
    assert accepted(flipped(data, outside), lambda altered: verify_log_bundle(altered, log.federation.root)) == []


@pytest.mark.soak
@pytest.mark.integration
def test_every_change_of_one_byte_of_a_log_is_refused(log: WholeLog) -> None:
    data = small_log(log)
    assert (
        accepted(flipped(data, range(len(data))), lambda altered: verify_log_bundle(altered, log.federation.root)) == []
    )


@pytest.mark.integration
def test_a_log_with_any_byte_left_out_is_refused(log: WholeLog) -> None:
    assert accepted(left_out(small_log(log)), lambda altered: verify_log_bundle(altered, log.federation.root)) == []


def test_a_truncated_log_is_refused(log: WholeLog) -> None:
    data = small_log(log)
    cut = ((length, data[:length]) for length in range(0, len(data), 97))
    assert accepted(cut, lambda altered: verify_log_bundle(altered, log.federation.root)) == []
