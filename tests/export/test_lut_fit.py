import torch
from fakes.looks import colors, smooth_look

from styleplugin.export.lut_fit import fit_lut
from styleplugin.images.color.conversions import delta_e, rgb_to_lab


def test_a_fit_finds_the_look_again():
    picture, look = colors(40_000), smooth_look(33)
    fitted = fit_lut(picture, look.apply(picture), 17)
    others = colors(seed=1)
    difference = delta_e(rgb_to_lab(fitted.apply(others)), rgb_to_lab(look.apply(others)))
    assert float(difference.mean()) < 0.3
    assert float(difference.max()) < 2


def test_colors_that_a_picture_lacks_follow_those_it_has():
    dark = 0.3 * colors(4000)
    fitted = fit_lut(dark, (dark + torch.tensor([0.2, 0.0, -0.1])[:, None, None]).clamp(0, 1), 17)
    gray = torch.linspace(0, 1, 20).expand(1, 3, 1, 20)
    result = fitted.apply(gray)[0, :, 0]
    assert bool((result.diff(dim=1) > -0.01).all()), "no folds where nothing was seen"
    assert bool((result[0] >= result[1] - 1e-3).all()), "red stays in front"
