import pytest
from hypothesis import given
from hypothesis import strategies as st

from severable_trust.checkpoint import Checkpoint, LogProof
from severable_trust.errors import MalformedError

HASHES = st.binary(min_size=32, max_size=32)
SIZES = st.integers(0, 10**18)
ROOT = "A" * 43 + "="
CHECKPOINT = f"log.example\n3\n{ROOT}\n"
PROOF = f"c2sp.org/tlog-proof@v1\nindex 1\n{ROOT}\n{ROOT}\n\n{CHECKPOINT}\n\u2014 log.example AAAA\n"


@given(st.text("abc./-", min_size=1, max_size=9), SIZES, HASHES)
def test_a_checkpoint_survives_its_text(origin: str, size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin, size, root)
    assert Checkpoint.parse(checkpoint.text) == checkpoint


@given(SIZES, st.lists(HASHES, max_size=5).map(tuple))
def test_a_proof_survives_its_text(index: int, hashes: tuple[bytes, ...]) -> None:
    proof = LogProof(index, hashes, f"{CHECKPOINT}\n\u2014 log.example AAAA\n")
    assert LogProof.parse(proof.to_text()) == proof


def test_texts_survive_being_read() -> None:
    assert Checkpoint.parse(CHECKPOINT).text == CHECKPOINT
    assert LogProof.parse(PROOF).to_text() == PROOF
    assert LogProof.parse(PROOF).hashes == (bytes(32), bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        CHECKPOINT[:-1],
        CHECKPOINT + "extension\n",
        f"\n3\n{ROOT}\n",
        f"log example\n3\n{ROOT}\n",
        f"log+example\n3\n{ROOT}\n",
        f"log.example\n03\n{ROOT}\n",
        f"log.example\n-3\n{ROOT}\n",
        f"log.example\n+3\n{ROOT}\n",
        f"log.example\n3 \n{ROOT}\n",
        f"log.example\n\u0663\n{ROOT}\n",
        f"log.example\n{'9' * 30}\n{ROOT}\n",
        "log.example\n3\nAAAA\n",
        f"log.example\n3\n{ROOT[:-2]}B=\n",
        f"log.example\n3\n{ROOT[:-1]}\n",
    ],
)
def test_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\n",
        PROOF.replace("@v1", "@v2"),
        PROOF.replace("index 1", "index 01"),
        PROOF.replace("index 1", "index -1"),
        PROOF.replace("index 1", "extra AAAA\nindex 1"),
        PROOF.replace("index 1", "1"),
        PROOF.replace(f"{ROOT}\n\n", f"{ROOT}\n", 1),
        PROOF.replace(f"{ROOT}\n\n", f"{ROOT}\nAAAA\n\n", 1),
        PROOF.replace(f"{ROOT}\n\n", f"{ROOT}\n" * 70 + "\n", 1),
    ],
)
def test_text_that_is_no_proof_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        LogProof.parse(text)


def test_values_that_no_text_could_write_are_refused() -> None:
    for make in (
        lambda: Checkpoint("log.example", -1, bytes(32)),
        lambda: Checkpoint("log.example", 1, bytes(31)),
        lambda: LogProof(-1, (), CHECKPOINT),
        lambda: LogProof(0, (b"",), CHECKPOINT),
    ):
        with pytest.raises(MalformedError):
            make()
