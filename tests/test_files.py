from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

import pytest

from styleplugin import files
from styleplugin.errors import OutputError, WeightsError
from styleplugin.files import atomic_write, check_regular_file, check_target, has_suffix
from styleplugin.kinds import JSON


def test_a_file_appears_only_at_the_end(tmp_path):
    path = tmp_path / "x.bin"
    with atomic_write(path) as handle:
        handle.write(b"abc")
        assert not path.exists()
    assert path.read_bytes() == b"abc" and list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "ordinary").touch()
    with atomic_write(tmp_path / "x") as handle:
        handle.write(b"abc")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_the_earlier_file(tmp_path, error):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as handle:
        handle.write(b"new")
        raise error
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_D01_a_refused_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError) as caught, atomic_write(path) as handle:
            handle.write(bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == "SP604"
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_D05_links_are_replaced_and_never_followed(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"old")
    (tmp_path / "soft").symlink_to(target)
    (tmp_path / "hard").hardlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "outside")
    for name in ("soft", "hard", "dangling"):
        with atomic_write(tmp_path / name) as handle:
            handle.write(b"new")
        assert (tmp_path / name).read_bytes() == b"new" and not (tmp_path / name).is_symlink()
    assert target.read_bytes() == b"old" and not (tmp_path / "outside").exists()


def test_D05_devices_directories_and_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/null")
    for path in ("/dev/null", tmp_path, tmp_path / "fifo", tmp_path / "link", "a\0b"):
        with pytest.raises(OutputError) as caught, atomic_write(path):
            pass
        assert caught.value.code == "SP603"


def test_D02_D03_the_target_is_checked_before_the_work(tmp_path):
    with pytest.raises(OutputError) as caught:
        check_target(tmp_path / "missing" / "x", JSON, overwrite=False)
    assert caught.value.code == "SP601"
    (tmp_path / "x").touch()
    with pytest.raises(OutputError) as caught:
        check_target(tmp_path / "x", JSON, overwrite=False)
    assert caught.value.code == "SP602"
    assert check_target(tmp_path / "x", JSON, overwrite=True) == tmp_path / "x"


@pytest.mark.parametrize("seconds", [-7200, -5, 5, 1e8])
def test_D07_a_killed_writer_leaves_the_earlier_file(tmp_path, seconds: float):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    script = (
        "import os, signal, sys; from styleplugin.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as handle:\n"
        "    handle.write(b'new'); handle.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script, str(path)], env=environment, check=False)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2

    # The next run removes what a dead process left, whatever the clock says.
    leftover = next(tmp_path.glob(".styleplugin-*.part"))
    changed = time.time() + seconds
    os.utime(leftover, (changed, changed))
    files._remove_leftovers.cache_clear()
    with atomic_write(path) as handle:
        handle.write(b"new")
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"new"


def test_D07_files_being_written_are_not_leftovers(tmp_path):
    with atomic_write(tmp_path / "x") as handle:
        handle.write(b"x")
        handle.flush()
        (part,) = tmp_path.glob(".styleplugin-*.part")
        for changed in (time.time() - 5, 1e9):
            os.utime(part, (changed, changed))
            files._remove_leftovers.cache_clear()
            with atomic_write(tmp_path / "y"):
                pass
    assert (tmp_path / "x").read_bytes() == b"x"


def test_names_of_the_longest_length_work(tmp_path):
    with atomic_write(tmp_path / ("x" * 255)) as handle:
        handle.write(b"x")
    assert (tmp_path / ("x" * 255)).exists()


def test_an_extension_is_one_in_upper_case_too(tmp_path):
    assert has_suffix("A.CUBE", ".cube") and has_suffix(tmp_path / "b.Tar", ".zip", ".tar")
    assert not has_suffix("cube", ".cube") and not has_suffix(tmp_path / "x.cube" / "b", ".cube")


def test_W_and_I24_errors_are_of_the_family_asked_for(tmp_path):
    (tmp_path / "x").touch()
    assert check_regular_file(tmp_path / "x") == tmp_path / "x"
    with pytest.raises(WeightsError) as caught:
        check_regular_file(tmp_path, WeightsError, "SP301")
    assert caught.value.code == "SP301" and "directory" in caught.value.message
