"""The model of AdaIN: a single encoder-decoder pair."""

from __future__ import annotations

from styleplugin.errors import WeightsError
from styleplugin.networks import pairs
from styleplugin.tensorfile import Weights


def build(weights: Weights) -> pairs.PairModel:
    """Build the pair of a file.

    Raises:
        WeightsError: SP323, it holds several; others as `styleplugin.networks.pairs.build`.
    """
    model = pairs.build(weights)
    if len(model.levels) > 1:
        raise WeightsError(
            "SP323", f"The model has pairs of the levels {list(model.levels[::-1])}; AdaIN needs a single pair."
        )
    return model
