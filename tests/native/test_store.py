"""Compiled code is made once, and again whenever the file of it cannot be relied on."""

import os
import sys

import pytest

from styleplugin import native
from styleplugin.native import store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="code is compiled on Linux only")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return what `kept` returns for a key, and the keys that something was made for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keys = []

    def make(key: str) -> bytes:
        keys.append(key)
        return f"code of {key}".encode()

    return lambda key: store.kept(key, lambda: make(key)), keys


def test_code_is_made_once(made):
    kept, keys = made
    assert [kept(key) for key in "abab"] == [b"code of a", b"code of b"] * 2
    assert keys == ["a", "b"]


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: content + b"x"])
def test_a_damaged_file_is_made_again(made, tmp_path, damage):
    kept, keys = made
    kept("a")
    (file,) = tmp_path.rglob("*.o")
    file.write_bytes(damage(file.read_bytes()))
    assert kept("a") == kept("a") == b"code of a"
    assert keys == ["a", "a"]


def test_the_file_of_another_user_is_not_trusted(made, monkeypatch):
    kept, keys = made
    kept("a")
    monkeypatch.setattr(os, "getuid", lambda: -1)
    assert kept("a") == b"code of a"
    assert keys == ["a", "a"]


@pytest.mark.parametrize("place", ["/dev/null", "relative", "~nobody-of-this-name/x"])
def test_without_a_folder_to_keep_it_in_it_is_made_each_time(made, tmp_path, monkeypatch, place):
    kept, keys = made
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    assert kept("a") == kept("a") == b"code of a"
    assert keys == ["a", "a"]
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(native.target() is None, reason="needs llvmlite on an x86-64 Linux with AVX2")
def test_a_function_that_was_compiled_before_is_only_loaded(tmp_path, monkeypatch):
    from styleplugin.native import code

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    results = []
    for _ in range(2):
        function = native.new_code(native.known_target())
        function.pointer().store(function.splat(3))
        run, values = function.compile(), native.scratch(64)
        run(1, values.zero_().data_ptr())
        results.append(values[: native.known_target().lanes].tolist())
        monkeypatch.setattr(code, "_machine_code", None)
    assert results[0] == results[1] == [3.0] * native.known_target().lanes
