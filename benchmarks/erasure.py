"""Measure what erasing one record costs at K sub-shards, against training all of them again; write it down.

    PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/erasure.py

In turns within this run, on one thread: a record is erased (found by its id, put on the list), and the sub-shard that
held it is prepared, trained, measured by the gate and signed; then the same is done with all K sub-shards. The recipe's
epochs are the same, so steps follow the images. Processor seconds count; the sums over the turns are compared.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import recording
from client.samples import NONCE, TINY, Federation
from PIL import Image

from severable_client.adapters.data_folder import open_source
from severable_client.adapters.erased import FileErasedStore
from severable_client.adapters.prepared_images import Wanted, prepare_set
from severable_client.adapters.record_search import find_records
from severable_client.catalogue import sub_shard
from severable_client.erasure import Remaining
from severable_client.ports import JobRequest
from severable_client.training import Order, read_recipe, train_shard
from severable_diffusion.recipe import Recipe
from severable_trust.canonical import encode
from severable_trust.contract import Limits
from severable_trust.digest import Digest
from severable_trust.shard import SubShard

K, RECORDS, TURNS, EPOCHS, SEED = 8, 1024, 3, 24, 11
SALT = bytes(range(32))
PACKAGES = ("torch", "diffusers", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One owner's data and what is trained on them.

    Attributes:
        folder: images, one a record.
        scratch: where images are prepared, anew for each training.
        recipe: the recipe.
        count: sub-shards.
    """

    folder: Path
    scratch: Path
    recipe: Recipe
    count: int

    def train(self, index: int, erased: Sequence[bytes]) -> int:
        """Train one sub-shard from its images to its signed claim; returns how many images it has."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        part = SubShard(index=index, count=self.count)
        federation = Federation.make()
        limits = Limits(min_images=1, memorization_ceiling=1.0, sub_shards=self.count)
        request = JobRequest(
            task="bench",
            nonce=NONCE,
            contract=str(Digest.of(b"contract")),
            recipe=str(Digest.of(b"r")),
            sub_shard=index,
        )
        order = Order(
            request=request,
            party="owner-a",
            contract=federation.contract(limits=limits),
            recipe=self.recipe,
            seed=SEED + index,
            part=part,
        )
        wanted = Wanted(recipe=self.recipe, fit=False, salt=SALT, part=part)
        source = open_source(self.folder, Remaining(SALT, erased, part))
        images = prepare_set(source, self.scratch, wanted, lambda _done, _total: None)
        train_shard(order, images, federation.owner, lambda _progress: None, lambda: None)
        return len(images.images_NCHW)


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, default=recording.RESULTS / "erasure.json")
    args = parser.parse_args()
    figures = measure(records=args.records, turns=args.turns, epochs=args.epochs)
    recording.record(
        args.out,
        command="PYTHONPATH=benchmarks:tests .venv/bin/python -P benchmarks/erasure.py",
        seeds={"data and trainings": SEED},
        packages=PACKAGES,
        figures=figures,
    )
    print(f"erase_speedup {figures['erase_speedup']:.2f} at K = {figures['k']}, the bar is {figures['bar']:.1f}")


def measure(*, k: int = K, records: int = RECORDS, turns: int = TURNS, epochs: int = EPOCHS) -> dict[str, Any]:
    """Return the figures: `erase_speedup`, how many times cheaper in processor time, and what it was computed from."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        bench = Bench(
            folder=write_records(root / "data", records), scratch=root / "images", recipe=recipe_of(epochs), count=k
        )
        bench.train(0, ())  # the first training also loads what all need
        ones: list[dict[str, float]] = []
        alls: list[dict[str, float]] = []
        picks = np.random.default_rng(SEED).permutation(records)[:turns]
        store = FileErasedStore(root / "erased.txt")
        for pick in picks:
            ones.append(_erase_one(bench, store, f"{pick:05d}.png"))
            alls.append(_train_all(bench, store.all()))
    one_s, all_s = sum(turn["processor_s"] for turn in ones), sum(turn["processor_s"] for turn in alls)
    return {
        "erase_speedup": all_s / one_s,
        "k": k,
        "bar": 0.9 * k,
        "records": records,
        "epochs": epochs,
        "turns": turns,
        "erase_and_retrain_one": ones,
        "retrain_all": alls,
    }


def _erase_one(bench: Bench, store: FileErasedStore, record: str) -> dict[str, float]:
    begun = time.process_time()
    found = find_records(bench.folder, [record], SALT, store.all(), gone=False)
    store.add(found.hashes)
    images = bench.train(sub_shard(SALT, record, bench.count), store.all())
    return {"processor_s": time.process_time() - begun, "images": images}


def _train_all(bench: Bench, erased: Sequence[bytes]) -> dict[str, float]:
    begun = time.process_time()
    images = sum(bench.train(index, erased) for index in range(bench.count))
    return {"processor_s": time.process_time() - begun, "images": images}


def recipe_of(epochs: int) -> Recipe:
    """The tiny recipe with a budget that its epochs decide."""
    training = TINY["training"] | {"epochs": epochs, "max_steps": 1_000_000, "batch": 16}
    return read_recipe(encode(TINY | {"training": training}))


def write_records(folder: Path, count: int) -> Path:
    """Write noise pictures, one a record."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(SEED)
    for number in range(count):
        Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8), "L").save(folder / f"{number:05d}.png")
    return folder


if __name__ == "__main__":
    main()
