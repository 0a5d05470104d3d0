"""Compiled code is made once, and again whenever the file of it cannot be relied on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from styleplugin import kernels
from styleplugin.kernels import store

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


def place_of(tmp_path: Path) -> Path:
    (file,) = tmp_path.rglob("*.o")
    return file


def as_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def as_link(file: Path) -> None:
    file.rename(file.with_suffix(".x"))
    file.symlink_to(file.with_suffix(".x"))


def as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def as_hole(file: Path) -> None:
    os.truncate(file, 3 << 30)


@pytest.mark.parametrize("change", [as_fifo, as_link, as_folder, as_hole, lambda file: file.chmod(0o666)])
def test_what_is_not_a_file_of_the_user_alone_is_not_read(made, tmp_path, change, monkeypatch):
    kept, keys = made
    kept("a")
    change(place_of(tmp_path))
    assert kept("a") == b"code of a"
    assert keys == ["a", "a"]


def test_the_code_of_another_kernel_is_not_taken(made, tmp_path):
    kept, keys = made
    kept("a")
    first = place_of(tmp_path)
    kept("b")
    (second,) = set(tmp_path.rglob("*.o")) - {first}
    second.write_bytes(first.read_bytes())
    assert kept("b") == b"code of b"
    assert keys == ["a", "b", "b"]


@pytest.mark.parametrize("name", ["styleplugin", "styleplugin/native"])
def test_a_folder_that_others_can_write_is_not_relied_on_and_closed(made, tmp_path, name):
    kept, keys = made
    kept("a")
    (tmp_path / name).chmod(0o777)
    assert kept("a") == b"code of a"
    assert keys == ["a", "a"]
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o700
    kept("a")
    assert keys == ["a", "a"]


def test_a_link_in_place_of_the_folder_is_not_followed(made, tmp_path):
    kept, keys = made
    kept("a")
    folder = tmp_path / "styleplugin" / "native"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").iterdir())
    assert [kept("a"), kept("b")] == [b"code of a", b"code of b"]
    assert keys == ["a", "a", "b"]
    assert sorted((tmp_path / "elsewhere").iterdir()) == before


def test_folders_and_files_are_the_users_alone_whatever_the_umask(made, tmp_path):
    kept, _ = made
    before = os.umask(0)
    try:
        kept("a")
    finally:
        os.umask(before)
    folder = tmp_path / "styleplugin"
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "native", place_of(tmp_path))] == [
        0o700,
        0o700,
        0o600,
    ]


def test_the_switch_leaves_everything_to_torch():
    program = """
import sys, torch
from styleplugin import kernels
from styleplugin.engine.compile import compile_layers
from styleplugin.networks.layers import Conv3x3
from styleplugin.transforms.moments import Moments
x = torch.rand(1, 64, 40, 40).contiguous(memory_format=torch.channels_last)
Moments.of(x)
compile_layers([Conv3x3(64, 64), Conv3x3(64, 3)], x)
print(kernels.target(), "llvmlite" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, kernels.SWITCH: "0"},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "None False\n"


@pytest.mark.parametrize("place", ["/dev/null", "relative", "~nobody-of-this-name/x"])
def test_without_a_folder_to_keep_it_in_it_is_made_each_time(made, tmp_path, monkeypatch, place):
    kept, keys = made
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    assert kept("a") == kept("a") == b"code of a"
    assert keys == ["a", "a"]
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(kernels.target() is None, reason="needs llvmlite on an x86-64 Linux with AVX2")
def test_a_function_that_was_compiled_before_is_only_loaded(tmp_path, monkeypatch):
    from styleplugin.kernels import code

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    results = []
    for _ in range(2):
        function = kernels.new_code(kernels.known_target())
        function.pointer().store(function.constant(3))
        run, values = function.compile(), kernels.scratch(64)
        run(1, values.zero_().data_ptr())
        results.append(values[: kernels.known_target().lanes].tolist())
        monkeypatch.setattr(code, "_machine_code", None)
    assert results[0] == results[1] == [3.0] * kernels.known_target().lanes
