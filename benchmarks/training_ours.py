"""Our side of benchmarks/throughput.py: `Trainer` under one plan. Started with the number of its pipe's file."""

import sys
from multiprocessing.connection import Connection

import torch
from training_turns import Clock

from severable_diffusion.images import read_image_folder
from severable_diffusion.training import Trainer


def main(pipe: Connection) -> None:
    """Train, turn by turn, until the pipe says 0."""
    recipe, folder, plan, seed = pipe.recv()
    torch.set_num_threads(plan.threads)
    clock = Clock()
    trainer = Trainer(recipe, read_image_folder(folder, recipe.image).images_NCHW, seed, plan=plan)
    clock.timed(trainer, "_forward", "forward")
    clock.timed(trainer.batches, "take", "data")
    clock.timed(trainer.batches, "draw_ahead", "data")
    clock.timed(trainer, "_average", "ema")
    while steps := pipe.recv():
        clock.start()
        for _ in range(steps):
            trainer.advance()
        pipe.send(clock.stop())


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
