"""The processes that train a shard together with the worker: it starts them, it ends them, and they end with it.

The worker is number 0: it keeps checkpoints, reports, draws, measures and ships. A peer computes its part of each batch
and nothing else; it is told everything by the worker and leaves nothing behind. It is of the worker's own process group
(a launcher such as torch's elastic one would put it into a session of its own, out of the daemon's reach), and
the kernel kills it when the worker ends, however that happens.

Only processes that load torch import this module. Shapes: N images, C channels, H height, W width.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
import torch

from severable_client.adapters.processes import joined
from severable_client.adapters.training_folder import TrainingFolder
from severable_client.ending import AGAIN_LATER, tether_to_parent
from severable_client.errors import ClientError, PeerLostError, TrainingError
from severable_diffusion.errors import CheckpointError, DiffusionError, TeamError
from severable_diffusion.execution import ExecutionPlan
from severable_diffusion.images import ImageRows
from severable_diffusion.recipe import Recipe
from severable_diffusion.team import ALONE, Team
from severable_diffusion.training import Trainer

PATIENCE_S = 30.0  # that a process gets to notice by itself that another one is gone; on a GPU it might wait for ever
POLL_S = 0.5
RENDEZVOUS = "rendezvous"

_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one of the processes is told.

    Attributes:
        recipe: the recipe.
        images_NCHW: all the images; they are sent to a process as the name of their file.
        label_N: int64, the label of each, where the recipe has conditions.
        seed: of every random draw.
        plan: how it computes.
        rank: its number, from 0.
        size: how many there are.
        folder: the training's, which is there.
        images: names the images, as the checkpoint does.
    """

    recipe: Recipe
    images_NCHW: ImageRows
    label_N: np.ndarray | None
    seed: int
    plan: ExecutionPlan
    rank: int = 0
    size: int = 1
    folder: Path
    images: str


@contextmanager
def together(share: Share, plan_of: Callable[[int], ExecutionPlan]) -> Iterator[Team]:
    """Give the worker's team; its peers run while the block does.

    Args:
        share: the worker's own.
        plan_of: the plan of each process.

    Raises:
        PeerLostError: a peer was killed; what was kept before is whole.
        TrainingError: a peer said why it cannot go on.
    """
    if share.size == 1:
        yield ALONE
        return
    peers = Peers([replace(share, rank=rank, plan=plan_of(rank)) for rank in range(1, share.size)])
    rendezvous = share.folder / RENDEZVOUS
    rendezvous.unlink(missing_ok=True)  # of a worker that was killed
    try:
        peers.start()
        with joined(rank=0, size=share.size, rendezvous=rendezvous, device=share.plan.device) as team:
            yield team
    except TeamError as error:
        raise peers.reason(str(error)) from error
    finally:
        peers.end()
        rendezvous.unlink(missing_ok=True)


class Peers:
    """The peers of one worker.

    Args:
        shares: one for each.
    """

    def __init__(self, shares: list[Share]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share torch's threads and GPU context
        self._hears, self._says = context.Pipe(duplex=False)
        self._processes = [
            context.Process(target=take_part, args=(share, self._says, os.getpid()), daemon=True) for share in shares
        ]
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Start them, and the thread that notices when one ends."""
        for process in self._processes:
            process.start()
        self._says.close()  # so that only the peers hold this end
        self._watcher.start()

    def reason(self, seen: str = "a process of this training has ended") -> ClientError:
        """Return why the team is no more: what a peer said of it, or else what was seen of it."""
        self._over.set()
        with suppress(EOFError, OSError):
            if self._hears.poll(POLL_S):
                return TrainingError(str(self._hears.recv()))
        return PeerLostError(f"{seen}; the job goes on from its last checkpoint")

    def end(self) -> None:
        """Kill whichever still run, and wait until none does."""
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for process in self._processes:
            if process.pid is not None:
                process.kill()
                process.join()
        self._hears.close()

    def _watch(self) -> None:
        """End this process if a peer has ended and nobody notices: the next collective sum would never be done."""
        sentinels = {process.sentinel: process for process in self._processes}
        lost = False
        while sentinels and not lost and not self._over.is_set():
            ended = set(wait(list(sentinels), POLL_S))
            for sentinel in [one for one in sentinels if one in ended]:
                process = sentinels.pop(sentinel)
                process.join()
                lost = lost or process.exitcode != 0
        if lost and not self._over.wait(PATIENCE_S):
            sys.stderr.write(f"{self.reason()}\n")
            sys.stderr.flush()
            os._exit(1)  # the main thread waits inside a library; all that was kept is whole


def take_part(share: Share, says: Connection, worker: int) -> None:
    """Train as one of the processes, until the worker ends this one."""
    _end_with(worker)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the worker is asked too, and decides
    tether = tether_to_parent()
    torch.set_num_threads(share.plan.threads)
    rendezvous = share.folder / RENDEZVOUS
    try:
        with joined(rank=share.rank, size=share.size, rendezvous=rendezvous, device=share.plan.device) as team:
            _train(share, team, tether)
            signal.pause()  # the others may still be reading the last sum
    except TeamError:
        sys.exit(AGAIN_LATER)
    except (DiffusionError, ClientError) as error:
        says.send(str(error))
    except torch.OutOfMemoryError:
        says.send(f"the memory of {share.plan.device} cannot hold the network and its optimizer")
    sys.exit(1)


def _train(share: Share, team: Team, tether: Callable[[], None]) -> None:
    label_N = None if share.label_N is None else torch.from_numpy(share.label_N)
    trainer = Trainer(share.recipe, share.images_NCHW, share.seed, label_N, plan=share.plan, team=team)
    kept = TrainingFolder(share.folder)
    kept.images = share.images
    with suppress(CheckpointError):  # the worker refuses it as well, says so, and begins anew
        kept.take_up(trainer)
    while not trainer.done:
        tether()
        trainer.advance()


def _end_with(worker: int) -> None:
    """Have the kernel kill this process when the worker ends; where it cannot, the tether is asked after every step."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:  # it ended before that
        sys.exit(AGAIN_LATER)
