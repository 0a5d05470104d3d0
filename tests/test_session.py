"""A run by itself, with numbers: what is solved, and what is rendered through it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from styleplugin.engine.feature_map import StoredMap
from styleplugin.engine.plan import Plan
from styleplugin.engine.stream import Engine
from styleplugin.images.picture import Picture
from styleplugin.job import Content
from styleplugin.methods.palette import ColorMap
from styleplugin.methods.run import measure_style
from styleplugin.methods.stage import StyleCode, mix_codes
from styleplugin.options import EngineOptions, StylizeOptions
from styleplugin.session import Pass, Session

LIKE = torch.empty(0, dtype=torch.float64, device="cpu")
METHOD = ColorMap()


def drawn(seed: int, height: int = 32, width: int = 48, low: float = 0.3, high: float = 0.7) -> torch.Tensor:
    """Colors between two values, (1, 3, H, W), float32."""
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(1, 3, height, width, generator=generator)


def content(seed: int, where: torch.Tensor | None = None, **size: Any) -> Content:
    return Content(Picture(rgb=drawn(seed, **size), bits=32), where)


def code_of(style: torch.Tensor) -> StyleCode:
    size = (style.shape[2], style.shape[3])
    engine = Engine(Plan(LIKE.device, 0, 0.0), picture_size=size)
    return measure_style(METHOD, StoredMap(style.double()), None, engine)


def session_of(code: StyleCode, **options: Any) -> Session:
    chosen = StylizeOptions(**options)
    return Session([Pass(METHOD, code, chosen)], chosen, EngineOptions(device="cpu"), LIKE)


def no_note(message: str) -> None:
    raise AssertionError(message)


def means(rgb: torch.Tensor) -> torch.Tensor:
    return rgb.double().mean((0, 2, 3))


STYLE, OTHER = drawn(1), drawn(2, low=0.1, high=0.4)


def test_one_content_gets_the_style_s_means_and_covariances():
    session, photo = session_of(code_of(STYLE)), content(3)
    assert not session.is_solved
    session.solve([photo], no_note)
    out = session.render(photo, no_note)
    assert session.is_solved and not session.is_blank
    torch.testing.assert_close(means(out), means(STYLE), rtol=0, atol=1e-5)
    torch.testing.assert_close(*(torch.cov(x.double()[0].flatten(1)) for x in (out, STYLE)), rtol=0, atol=1e-5)


def test_what_solve_has_computed_render_takes(monkeypatch: pytest.MonkeyPatch):
    session, photo, other = session_of(code_of(STYLE)), content(3), content(4)
    session.solve([photo], no_note)
    runs = []
    run = Session._run
    monkeypatch.setattr(Session, "_run", lambda self, some, *rest: runs.append(some) or run(self, some, *rest))
    first = session.render(photo, no_note)
    assert runs == []
    again, _ = session.render(photo, no_note), session.render(other, no_note)
    assert runs == [[photo], [other]]
    assert torch.equal(first, again)


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.9])
def test_strength_blends_the_map_and_for_small_ones_the_picture(strength: float):
    full, part = session_of(code_of(STYLE)), session_of(code_of(STYLE), strength=strength)
    photo = content(5)
    for session in (full, part):
        session.solve([photo], no_note)
    whole, rgb = full.render(photo, no_note), photo.picture.rgb
    share = strength * (0.35 + 0.65 * strength**2) * (1 - (1 - strength) ** 4)
    torch.testing.assert_close(part.render(photo, no_note), torch.lerp(rgb, whole, share), rtol=0, atol=1e-5)


def test_a_mix_has_the_means_of_both_styles():
    session, photo = session_of(mix_codes([code_of(STYLE), code_of(OTHER)], [0.25, 0.75])), content(6)
    session.solve([photo], no_note)
    wanted = 0.25 * means(STYLE) + 0.75 * means(OTHER)
    torch.testing.assert_close(means(session.render(photo, no_note)), wanted, rtol=0, atol=1e-5)


def test_a_mask_says_what_is_measured_and_what_changes():
    where = torch.zeros(1, 1, 32, 48)
    where[..., :24] = 1
    session, photo = session_of(code_of(STYLE)), content(7, where)
    session.solve([photo], no_note)
    out = session.render(photo, no_note)
    assert torch.equal(out[..., 24:], photo.picture.rgb[..., 24:])
    torch.testing.assert_close(means(out[..., :24]), means(STYLE), rtol=0, atol=1e-5)


def test_frames_share_the_maps_of_all_of_them():
    session = session_of(code_of(STYLE))
    dark, light = content(8, low=0.2, high=0.5), content(9, low=0.4, high=0.7)
    session.solve([dark, light], no_note)
    outputs = [session.render(frame, no_note) for frame in (dark, light)]
    torch.testing.assert_close(torch.stack([*map(means, outputs)]).mean(0), means(STYLE), rtol=0, atol=1e-2)
    assert bool((means(outputs[0]) < means(outputs[1])).all())


def test_a_content_of_one_color_says_nothing_about_the_others():
    flat = Content(Picture(rgb=torch.full((1, 3, 32, 48), 0.5), bits=32), None)
    alone, beside = session_of(code_of(STYLE)), session_of(code_of(STYLE))
    photo = content(10)
    alone.solve([photo], no_note)
    beside.solve([flat, photo], no_note)
    assert torch.equal(alone.render(photo, no_note), beside.render(photo, no_note))
    alone = session_of(code_of(STYLE))
    alone.solve([flat], no_note)
    assert alone.is_blank


def test_kept_colors_are_solved_with_the_maps():
    session, photo, later = session_of(code_of(OTHER), keep_color="lab"), content(11), content(11)
    session.solve([photo], no_note)
    # The same content, which the session has not seen: the map of its colors is there.
    assert torch.equal(session.render(photo, no_note), session.render(later, no_note))
    torch.testing.assert_close(means(session.render(later, no_note)), means(photo.picture.rgb), rtol=0, atol=0.01)
