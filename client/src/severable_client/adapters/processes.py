"""The team of processes of one training, over accelerate: it chooses backend and device, and adds tensors up.

gloo on CPUs, NCCL on GPUs. The processes are of one machine and find each other by a file in the training's folder,
which nobody else can read; they talk over the loopback interface.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from severable_client.errors import TrainingError
from severable_diffusion.errors import TeamError

BUCKET = 1 << 23  # numbers that are added up at once: what is copied for it stays small beside a large network

LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


class Processes:
    """A `severable_diffusion.team.Team` of this machine's processes; `joined` makes it.

    Args:
        rank: this process's number.
        size: how many there are.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put the sum over all processes in place of each tensor.

        Raises:
            TeamError: a process is gone.
        """
        from accelerate.utils import reduce  # noqa: PLC0415  # loaded only where several processes train

        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            try:
                summed = reduce(flat, reduction="sum")
            except RuntimeError as error:
                raise TeamError(f"another process of this training has ended ({_line(error)})") from error
            pieces = summed.split([tensor.numel() for tensor in bucket])
            for tensor, piece in zip(bucket, pieces, strict=True):
                tensor.copy_(piece.view_as(tensor))


def _line(error: RuntimeError) -> str:
    return " ".join(str(error).split())[:200]


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    held = 0
    for tensor in tensors:
        if bucket and held + tensor.numel() > BUCKET:
            yield bucket
            bucket, held = [], 0
        bucket.append(tensor)
        held += tensor.numel()
    if bucket:
        yield bucket


@contextmanager
def joined(*, rank: int, size: int, rendezvous: Path, device: str) -> Iterator[Processes]:
    """Join the other processes; the block begins when all are there.

    Args:
        rank: this process's number, from 0.
        size: how many there are.
        rendezvous: a file that is not there yet, in a folder that is.
        device: where this process computes: cpu, or cuda:RANK.

    Raises:
        TeamError: another one is gone.
        TrainingError: accelerate is not installed.
    """
    try:
        from accelerate import PartialState  # noqa: PLC0415  # loaded only where several processes train
    except ImportError as error:
        raise TrainingError("`devices` needs accelerate, which is missing; install severable-client again") from error
    told = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
    os.environ.update({name: str(value) for name, value in told.items()} | LOOPBACK)
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # accelerate would choose one of its own
    where = f"file://{rendezvous.resolve()}"
    try:
        state = PartialState(cpu=device == "cpu", init_method=where, rank=rank, world_size=size)
    except RuntimeError as error:
        raise TeamError(f"the processes of this training do not find each other ({_line(error)})") from error
    yield Processes(rank, size)
    state.destroy_process_group()  # after an error the others may be gone, and this would wait for them
