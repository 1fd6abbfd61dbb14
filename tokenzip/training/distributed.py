"""Several processes that train one network, as torchrun starts them; or one process alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ..errors import OptionError

#: The first pass over the data may take long in one process and not in another.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class World:
    """The processes of this run.

    Attributes:
        rank: this process, 0 .. size - 1. Rank 0 reports, and writes files.
        size: how many there are.
        device: where this one computes.
    """

    rank: int
    size: int
    device: torch.device

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over all processes."""
        if self.size == 1:
            return module
        where = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=where)

    def agree(self, values: Sequence[float]) -> list[float]:
        """The largest of each of the values in any process."""
        return self._reduced(values, dist.ReduceOp.MAX)

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum of each of the values over all processes."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def _reduced(self, values: Sequence[float], operation: Any) -> list[float]:
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, operation)
        return [float(value) for value in tensor]

    def gather(self, item: Any) -> list[Any]:
        """Every process's item, in rank 0; in the others, an empty list."""
        if self.size == 1:
            return [item]
        items: list[Any] | None = [None] * self.size if self.rank == 0 else None
        dist.gather_object(item, items)
        return items or []


@contextmanager
def world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started, if it did.

    Raises:
        OptionError: the device is not there.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = _device(device, local if size > 1 else None)
    if size == 1:
        yield World(0, 1, chosen)
        return
    # Gradients go by NCCL between GPUs; all else is small and stays on the CPU.
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield World(rank, size, chosen)
    finally:
        dist.destroy_process_group()


def _device(wanted: str, local: int | None) -> torch.device:
    there = torch.cuda.is_available()
    if wanted == "auto":
        wanted = "cuda" if there else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise OptionError(f"there is no device {wanted!r}: use auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise OptionError(f"training runs on cpu or cuda, not on {wanted!r}")
    if device.type == "cuda":
        if not there:
            raise OptionError("there is no CUDA device here, or torch was built without CUDA")
        if device.index is None:
            device = torch.device("cuda", local or 0)
        if device.index >= torch.cuda.device_count():
            raise OptionError(f"there are only {torch.cuda.device_count()} CUDA devices")
        torch.cuda.set_device(device)
    return device
