"""From a network's output to the finished picture, by numbers alone."""

import torch
from torch.testing import assert_close

from styleplugin import finish
from styleplugin.finish import limit
from styleplugin.images.picture import Picture
from styleplugin.options import StylizeOptions
from styleplugin.transforms.guided_filter import guided_filter


def test_smoothing_in_tiles_gives_that_of_the_whole_picture(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    content, output = (torch.rand(1, 3, 40, 26, generator=generator) for _ in range(2))
    alpha = torch.rand(1, 1, 40, 26, generator=generator)
    expected = guided_filter(content, output, 3, weights=alpha).clamp(0, 1)
    monkeypatch.setitem(finish.TILES, "cpu", 8)
    calls = []
    found = limit(Picture(rgb=content, alpha=alpha), output, StylizeOptions(smooth=3), lambda: calls.append("called"))
    assert_close(found, expected, rtol=0, atol=1e-6)
    assert len(calls) == 1 + 5 * 4
