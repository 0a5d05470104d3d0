import pytest
import torch
from fakes.looks import colors, smooth_look

from styleplugin.images.looks.cube import write_cube
from styleplugin.images.looks.judge import log_notes
from styleplugin.images.looks.read import read_lut
from styleplugin.images.looks.table import LUT


def encoded(light: torch.Tensor) -> torch.Tensor:
    """Light to sRGB."""
    light = light.clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.pow(1 / 2.4) - 0.055)


def decoded(srgb: torch.Tensor) -> torch.Tensor:
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055).pow(2.4))


def s_log3(light: torch.Tensor) -> torch.Tensor:
    """Sony, "S-Gamut3.Cine/S-Log3", 2014."""
    lowest = (light * (171.2102946929 - 95) / 0.01125 + 95) / 1023
    return torch.where(light >= 0.01125, (420 + ((light + 0.01) / 0.19).log10() * 261.5) / 1023, lowest)


def light_of_s_log3(code: torch.Tensor) -> torch.Tensor:
    lowest = (code * 1023 - 95) * 0.01125 / (171.2102946929 - 95)
    return torch.where(code >= 171.2102946929 / 1023, 10 ** ((code * 1023 - 420) / 261.5) * 0.19 - 0.01, lowest)


def log_c3(light: torch.Tensor) -> torch.Tensor:
    """ARRI, "ALEXA LogC Curve", 2017, EI 800."""
    curve = 0.24719 * (5.555556 * light + 0.052272).log10() + 0.385537
    return torch.where(light > 0.010591, curve, 5.367655 * light + 0.092809)


def light_of_log_c3(code: torch.Tensor) -> torch.Tensor:
    curve = (10 ** ((code - 0.385537) / 0.24719) - 0.052272) / 5.555556
    return torch.where(code > 0.149658, curve, (code - 0.092809) / 5.367655)


def with_shoulder(light: torch.Tensor) -> torch.Tensor:
    light = light.clamp_min(0)
    return light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)


def table(curve, size: int = 33) -> LUT:
    return LUT(curve(LUT.identity(size).table))


@pytest.mark.parametrize("light_of", [light_of_s_log3, light_of_log_c3])
@pytest.mark.parametrize("tone", [lambda light: light, with_shoulder])
def test_a_table_for_log_footage_gets_a_note(light_of, tone):
    (note,) = log_notes(table(lambda code: encoded(tone(light_of(code)))))
    assert "made for the log footage" in note


@pytest.mark.parametrize("log", [s_log3, log_c3])
@pytest.mark.parametrize("light", [lambda color: color, decoded])
def test_a_table_that_makes_log_gets_a_note(log, light):
    (note,) = log_notes(table(lambda color: log(light(color))))
    assert "make the log encoding" in note


LOOKS = {
    "identity": lambda color: color,
    "contrast": lambda color: color**2 * (3 - 2 * color),
    "harsh": lambda color: (1.5 * color - 0.25).clamp(0, 1),
    "faded": lambda color: 0.15 + 0.6 * color,
    "light": lambda color: color**0.5,
    "dark": lambda color: color**2.2,
    "negative": lambda color: 1 - color,
    "black": lambda color: 0 * color,
}


@pytest.mark.parametrize("look", LOOKS)
def test_other_looks_get_none(look):
    assert log_notes(table(LOOKS[look])) == ()
    assert log_notes(smooth_look(17)) == ()


def test_the_note_comes_with_the_file(tmp_path):
    write_cube(table(s_log3), tmp_path / "log.cube")
    lut = read_lut(tmp_path / "log.cube")
    assert len(lut.warnings) == 1
    assert bool(lut.apply(colors()).isfinite().all())
