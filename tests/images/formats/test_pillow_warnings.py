"""Reading pictures in threads leaves the program's warnings as they are."""

import threading
import warnings
from pathlib import Path

import pytest
from PIL import Image

from styleplugin.images.formats.pillow_warnings import pillow_warnings
from styleplugin.images.read import read_image


def say(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn as a module of Pillow."""
    warnings.warn_explicit(text, category, "TiffImagePlugin.py", 1, module="PIL.TiffImagePlugin")


def state() -> tuple[list[object], object]:
    return list(warnings.filters), warnings.showwarning


def test_threads_that_come_and_go_in_turns_hear_their_own_and_leave_nothing_behind():
    before = state()
    heard: dict[str, list[str]] = {"first": [], "second": []}
    first_reads, second_reads, first_is_gone = (threading.Event() for _ in range(3))

    def first() -> None:
        with pillow_warnings(heard["first"]):
            first_reads.set()
            second_reads.wait(10)
            say("one")
        first_is_gone.set()

    def second() -> None:
        first_reads.wait(10)
        with pillow_warnings(heard["second"]):
            second_reads.set()
            first_is_gone.wait(10)
            say("two")
            say("not for users", DeprecationWarning)

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {"first": ["one"], "second": ["two"]}
    assert state() == before


def test_others_keep_hearing_their_warnings():
    with pillow_warnings([]), pytest.warns(UserWarning, match="mine"):
        thread = threading.Thread(target=say, args=("mine",))
        thread.start()
        thread.join()


def test_reading_in_four_threads_changes_no_filter(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    before = state()
    threads = [threading.Thread(target=lambda: [read_image(path) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state() == before
