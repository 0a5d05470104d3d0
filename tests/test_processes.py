"""Processes that are forked from one that computes with several threads."""

import os
import subprocess
import sys

import pytest

_SCRIPT = """
import os, sys, warnings
import torch
import styleplugin

warnings.simplefilter("ignore")
torch.set_num_threads(2)
random = torch.Generator().manual_seed(0)
content, style = (torch.rand(1, 3, 200, 304, generator=random) for _ in range(2))
stylizer = styleplugin.load("cd-wct.x16", device="cpu")
expected = stylizer(content, style).tensor
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
same = torch.allclose(stylizer(content, style).tensor, expected, rtol=0, atol=1e-4)
run = styleplugin.Optimization(content, style, steps=1, scales=1, start="content", device="cpu")
steps = len(list(run))
os._exit(0 if same and steps == 1 else 1)
"""


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_forked_after_a_run_with_two_threads_finishes_its_picture():
    done = subprocess.run([sys.executable, "-c", _SCRIPT], timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
