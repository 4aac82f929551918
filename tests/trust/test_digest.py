import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from severable_trust.digest import Digest, FileDigest, check_name, measure
from severable_trust.errors import MalformedError

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


def test_a_digest_is_sha256_and_says_so() -> None:
    assert str(Digest.of(b"abc")) == f"sha256:{ABC}"


@given(st.binary())
def test_a_digest_survives_its_text(data: bytes) -> None:
    digest = Digest.of(data)
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        ABC,
        f"sha512:{ABC}",
        f"sha256:{ABC.upper()}",
        f"sha256:{ABC[1:]}",
        f"sha256:{ABC}0",
        f"sha256:{ABC}\n",
        f"sha256 {ABC}",
        f"sha256:{ABC[1:]}\u0661",
    ],
)
def test_text_that_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        Digest.parse(text)


def test_digests_are_ordered_by_their_digits() -> None:
    digests = [Digest("f" * 64), Digest("0" * 64)]
    assert sorted(digests) == digests[::-1]


@pytest.mark.parametrize("name", ["a", "model.safetensors", "unet/config.json", "a..b", "...", "-x"])
def test_a_plain_relative_name_is_accepted(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "..",
        ".",
        "a/../b",
        "a/./b",
        "../a",
        "a/",
        "a//b",
        "a\\b",
        "c:a",
        "a b",
        "a\n",
        "a\x00",
        "\u00e4",
        "a" * 256,
    ],
)
def test_a_name_that_could_leave_its_directory_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        FileDigest.of(name, b"")


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(MalformedError, match="negative"):
        FileDigest(name="a", size=-1, digest=Digest.of(b""))


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_stream_is_measured_from_its_beginning(size: int) -> None:
    data = b"x" * size
    stream = io.BytesIO(data)
    stream.seek(size // 2)
    assert measure(stream) == (size, Digest.of(data))
