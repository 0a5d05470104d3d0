"""Several processes that train one student: each takes its share of every batch, and all stay equal.

`torchrun --nproc_per_node=2 -m styleplugin train RECIPE` starts them; alone, everything here does nothing.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from styleplugin.engine.device import pick_device
from styleplugin.errors import ResourceError, UsageError
from styleplugin.guard import is_out_of_memory

T = TypeVar("T")


class Workers:
    """The processes of this run, as one of them sees them.

    Wherever they meet, a process that has ended is noticed: ResourceError SP522.

    Args:
        cpu: Meet without an accelerator.
    """

    def __init__(self, *, cpu: bool = True) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
            dist.init_process_group("gloo" if cpu or not torch.cuda.is_available() else "nccl")
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.count = dist.get_world_size() if together else 1
        # Decisions travel between processors and never wait for an accelerator.
        group = dist.new_group(backend="gloo") if self.count > 1 else None
        assert not isinstance(group, int)
        self._group = group
        if self.count > 1:
            atexit.register(self._leave)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def place(self, device: str) -> torch.device:
        """Return the device of this process: each has an accelerator of its own."""
        if self.count > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return pick_device(device)

    def check(self, batch: int) -> None:
        """Raise UsageError SP135 if a batch cannot be divided."""
        if batch % self.count:
            raise UsageError(
                "SP135",
                f"A batch of {batch} crops cannot be shared by {self.count} processes.",
                "Choose a batch that is a multiple of the number of processes.",
            )

    def share(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return this process's crops of a batch."""
        return {name: value[self.rank :: self.count] for name, value in batch.items()} if self.count > 1 else batch

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its mean over the processes."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self._meet(dist.all_reduce, flat)
        for gradient, mean in zip(gradients, (flat / self.count).split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def average(self, values: Tensor) -> Tensor:
        """Return the mean of a float32 tensor over the processes, on the CPU."""
        values = values.cpu()
        if self.count > 1:
            self._meet(dist.all_reduce, values, on_cpu=True)
        return values / self.count

    def any_process(self, flag: bool) -> bool:
        """Return whether any process says yes."""
        if self.count == 1:
            return flag
        number = torch.tensor(float(flag), dtype=torch.float32, device="cpu")
        self._meet(dist.all_reduce, number, dist.ReduceOp.MAX, on_cpu=True)
        return bool(number)

    @torch.no_grad()
    def copy_from_first(self, module: nn.Module) -> None:
        """Give every process the weights of the first one."""
        if self.count > 1:
            for value in module.state_dict().values():
                self._meet(dist.broadcast, value, 0)

    def broadcast(self, value: T) -> T:
        """Return what the first process has."""
        values = [value]
        if self.count > 1:
            self._meet(dist.broadcast_object_list, values, 0, on_cpu=True)
        return values[0]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            self._meet(dist.barrier, on_cpu=True)

    def _meet(self, operation: Callable[..., Any], *arguments: Any, on_cpu: bool = False) -> None:
        """Do something together with all processes."""
        try:
            operation(*arguments, group=self._group if on_cpu else None)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            # Without its traceback, whose frames hold the group: see `_leave`.
            raise ResourceError(
                "SP522",
                "Another process of this training has ended, or cannot be reached.",
                "See what it said last, and start the same command again: the run goes on from its last checkpoint.",
            ) from error.with_traceback(None)

    def _leave(self) -> None:
        """End the threads of the groups; called when the process ends, and waits for nobody.

        A thread of Gloo lets go of the tensors of the last meeting behind the back of the one that met. Where Python
        has begun to end by then, the process is aborted (SIGABRT): https://github.com/pytorch/pytorch/pull/179291
        """
        from torch.distributed.distributed_c10d import _abort_process_group

        # The threads end with the last reference to their group.
        self._group = None
        if dist.is_initialized():
            _abort_process_group()
