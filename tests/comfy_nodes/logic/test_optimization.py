"""The optimization on bare torch: it equals the core's, and hears Cancel."""

import pytest
import torch

import styleplugin
from comfy_nodes.logic.optimization import optimize

from .conftest import pictures

pytestmark = pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning")


QUICK = {"steps": 3, "scales": 1, "start": "content"}


def test_the_optimization_works_inside_inference_mode_with_preview_and_progress(host):
    with torch.inference_mode():
        content, style = pictures(2, 40, 52, 4), pictures(2, 36, 44, seed=3)
        output = optimize(host, content, style, None, **QUICK)
    assert output.shape == content.shape and not torch.equal(output[..., :3], content[..., :3])
    assert torch.equal(output[..., 3], content[..., 3])
    assert host.shares[-1] == 1 and host.shares == sorted(host.shares)
    assert len(host.previews) >= 2 and host.previews[-1].size == (52, 40)
    assert any("step 3/3  loss" in line for line in host.said) and host.prepared


def test_the_optimization_equals_the_core_and_a_mask_limits_it(host):
    content, style, mask = pictures(), pictures(seed=3), torch.zeros(1, 40, 52)
    mask[..., :26] = 1
    output = optimize(host, content, style, mask, **QUICK)
    alone = styleplugin.stylize(
        content.movedim(-1, 1), style.movedim(-1, 1), method="optimization", mask=mask[0], device="cpu", **QUICK
    )
    assert torch.equal(output.movedim(-1, 1), alone.tensor)
    assert torch.equal(output[:, :, 26:], content[:, :, 26:])


@pytest.mark.parametrize("stop_at", [0, 3, 6, 9])
def test_T19_cancel_is_heard_in_every_step_of_the_optimization(host, stop_at):
    host.stop_at = stop_at
    with pytest.raises(BaseException) as stopped:
        optimize(host, pictures(), pictures(seed=3), None, **QUICK | {"steps": 6})
    assert type(stopped.value).__name__ == "Interrupted"
    assert optimize(host, pictures(), pictures(seed=3), None, **QUICK).isfinite().all()
