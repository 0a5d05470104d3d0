"""Memory of large maps is used again once nobody can see what lies in it, and never before."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from styleplugin.engine.memory import Arena, free_memory
from styleplugin.guard import is_out_of_memory

LARGE, SMALLER = (1, 16, 1024, 1024), (1, 3, 2048, 1536)
LIKE = torch.empty(0)


def test_there_is_free_memory():
    assert free_memory(torch.device("cpu")) > 1 << 20


def test_maps_are_channels_last_of_their_shape_and_dtype():
    for dtype in (torch.float32, torch.float64):
        for shape in (LARGE, (2, 3, 5, 7)):
            made = Arena().empty(shape, LIKE.to(dtype))
            assert (made.shape, made.dtype) == (shape, dtype)
            assert made.is_contiguous(memory_format=torch.channels_last)
            made.fill_(1)
            assert float(made.sum()) == made.numel()


def test_the_memory_of_a_map_that_is_gone_is_used_again():
    arena = Arena()
    first = arena.empty(LARGE, LIKE)
    place = first.data_ptr()
    del first
    assert arena.empty(SMALLER, LIKE).data_ptr() == place
    assert arena.empty(LARGE, LIKE).data_ptr() == place


def test_a_view_keeps_a_map_from_being_overwritten():
    arena = Arena()
    view = arena.empty(LARGE, LIKE)[:, :, 5:9, 5:9]
    view.fill_(7)
    arena.empty(LARGE, LIKE).fill_(1)
    assert bool((view == 7).all())


def test_memory_that_cannot_be_had_is_reported_as_such():
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        Arena().empty((1, 1 << 20, 1 << 20, 64), LIKE)
    assert is_out_of_memory(caught.value)


def test_only_failed_allocations_count_as_out_of_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 byte"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
@pytest.mark.slow
def test_a_process_that_trains_keeps_its_large_buffers():
    script = """
import os, sys
import torch
from styleplugin.engine.memory import keep_all_freed_memory

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

if sys.argv[1] == "keep":
    keep_all_freed_memory()
before = resident_mb()
torch.ones(100 << 20, dtype=torch.uint8)
print(resident_mb() - before)
"""
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", script, word], capture_output=True, text=True, check=True).stdout)
        for word in ("keep", "give back")
    )
    assert kept >= 99 and given_back < 50
