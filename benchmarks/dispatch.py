"""Measure ways of running many shards on the rows that need them: docs/results/dispatch.json.

    PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/dispatch.py

Eight networks of 0.2 M weights on 16x16 images, one thread; every way does the same work in turns, and ratios are taken
within a turn. A ratio to the monolith is the time of one mixed prediction over that of one network on the same rows.
It takes two minutes, and up to four more for the compiler; `--no-compile` leaves that way out.
"""

import argparse
import copy
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import recording
import torch
from torch.func import functional_call, stack_module_state, vmap

from severable_diffusion import network, sampler
from severable_diffusion.composition import mix
from severable_diffusion.environment import generator
from severable_diffusion.pipeline import CompositePipeline
from severable_diffusion.recipe import Recipe
from severable_diffusion.shard_set import ShardSet

BASE = recording.ROOT / "deploy" / "severable_demo" / "recipes" / "digits.json"
SEED, SHARDS, TIME = 20261124, 8, 500
BATCHES = (8, 32, 128, 256)
TURNS, WHOLE_TURNS, WHOLE_IMAGES, WHOLE_STEPS = 5, 3, 256, 4
Way = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=recording.RESULTS / "dispatch.json")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = benchmark_recipe()
    networks = [network.build_seeded(recipe, seed).eval().requires_grad_(requires_grad=False) for seed in range(SHARDS)]
    with torch.no_grad(), tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # so that compiling is measured, not remembering
        ways = Ways(networks)
        compiled_s = None if args.no_compile else ways.compile()
        figures = {
            "threads": 1,
            "shards": SHARDS,
            "turns": TURNS,
            "compile_s": compiled_s,
            "one_network_ms": one_network(ways),
            "mixed_prediction": {
                f"{kind}_{batch}": compare(ways, kind, batch) for kind in WEIGHTS for batch in BATCHES
            },
            "whole_runs": whole_runs(recipe, networks),
        }
    recording.record(
        args.out,
        command="PYTHONPATH=benchmarks .venv/bin/python -P benchmarks/dispatch.py",
        seeds={"networks": list(range(SHARDS)), "weights and states": SEED},
        packages=("torch", "diffusers"),
        figures=figures,
    )
    print(json.dumps(figures, indent=2))


def benchmark_recipe() -> Recipe:
    """The recipe of the quality benchmark's CPU size: widths 16, 32, 32, attention in the middle."""
    values = json.loads(BASE.read_text())
    values["image"]["size"] = 16
    values["architecture"] |= {
        "block_out_channels": [16, 32, 32],
        "down_block_types": ["DownBlock2D"] * 3,
        "up_block_types": ["UpBlock2D"] * 3,
        "mid_attention": True,
    }
    return Recipe.from_dict(values)


def full(batch: int, source: torch.Generator) -> torch.Tensor:
    """Every shard for every row."""
    return torch.rand(batch, SHARDS, generator=source).add(0.1).softmax(dim=1)


def committed(batch: int, source: torch.Generator) -> torch.Tensor:
    """One shard for each row, drawn evenly."""
    return torch.nn.functional.one_hot(torch.randint(SHARDS, (batch,), generator=source), SHARDS).float()


def cumulative(batch: int, source: torch.Generator) -> torch.Tensor:
    """One to four shards for each row, 2.3 on average."""
    counts_N = 1 + torch.multinomial(torch.tensor([0.3, 0.3, 0.2, 0.2]), batch, replacement=True, generator=source)
    ranks_NK = torch.rand(batch, SHARDS, generator=source).argsort(dim=1)
    w_NK = (ranks_NK < counts_N[:, None]) * (0.1 + torch.rand(batch, SHARDS, generator=source))
    return w_NK / w_NK.sum(dim=1, keepdim=True)


WEIGHTS = {"full": full, "committed": committed, "cumulative": cumulative}


