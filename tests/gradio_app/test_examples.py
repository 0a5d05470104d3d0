"""Example styles: computed once for our photo, never mixed up with anybody's own."""

import types
from pathlib import Path

import pytest

from gradio_app import events, examples

from .conftest import picture

MODEL = "kbstyle.200k"


def click(content: str | None, number: int = 0) -> list:
    """Return the last outputs of a click on an example: marks, photo, style, pair, file's bytes, line."""
    quiet = {"request": None, "progress": lambda *_, **__: None}
    last: list = []
    for outputs in examples.example(content, MODEL, types.SimpleNamespace(index=number), **quiet):
        last = [*outputs[:4], Path(outputs[4]).read_bytes() if isinstance(outputs[4], str) else outputs[4], outputs[5]]
    return last


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(examples, "_known", {})


def test_our_photo_is_painted_once(monkeypatch):
    first = click(None)
    monkeypatch.setattr(events, "paint", lambda *_, **__: pytest.fail("was computed again"))
    assert click(None)[4] == first[4] and click(str(examples.PHOTO))[4] == first[4]


def test_G09_a_photo_of_the_same_name_is_neither_shown_to_others_nor_replaced_by_ours(tmp_path):
    own = tmp_path / examples.PHOTO.name
    picture(11).save(own)
    mine = click(str(own))
    assert "128 x 96" in mine[5] and not examples._known
    ours = click(None)
    assert "960 x 640" in ours[5]
    assert click(str(own))[4] == mine[4]
