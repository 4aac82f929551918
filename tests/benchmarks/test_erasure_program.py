"""The benchmark of erasures runs, and compares what it says it compares."""

import erasure


def test_a_small_run_trains_one_sub_shard_and_then_all() -> None:
    figures = erasure.measure(k=2, records=64, turns=1, epochs=1)
    ((one,), (both,)) = figures["erase_and_retrain_one"], figures["retrain_all"]
    assert (figures["k"], both["images"]) == (2, 63)
    assert 0 < one["images"] < both["images"]
    assert figures["erase_speedup"] == both["processor_s"] / one["processor_s"]
