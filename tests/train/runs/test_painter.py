from collections.abc import Callable

import pytest
import torch

from styleplugin.errors import UsageError
from styleplugin.networks.pairs import PairModel
from styleplugin.train.runs.painter import painter_of


def test_pairs_paint_by_their_method_level_by_level(make_pair: Callable):
    content, style = torch.rand(2, 2, 3, 32, 32, dtype=torch.float32, device="cpu")
    wct = painter_of(PairModel("wct", [make_pair(level) for level in (2, 1)]))(content, style)
    adain = painter_of(PairModel("adain", [make_pair(2)]))(content, style)
    assert wct.shape == adain.shape == content.shape and wct.isfinite().all() and not torch.equal(wct, adain)
    with pytest.raises(UsageError, match="painter"):
        painter_of(torch.nn.Identity())
