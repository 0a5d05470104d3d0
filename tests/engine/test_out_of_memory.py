"""Where memory ends, a picture is finished in smaller tiles or refused with our error; never with an allocator's."""

import subprocess
import sys
from pathlib import Path

import pytest

from styleplugin.errors import ResourceError
from styleplugin.guard import guarded, is_out_of_memory

# Loads a model and a content, and stylizes it in a process of its own for every limit. The processes are forked before
# anything is computed with several threads.
_SCRIPT = """
import os, resource, sys, warnings
import torch
import styleplugin
from styleplugin.images.picture import Picture

warnings.simplefilter("ignore")
torch.set_num_threads(1)
name, height, width, *limits = sys.argv[1:]
random = torch.Generator().manual_seed(0)
pixels = torch.rand(1, 3, int(height), int(width), generator=random)
content, style = Picture(pixels.contiguous(memory_format=torch.channels_last)), torch.rand(1, 3, 96, 96)
stylizer = styleplugin.load(name, device="cpu")
for limit in limits:
    child = os.fork()
    if child:
        print(limit, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        continue
    pages = int(open("/proc/self/statm").read().split()[0])
    most = pages * resource.getpagesize() + (int(limit) << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        stylizer(content, style)
    except styleplugin.StylePluginError as error:
        os._exit(int(error.code[2:]) - 500)
    os._exit(0)
"""
FINISHED, REFUSED = 0, 2

pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux"),
]


def outcomes(model: str, height: int, width: int, limits: list[int]) -> dict[int, int]:
    """Return what became of a picture with so many MB beyond what was in use."""
    arguments = [model, *map(str, (height, width, *limits))]
    done = subprocess.run([sys.executable, "-c", _SCRIPT, *arguments], capture_output=True, text=True, check=True)
    return {int(limit): int(code) for limit, code in (line.split() for line in done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cd-adain.x16", "cd-wct.x16"])
def test_M02_with_less_and_less_memory_a_picture_is_finished_or_refused(model: str):
    found = outcomes(model, 600, 904, [5, 20, 40, 60, 80, 100, 300])
    assert set(found.values()) <= {FINISHED, REFUSED}
    assert found[5] == REFUSED and found[300] == FINISHED


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("model", "enough"), [("cd-adain.x16", 600), ("cd-wct.x16", 1200)])
def test_M02_24_megapixels_need_little_beside_themselves(model: str, enough: int):
    found = outcomes(model, 4000, 6000, [100, 300, enough])
    assert set(found.values()) <= {FINISHED, REFUSED}
    assert found[100] == REFUSED and found[enough] == FINISHED


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3.0 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("could not create a primitive"),
        RuntimeError("std::bad_alloc"),
        OSError("out of memory error when reading image file"),
    ],
)
def test_every_librarys_end_of_memory_is_known(error: Exception):
    assert is_out_of_memory(error)
    with pytest.raises(ResourceError) as caught, guarded():
        raise error
    assert caught.value.code == "SP502"
    assert not is_out_of_memory(caught.value)
