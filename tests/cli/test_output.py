"""Standard streams of every kind: printing never fails work that is done."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleplugin import cli
from styleplugin.errors import InputImageError
from styleplugin.files import check_regular_file
from styleplugin.images.color.profiles import SRGB_PROFILE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for i, name in enumerate(("content", "style")):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "look.cube").write_text("LUT_3D_SIZE 2\n" + "0 0 0\n" * 8)
    return tmp_path


def call(folder: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a shell."""
    line = f"{sys.executable} -m styleplugin {command}"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(["sh", "-c", line], cwd=folder, env=variables, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("streams", ["2>&-", ">&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "| true"])
def test_no_stream_fails_a_picture(files, streams):
    done = call(files, f"look apply content.png look.cube -o out.png --strength 0.5 {streams}")
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Error" not in done.stderr
    with Image.open(files / "out.png") as image:
        assert image.size == (48, 40)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_answer_that_cannot_be_printed_is_an_error(files):
    done = call(files, "models list >/dev/full")
    assert done.returncode == 7 and done.stderr.startswith("styleplugin: SP604") and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_name_outside_the_code_page_is_spelled_out(files):
    done = call(files, "look apply content.png look.cube -o 山水.png", PYTHONIOENCODING="cp1252")
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith("\\u5c71\\u6c34.png") and (files / "山水.png").exists()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("https://example.org/a.jpg", "address on the network"),
        ("s3://bucket/a.jpg", "address on the network"),
        ("data:image/png;base64,AAAA", "address on the network"),
        ("-", "Standard input is not read"),
        ("c:/missing.png", "cannot be found"),
    ],
)
def test_what_is_no_path_is_named(path, words, capsys):
    with pytest.raises(InputImageError, match=words):
        check_regular_file(path)
    assert cli.run(["stylize", path, path, "-o", "out.png"]) == 3
    assert words in capsys.readouterr().err


def test_the_profile_holds_no_time_of_day():
    assert SRGB_PROFILE[24:36].hex() == "07d000010001000000000000"


EVERYTHING = """
import sys, warnings
from pathlib import Path
import numpy as np
import styleplugin
warnings.simplefilter("ignore")
content, style = (np.random.default_rng(i).integers(0, 256, (40, 48, 3), dtype=np.uint8) for i in (0, 1))
stylizer = styleplugin.load(sys.argv[1], allow_unknown_model=True, device="cpu")
prepared = stylizer.prepare(style)
prepared.save("style.safetensors")
result = stylizer(content, prepared, levels=(3, 2, 1))
deep = styleplugin.Result(styleplugin.to_picture(content.astype(np.uint16) * 257))
for extension in (".png", ".jpg", ".webp", ".tif", ".bmp"):
    result.save("out" + extension)
deep.save("deep.png")
Path("report.json").write_text(result.report.to_json())
look = styleplugin.fit_look(content, result.picture, size=3, title="a")
look.save("look.cube")
look.save("look.png")
look.save_error_map("map.png")
Path("look.json").write_text(look.report.to_json())
"""


@pytest.mark.slow
def test_equal_inputs_give_equal_files(tmp_path, tiny_weights):
    """Two processes, whose starts are seconds apart."""
    found = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", EVERYTHING, str(tiny_weights)]
        subprocess.run(command, cwd=folder, env=environment, check=True)
        found.append({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())})
    assert found[0] == found[1] and len(found[0]) == 12


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "styleplugin" / "py.typed").exists()
    assert re.search(r'^license = \{ text = "MIT" \}$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
