"""One call for every method."""

import pytest
from fakes.stylizers import CONTENT, LEVELS, STYLE

import styleplugin
from styleplugin.api import choose_model
from styleplugin.errors import (
    StylePluginWarning,
    UsageError,
)


def test_stylize_and_load_find_models(tiny_weights):
    source = f"file:{tiny_weights}"
    with pytest.warns(StylePluginWarning, match="not in the list"):
        result = styleplugin.stylize(
            CONTENT, STYLE, model=source, allow_unknown_model=True, tile=64, device="cpu", **LEVELS
        )
    assert result.tensor.shape == (1, 3, 70, 90)
    with pytest.warns(StylePluginWarning), pytest.raises(UsageError, match="is for the method wct"):
        styleplugin.stylize(CONTENT, STYLE, model=source, allow_unknown_model=True, method="adain")
    with pytest.raises(UsageError, match="`method` was 'gatys'"):
        styleplugin.stylize(CONTENT, STYLE, method="gatys")
    with pytest.raises(UsageError, match="no option"):
        styleplugin.load("cd-wct.x16", tyle=64)
    assert choose_model(None, STYLE) == "cd-wct.x16"
