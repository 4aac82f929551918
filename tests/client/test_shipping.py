"""Shipping against a coordinator in memory whose streams break where a test says."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from client.memory_coordinator import SHARD, MemoryCoordinator
from hypothesis import given
from hypothesis import strategies as st

from severable_client.errors import AnswerError, RefusedByCoordinatorError, UnreachableError
from severable_client.exchange import FileChunk, Upload, Verdict
from severable_client.shipping import Parcel, Patience, ship

FILES = {"config.json": b"c" * 10, "manifest.json": b"", "model.safetensors": bytes(range(256)) * 100}
QUICK = Patience(tries=4, first_s=0.5, longest_s=1.5)


def parcel(files: Mapping[str, bytes] = FILES) -> Parcel:
    sizes = {name: len(data) for name, data in files.items()}
    return Parcel(claim=b"claim", shard=SHARD, sizes=sizes, open=lambda name: io.BytesIO(files[name]))


def shipped(coordinator: MemoryCoordinator, waits: list[float] | None = None, patience: Patience = QUICK) -> Verdict:
    sleep = waits.append if waits is not None else (lambda _: None)
    return ship(parcel(), coordinator, patience=patience, sleep=sleep, on_progress=lambda _done, _total: None)


def without_empty(held: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in held.items() if data}


def test_every_byte_arrives_and_the_verdict_comes_back() -> None:
    coordinator = MemoryCoordinator()
    assert shipped(coordinator).admitted
    assert without_empty(coordinator.held) == without_empty(FILES)


@given(cuts=st.lists(st.integers(min_value=1, max_value=5), max_size=6))
def test_wherever_streams_break_every_byte_is_sent_exactly_once(cuts: list[int]) -> None:
    coordinator = MemoryCoordinator(cuts=list(cuts))
    assert shipped(coordinator).admitted
    assert without_empty(coordinator.held) == without_empty(FILES)
    assert coordinator.taken == sum(map(len, FILES.values()))


def test_patience_runs_out_when_nothing_moves() -> None:
    waits: list[float] = []
    with pytest.raises(UnreachableError, match="gave up shipping after 4 tries"):
        shipped(MemoryCoordinator(cuts=[0] * 10), waits)
    assert waits == [0.5, 1.0, 1.5]


def test_progress_renews_patience() -> None:
    coordinator = MemoryCoordinator(cuts=[0, 0, 1, 0, 0, 1, 0, 0, 1])
    assert shipped(coordinator).admitted


def test_a_finished_upload_sends_nothing() -> None:
    class Finished(MemoryCoordinator):
        def open_upload(self, claim: bytes) -> Upload:
            return replace(super().open_upload(claim), finished=True)

    coordinator = Finished()
    assert shipped(coordinator) == Verdict(admitted=True, shard=SHARD, reason="")
    assert coordinator.taken == 0


def test_a_refusal_of_the_claim_is_not_tried_again() -> None:
    class Refusing(MemoryCoordinator):
        def open_upload(self, claim: bytes) -> Upload:
            super().open_upload(claim)
            raise RefusedByCoordinatorError("PERMISSION_DENIED", "not your task")

    coordinator = Refusing()
    with pytest.raises(RefusedByCoordinatorError, match="not your task"):
        shipped(coordinator)
    assert coordinator.opened == 1


def test_a_chunk_refused_once_is_looked_at_again_and_twice_is_final() -> None:
    class Strict(MemoryCoordinator):
        refusals = 1

        def send(self, upload: str, chunks: Iterator[FileChunk]) -> Mapping[str, int]:
            if self.refusals:
                self.refusals -= 1
                raise RefusedByCoordinatorError("PERMISSION_DENIED", "chunk at 0, but 10 bytes are held")
            return super().send(upload, chunks)

    assert shipped(Strict()).admitted
    stubborn = Strict()
    stubborn.refusals = 9
    with pytest.raises(RefusedByCoordinatorError, match="10 bytes are held"):
        shipped(stubborn)
    assert stubborn.opened == 2


def test_a_refused_shard_is_a_verdict_and_no_error() -> None:
    refused = Verdict(admitted=False, shard="", reason="step 8: another shape")
    assert shipped(MemoryCoordinator(verdict=refused)) == refused


def test_a_verdict_on_another_shard_is_refused() -> None:
    other = Verdict(admitted=True, shard="sha256:" + "cd" * 32, reason="")
    with pytest.raises(AnswerError, match="sent was"):
        shipped(MemoryCoordinator(verdict=other))


@pytest.mark.parametrize("held", [{"config.json": b"c" * 11}, {"passwd": b"x"}])
def test_offsets_that_make_no_sense_are_refused(held: dict[str, bytes]) -> None:
    with pytest.raises(AnswerError, match="coordinator"):
        shipped(MemoryCoordinator(held=held))


def test_progress_is_told_up_to_the_whole() -> None:
    told: list[tuple[int, int]] = []
    ship(parcel(), MemoryCoordinator(), patience=QUICK, sleep=lambda _: None, on_progress=lambda *t: told.append(t))
    total = sum(map(len, FILES.values()))
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