class Ways:
    """The ways compared; each takes states and weights and returns the mixed prediction.

    Args:
        networks: the shards' networks.
    """

    def __init__(self, networks: list[torch.nn.Module]) -> None:
        self.networks = networks
        self.channels_last = [copy.deepcopy(net).to(memory_format=torch.channels_last) for net in networks]  # type: ignore[call-overload]  # torch's stub lacks this form
        self.empty = copy.deepcopy(networks[0]).to("meta")
        self.vmapped = vmappable(copy.deepcopy(self.empty))
        self.stack = stack_module_state(networks)
        self.by_name: dict[str, Way] = {
            "monolith": lambda x_NCHW, _: run(self.networks[0], x_NCHW),
            "loop": lambda x_NCHW, w_NK: mix(lambda k, rows: run(self.networks[k], x_NCHW[rows]), x_NCHW, w_NK)[0],
            "loop_without_networks": lambda x_NCHW, w_NK: mix(lambda _, rows: x_NCHW[rows], x_NCHW, w_NK)[0],
            "stacked": self.stacked,
            "loop_channels_last": self.loop_channels_last,
            "monolith_bfloat16": lambda x_NCHW, w_NK: narrow(self.by_name["monolith"], x_NCHW, w_NK),
            "loop_bfloat16": lambda x_NCHW, w_NK: narrow(self.by_name["loop"], x_NCHW, w_NK),
        }

    def loop_channels_last(self, x_NCHW: torch.Tensor, w_NK: torch.Tensor) -> torch.Tensor:
        """Mix with images and weights in NHWC order."""
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        return mix(lambda k, rows: run(self.channels_last[k], x_NCHW[rows]), x_NCHW, w_NK)[0]

    def stacked(self, x_NCHW: torch.Tensor, w_NK: torch.Tensor) -> torch.Tensor:
        """All shards in one call, weights stacked, each shard's rows padded to the longest group."""

        def one(parameters: Any, buffers: Any, x_MCHW: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = functional_call(
                self.vmapped, (parameters, buffers), (x_MCHW, TIME), {"return_dict": False}
            )[0]
            return found

        groups = [w_NK[:, k].nonzero()[:, 0] for k in range(w_NK.shape[1])]
        rows_KM = torch.nn.utils.rnn.pad_sequence(groups, batch_first=True)
        predicted_KMCHW = vmap(one)(*self.stack, x_NCHW[rows_KM])
        mixed_NCHW = torch.zeros_like(x_NCHW)
        for k, rows_M in enumerate(groups):
            share_M111 = w_NK[rows_M, k].view(-1, 1, 1, 1)
            mixed_NCHW.index_add_(0, rows_M, share_M111 * predicted_KMCHW[k, : len(rows_M)])
        return mixed_NCHW

    def compile(self) -> float:
        """Add a way with one compiled network for all shards, weights handed in; return the compiler's seconds."""

        def one(parameters: dict[str, torch.Tensor], x_MCHW: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = functional_call(self.empty, parameters, (x_MCHW, TIME), {"return_dict": False})[0]
            return found

        compiled = torch.compile(one, dynamic=True)
        parameters: list[dict[str, torch.Tensor]] = [dict(net.named_parameters()) for net in self.networks]
        begun = time.perf_counter()
        for rows in (4, 40, 1):  # it compiles again for larger batches and for a single row
            compiled(parameters[0], torch.zeros(rows, 1, 16, 16))
        self.by_name["loop_compiled"] = lambda x_NCHW, w_NK: mix(
            lambda k, rows: compiled(parameters[k], x_NCHW[rows]), x_NCHW, w_NK
        )[0]
        return round(time.perf_counter() - begun, 1)


def vmappable(net: torch.nn.Module) -> torch.nn.Module:
    """Make group norms take contiguous inputs: under vmap, torch refuses others (as attention leaves them)."""
    for module in net.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.register_forward_pre_hook(lambda _, inputs: tuple(x.contiguous() for x in inputs))
    return net


def run(net: torch.nn.Module, x_MCHW: torch.Tensor) -> torch.Tensor:
    """One network's prediction."""
    found: torch.Tensor = net(x_MCHW, TIME, return_dict=False)[0]
    return found.float()


def narrow(way: Way, x_NCHW: torch.Tensor, w_NK: torch.Tensor) -> torch.Tensor:
    """A way with bfloat16 where torch thinks it safe."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return way(x_NCHW, w_NK)


def one_network(ways: Ways) -> dict[str, float]:
    """Milliseconds of one network by rows: what a call costs, and what a row costs."""
    found: dict[str, float] = {}
    for rows in (1, 4, 8, 16, 32, 64, 128, 256):
        x_MCHW = torch.randn(rows, 1, 16, 16, generator=generator(SEED))
        taken = [timed(partial(run, ways.networks[0], x_MCHW)) for _ in range(2 * TURNS)]
        found[str(rows)] = round(statistics.median(taken[1:]) * 1e3, 2)
    return found


def compare(ways: Ways, kind: str, batch: int) -> dict[str, Any]:
    """Every way on the same states and weights, in turns."""
    source = generator(SEED + batch)
    x_NCHW, w_NK = torch.randn(batch, 1, 16, 16, generator=source), WEIGHTS[kind](batch, source)
    exact_NCHW = ways.by_name["loop"](x_NCHW, w_NK)
    taken: dict[str, list[float]] = {name: [] for name in ways.by_name}
    for _ in range(TURNS):
        for name, way in ways.by_name.items():
            taken[name].append(timed(partial(way, x_NCHW, w_NK)))
    print(f"{kind}, {batch} rows", file=sys.stderr)
    mixed = [name for name in taken if name.startswith(("loop", "stacked")) and name != "loop_without_networks"]
    differences = {name: (ways.by_name[name](x_NCHW, w_NK) - exact_NCHW).abs().max() for name in mixed}
    return {
        "shards_per_row": round(float((w_NK > 0).sum()) / batch, 3),
        "ms": {name: round(statistics.median(found) * 1e3, 2) for name, found in taken.items()},
        "over_monolith": {name: ratio(taken[name], taken["monolith"]) for name in mixed},
        "over_loop": {name: ratio(taken[name], taken["loop"])["median"] for name in mixed},
        "bfloat16_loop_over_bfloat16_monolith": ratio(taken["loop_bfloat16"], taken["monolith_bfloat16"]),
        "largest_difference_to_loop": {name: float(f"{float(value):.1e}") for name, value in differences.items()},
    }


def whole_runs(recipe: Recipe, networks: list[torch.nn.Module]) -> dict[str, Any]:
    """A composite of eight shards, one drawn for each image, against one network: time of the same images by batch."""
    ids = [f"shard-{k}" for k in range(SHARDS)]
    shards = ShardSet(recipe, dict(zip(ids, networks, strict=True)), dict.fromkeys(ids, 1.0))
    pipeline = CompositePipeline(shards, sampler.scheduler_for(recipe))
    pipeline.set_progress_bar_config(disable=True)
    options: dict[str, Any] = {"num_inference_steps": WHOLE_STEPS, "dispatch": "draw_once", "output_type": "pt"}

    def composite(batch: int) -> None:
        for _ in range(WHOLE_IMAGES // batch):
            pipeline(batch_size=batch, generator=generator(SEED), **options)

    def monolith(batch: int) -> None:
        for _ in range(WHOLE_IMAGES // batch):
            sampler.draw(networks[0], recipe, count=batch, steps=WHOLE_STEPS, generator=generator(SEED))

    works = {"composite": composite, "monolith": monolith}
    taken: dict[str, list[float]] = {}
    for _ in range(WHOLE_TURNS):
        for batch in BATCHES:
            for name, work in works.items():
                spent = timed(partial(work, batch))
                taken.setdefault(f"{name}_{batch}", []).append(spent)
    best = [min(taken[f"monolith_{batch}"][turn] for batch in BATCHES) for turn in range(WHOLE_TURNS)]
    return {
        "images": WHOLE_IMAGES,
        "steps": WHOLE_STEPS,
        "s": {name: round(statistics.median(found), 3) for name, found in taken.items()},
        "over_monolith_of_the_same_batch": {
            str(batch): ratio(taken[f"composite_{batch}"], taken[f"monolith_{batch}"]) for batch in BATCHES
        },
        "over_monolith_at_its_best_batch": {str(b): ratio(taken[f"composite_{b}"], best) for b in BATCHES},
    }


def ratio(taken: list[float], other: list[float]) -> dict[str, float]:
    """The turns' median ratio of two times, and its quartiles."""
    found = [mine / theirs for mine, theirs in zip(taken, other, strict=True)]
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
    return {"median": round(middle, 3), "lower_quartile": round(low, 3), "upper_quartile": round(high, 3)}


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
