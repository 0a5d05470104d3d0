"""One running page for all tests that need one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# Pages that share a folder would clear away each other's files.
_FOLDER = tempfile.TemporaryDirectory(prefix="page-test-", ignore_cleanup_errors=True)
os.environ["GRADIO_TEMP_DIR"] = _FOLDER.name
gradio = pytest.importorskip("gradio", reason="needs the extra [app]")


def picture(seed: int, size: tuple[int, int] = (96, 128)) -> Image.Image:
    """A smooth picture of (height, width)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)


def free_port() -> int:
    """Return a port that is free now; Gradio's own search meets that of another test process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(command: Sequence[str | Path], **options: Any) -> Iterator[dict[str, Any]]:
    """Start a page in a process of its own; gives its configuration once it answers.

    Args:
        command: Starts the page at the port of GRADIO_SERVER_PORT in the environment.
        **options: As for `subprocess.Popen`.
    """
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    page = subprocess.Popen(command, **silent, **options)
    address = f"http://127.0.0.1:{options['env']['GRADIO_SERVER_PORT']}/config"
    try:
        end = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(address, timeout=5) as answer:
                    config = json.load(answer)
                break
            except OSError:
                assert page.poll() is None and time.monotonic() < end
                time.sleep(0.5)
        yield config
    finally:
        page.terminate()
        page.wait()


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "photo.png"
    picture(0).save(path)
    return str(path)


@pytest.fixture(scope="session")
def painting(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "painting.jpg"
    picture(1).save(path)
    return str(path)


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running page that may choose pictures of a folder."""
    from gradio_app.app import build, launch

    folder = tmp_path_factory.mktemp("folder")
    picture(2).save(folder / "inside.png")
    page = build(str(folder))
    _, url, _ = launch(page, prevent_thread_lock=True, quiet=True, server_port=free_port())
    yield url
    page.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless browser; while it is there, its event loop runs in this thread, which tests elsewhere cannot have."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Debian's chromium")
    with api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def broken_files(folder: Path) -> dict[str, Path]:
    """Files that are no pictures, by what is wrong with them."""
    good = folder / "good.png"
    picture(3).save(good)
    data = good.read_bytes()
    width_at = data.index(b"IHDR") + 4
    huge = data[:width_at] + (20_000).to_bytes(4, "big") + (15_000).to_bytes(4, "big") + data[width_at + 8 :]
    files = {"empty": b"", "text": b"hello", "corrupt": data[: len(data) // 2], "huge": _with_checksum(huge)}
    for name, content in files.items():
        (folder / f"{name}.png").write_bytes(content)
    return {name: folder / f"{name}.png" for name in files}


def _with_checksum(png: bytes) -> bytes:
    """Return a PNG whose first chunk has the right checksum again."""
    import zlib

    start = png.index(b"IHDR")
    return png[: start + 17] + zlib.crc32(png[start : start + 17]).to_bytes(4, "big") + png[start + 21 :]
