"""Diffusers' side of benchmarks/throughput.py. Started with the number of its pipe's file.

The example's script runs as it is, with its own imports: accelerate, datasets, torchvision, EMAModel, DDPMScheduler.
Three things are done around it, in this process alone:

- the log call that ends each of its steps also waits for the next turn;
- the functions that its step consists of are timed, as on our side;
- where torchvision was built for another build of torch, so that its import fails, its operators nms and qnms are
  declared without code; nothing that the example calls needs them.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import runpy
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import torch
from training_turns import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def main(pipe: Connection) -> None:
    """Run the script until the pipe says 0, which ends it inside its own loop."""
    script, options, threads = pipe.recv()
    os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"})
    if threads is not None:
        torch.set_num_threads(threads)
    declared = declare_operators()
    clock = Clock()
    clock.timed(importlib.import_module("diffusers").UNet2DModel, "forward", "forward")
    clock.timed(importlib.import_module("diffusers.training_utils").EMAModel, "step", "ema")
    clock.timed(importlib.import_module("datasets").Dataset, "__getitems__", "data")
    wait_at_each_step(importlib.import_module("accelerate").Accelerator, pipe, clock)
    pipe.send(declared)
    sys.argv = [str(script), *options]
    print(json.dumps(sys.argv), file=sys.stderr)
    runpy.run_path(str(script), run_name="__main__")


def declare_operators() -> list[str]:
    """Make torchvision importable; return the operators that had to be declared for it."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:  # "operator torchvision::nms does not exist"
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in OPERATORS:
            torch.library.define(f"torchvision::{operator}", SIGNATURE)
        importlib.import_module("torchvision")
        return list(OPERATORS)
    return []


def wait_at_each_step(accelerator: Any, pipe: Connection, clock: Clock) -> None:
    """Make the call that ends a step wait for the next turn once a turn's steps are done."""
    inner: Callable[..., None] = accelerator.log
    left = 0

    @functools.wraps(inner)
    def outer(*args: Any, **options: Any) -> None:
        nonlocal left
        inner(*args, **options)
        left -= 1
        if left > 0:
            return
        if left == 0:
            pipe.send(clock.stop())
        left = pipe.recv()
        if left == 0:
            raise SystemExit
        clock.start()

    accelerator.log = outer


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
