"""What of a picture counts: masks, labels, alpha, borders."""

import numpy as np
import pytest
import torch
from fakes.stylizers import CONTENT, LEVELS, STYLE, bytes_of

from styleplugin.errors import (
    MaskError,
    StylePluginWarning,
)
from styleplugin.images.color.conversions import rgb_to_lab
from styleplugin.images.read import to_picture
from styleplugin.options import StyleWeight
from styleplugin.transforms.guided_filter import guided_filter


def test_T14_a_black_mask_keeps_the_bytes_and_a_white_one_changes_nothing(stylizer):
    mask = np.zeros(CONTENT.shape[:2], dtype=np.uint8)
    mask[:, 45:] = 255
    out = bytes_of(stylizer(CONTENT, STYLE, mask=mask, **LEVELS))
    assert np.array_equal(out[:, :45], CONTENT[:, :45])
    assert not np.array_equal(out[:, 45:], CONTENT[:, 45:])
    full = bytes_of(stylizer(CONTENT, STYLE, mask=np.full_like(mask, 255), **LEVELS))
    assert np.array_equal(full, bytes_of(stylizer(CONTENT, STYLE, **LEVELS)))
    with pytest.warns(StylePluginWarning, match="empty_mask"):
        nothing = stylizer(CONTENT, STYLE, mask=np.zeros_like(mask), **LEVELS)
    assert np.array_equal(bytes_of(nothing), CONTENT)
    assert any("empty_mask" in note for note in nothing.report.warnings)


def test_a_soft_mask_blends_and_a_mask_measures_only_what_is_white(wct):
    mask = np.full(CONTENT.shape[:2], 128, dtype=np.uint8)
    mask[0, 0] = 255  # without white it would be a picture of labels
    soft = bytes_of(wct(CONTENT, STYLE, mask=mask, **LEVELS)).astype(float)
    full = bytes_of(wct(CONTENT, STYLE, **LEVELS)).astype(float)
    # Half the weights are half the positions, so the unbiased covariance differs a little.
    assert np.abs(soft - (CONTENT + (full - CONTENT) * 128 / 255)).mean() < 1
    tiny = np.zeros_like(mask)
    tiny[3, 3] = 255
    assert np.isfinite(bytes_of(wct(CONTENT, STYLE, mask=tiny, **LEVELS))).all()


def test_T13_a_mask_of_another_size_is_resized_with_a_warning(wct):
    with pytest.warns(StylePluginWarning, match="mask was resized"):
        wct(CONTENT, STYLE, mask=np.full((7, 9), 255, dtype=np.uint8), **LEVELS)
    with pytest.raises(MaskError):
        wct(CONTENT, STYLE, mask=torch.full((70, 90), float("nan")), **LEVELS)


def test_only_what_can_be_seen_makes_a_content_blank(wct):
    alpha = np.zeros((*CONTENT.shape[:2], 1), dtype=np.uint8)
    alpha[10:30, 20:40] = 255
    flat = CONTENT.copy()
    flat[10:30, 20:40] = 99
    for options in ({"mask": alpha[..., 0]}, {}):
        content = flat if options else np.concatenate([flat, alpha], 2)
        with pytest.warns(StylePluginWarning, match="blank_content"):
            wct(content, STYLE, **options, **LEVELS)


def test_T12_alpha_comes_back_and_hidden_colors_have_no_influence(wct):
    alpha = np.zeros((*CONTENT.shape[:2], 1), dtype=np.uint8)
    alpha[10:60, 20:80] = 255
    rgba = np.concatenate([CONTENT, alpha], 2)
    hidden = rgba.copy()
    hidden[..., :3][alpha[..., 0] == 0] = 7
    a, b = (bytes_of(wct(x, STYLE, **LEVELS)) for x in (rgba, hidden))
    assert np.array_equal(a[..., 3], alpha[..., 0])
    assert np.array_equal(a, b)
    assert np.array_equal(bytes_of(wct(CONTENT, rgba, **LEVELS)), bytes_of(wct(CONTENT, hidden, **LEVELS)))


def test_kept_colors_count_what_can_be_seen_only(wct):
    """A cut-out figure on a large transparent canvas, or under a mask, has the colors it has alone."""
    canvas = np.zeros((96, 128, 4), np.uint8)
    canvas[:70, :90, :3], canvas[:70, :90, 3] = CONTENT, 255
    mask = canvas[..., 3]
    garish = canvas[..., :3].copy()
    garish[mask == 0] = (255, 0, 255)
    shallow = {"levels": (1,), "keep_color": "lab"}
    results = [wct(canvas, STYLE, **shallow), wct(garish, STYLE, mask=mask, **shallow)]
    wanted = rgb_to_lab(wct(CONTENT, STYLE, **shallow).tensor.double()).mean((2, 3))
    for result in results:
        seen = rgb_to_lab(result.tensor[:, :, :70, :90].double()).mean((2, 3))
        assert float((seen - wanted).abs().max()) < 1


def test_smoothing_looks_only_at_what_can_be_seen(wct):
    canvas = np.zeros((*CONTENT.shape[:2], 4), np.uint8)
    canvas[..., :3], canvas[10:60, 20:80, 3] = CONTENT, 255
    weights = to_picture(canvas).alpha
    # Of little contrast: edges would keep the hidden colors out by themselves.
    rgb = 0.4 + 0.02 * torch.rand(1, 3, 70, 90, generator=torch.Generator().manual_seed(0))
    other = torch.where(weights > 0, rgb, rgb + 0.03)
    first, second = (guided_filter(x, x, 8, weights=weights) for x in (rgb, other))
    assert (first - second)[:, :, 10:60, 20:80].abs().max() < 1e-5
    assert (guided_filter(rgb, rgb, 8) - guided_filter(other, other, 8))[:, :, 10:60, 20:80].abs().max() > 1e-3


def test_a_label_of_a_mask_is_stylized(wct):
    labels = np.zeros(CONTENT.shape[:2], np.int32)
    labels[:, 30:60], labels[:, 60:] = 1, 5
    with pytest.raises(MaskError, match="label=N"):
        wct(CONTENT, STYLE, mask=labels, **LEVELS)
    named = bytes_of(wct(CONTENT, STYLE, mask=labels, label=5, **LEVELS))
    assert np.array_equal(named, bytes_of(wct(CONTENT, STYLE, mask=labels == 5, **LEVELS)))
    assert np.array_equal(named[:, :60], CONTENT[:, :60])


def test_style_masks_and_trimming_leave_bars_out(wct):
    framed = np.zeros((100, 110, 3), np.uint8)
    framed[20:70, 10:70] = STYLE[:50, :60]
    inner = bytes_of(wct(CONTENT, STYLE[:50, :60], **LEVELS)).astype(int)
    with pytest.warns(StylePluginWarning, match="left out, in pixels: top 20, bottom 30, left 10, right 40"):
        trimmed = bytes_of(wct(CONTENT, framed, trim_style=True, **LEVELS))
    assert np.array_equal(trimmed, inner)
    with pytest.warns(StylePluginWarning, match="top 20.*`trim_style`"):
        plain = bytes_of(wct(CONTENT, framed, **LEVELS))
    assert np.abs(plain - inner).mean() > 5
    mask = np.zeros((100, 110), np.uint8)
    mask[20:70, 10:70] = 255
    masked = bytes_of(wct(CONTENT, StyleWeight(style=framed, mask=mask), **LEVELS))
    # The features at the edges still see the bars.
    assert np.abs(masked - inner).mean() < 0.7 * np.abs(plain - inner).mean()
