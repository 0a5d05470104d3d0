import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleplugin import cli
from styleplugin.errors import UsageError
from styleplugin.options import StylizeOptions

ROOT = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("content", "style", "other"):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    mask = np.zeros((40, 48), dtype=np.uint8)
    mask[:, 24:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


@pytest.fixture
def model(tiny_weights):
    return ["--model", f"file:{tiny_weights}", "--allow-unknown-model", "--device", "cpu"]


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


LEVELS = ["--levels", "3", "2", "1"]


def test_stylize_writes_picture_and_report(files, model, capsys):
    content, style, output, report = (str(files / n) for n in ("content.png", "style.png", "out.png", "out.json"))
    args = ["stylize", content, style, "-o", output, "--strength", "0.8", "--report", report, *model, *LEVELS]
    assert cli.run(args) == 0
    assert pixels(output).shape == (40, 48, 3)
    written = json.loads((files / "out.json").read_text())
    assert written["settings"]["strength"] == 0.8
    assert written["content_size"] == [40, 48]
    assert "48 x 40" in capsys.readouterr().out


def test_D03_an_existing_output_is_kept_unless_asked(files, model, capsys):
    output = files / "out.png"
    Image.new("RGB", (3, 3)).save(output)
    precious = output.read_bytes()
    args = ["stylize", str(files / "content.png"), str(files / "style.png"), "-o", str(output), *model, *LEVELS]
    assert cli.run(args) == 7
    assert output.read_bytes() == precious
    assert "--overwrite" in capsys.readouterr().err
    assert cli.run([*args, "--overwrite"]) == 0
    assert pixels(output).shape == (40, 48, 3)


def test_D04_an_input_is_never_the_output(files, model):
    content = str(files / "content.png")
    assert cli.run(["stylize", content, str(files / "style.png"), "-o", content, "--overwrite", *model]) == 7


def test_styles_are_mixed_by_weight_and_a_mask_keeps_black_parts(files, model):
    content, a, b = (str(files / f"{n}.png") for n in ("content", "style", "other"))
    mixed, alone = str(files / "mixed.png"), str(files / "alone.png")
    mask = ["--mask", str(files / "mask.png")]
    assert (
        cli.run(["stylize", content, "--style", f"{a}:1", "--style", f"{b}:0", "-o", mixed, *mask, *model, *LEVELS])
        == 0
    )
    assert cli.run(["stylize", content, a, "-o", alone, *mask, *model, *LEVELS]) == 0
    assert np.array_equal(pixels(mixed), pixels(alone))
    assert np.array_equal(pixels(mixed)[:, :24], pixels(content)[:, :24])


def test_a_style_file_stands_for_its_picture(files, model):
    content, style = str(files / "content.png"), str(files / "style.png")
    saved, first, second = str(files / "s.style.safetensors"), str(files / "1.png"), str(files / "2.png")
    assert cli.run(["style", "save", style, "-o", saved, *model]) == 0
    assert cli.run(["stylize", content, saved, "-o", first, *model, *LEVELS]) == 0
    assert cli.run(["stylize", content, style, "-o", second, *model, *LEVELS]) == 0
    assert np.abs(pixels(first).astype(int) - pixels(second)).max() <= 1


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["CONTENT", "-o", "OUT"], 2, "No style was given"),
        (["CONTENT", "missing.png", "-o", "OUT"], 3, "missing.png"),
        (["CONTENT", "STYLE", "-o", "OUT", "--model", "no-such-model"], 4, "no-such-model"),
        (["CONTENT", "STYLE", "-o", "no/such/folder/out.png"], 7, "folder"),
        (["CONTENT", "STYLE", "-o", "out.xyz"], 7, ".xyz"),
        (["CONTENT", "--style", "STYLE:-1", "-o", "OUT"], 2, "a weight is a number of at least 0"),
        (["CONTENT", "STYLE", "-o", "OUT", "--device", "abacus"], 2, "must be auto, cpu"),
    ],
)
def test_errors_say_what_is_wrong_and_exit_with_their_code(files, model, capsys, args, code, message):
    names = {"CONTENT": str(files / "content.png"), "STYLE": str(files / "style.png"), "OUT": str(files / "o.png")}
    for name, path in names.items():
        args = [arg.replace(name, path) for arg in args]
    given = [] if "--model" in args else model[:3]
    assert cli.run(["stylize", *args, *given]) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_T17_a_value_out_of_range_exits_with_2(files, capsys):
    for option, value in (("--strength", "3"), ("--style-scale", "99"), ("--memory-limit-mb", "1"), ("--steps", "0")):
        assert cli.run(["stylize", "a", "b", "-o", "c.png", option, value]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"styleplugin: SP101: {option} was {value}") and "it must be a" in error
    with pytest.raises(UsageError, match=r"^`style_scale` was 99; it must"):
        StylizeOptions(style_scale=99)


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (
            "stylize c.png s.png -o o.png --strength abc",
            "SP101",
            "--strength was 'abc'; it must be a number from 0 to 1",
        ),
        ("stylize c.png s.png -o o.png --steps 2.5", "SP101", "--steps was '2.5'; it must be a whole number from 1"),
        ("stylize c.png s.png -o o.png --memory-limit-mb x", "SP101", "--memory-limit-mb was 'x'; it must be a whole"),
        ("stylize c.png s.png -o o.png --levels 3 x", "SP101", "--levels was (3, 'x'); it must be one or more whole"),
        ("stylize c.png s.png -o o.png --keep-color pink", "SP102", "--keep-color was 'pink'; it must be one of off,"),
        ("stylize c.png s.png -o o.png --quality high", "SP101", "--quality was 'high'; it must be a whole number"),
        ("stylize c.png s.png -o o.png --mask-label x", "SP101", "--mask-label was 'x'; it must be a whole number"),
        ("stylize c.png s.png -o o.png --method foo", "SP102", "--method was 'foo'; it must be one of wct,"),
        ("look export c.png s.png -o o.cube --size big", "SP101", "--size was 'big'; it must be a whole number"),
        ("train x.toml --minutes abc", "SP101", "--minutes was 'abc'; it must be a number"),
    ],
)
def test_a_value_of_another_type_is_refused_in_our_words(command, code, message, capsys):
    assert cli.run(command.split()) == 2
    assert capsys.readouterr().err.startswith(f"styleplugin: {code}: {message}")


def test_models_are_listed_and_described(capsys, tiny_weights):
    assert cli.run(["models", "list"]) == 0
    capsys.readouterr()


def test_help_answers_without_torch():
    code = "import sys; sys.argv[1:] = ['--help']\ntry:\n import styleplugin.__main__ as m; m.main()\n"
    code += "except SystemExit: pass\nassert 'torch' not in sys.modules, 'torch was imported'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "stylize" in done.stdout


@pytest.mark.slow
def test_M06_a_signal_stops_with_130_and_leaves_no_file(files, tiny_weights):
    big = files / "big.png"
    Image.effect_noise((2600, 2400), 90).convert("RGB").save(big)
    output = files / "big-out.png"
    command = [sys.executable, "-m", "styleplugin", "stylize", str(big), str(files / "style.png"), "-o", str(output)]
    command += ["--model", f"file:{tiny_weights}", "--allow-unknown-model", "--device", "cpu", *LEVELS, "--tile", "64"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert process.stderr is not None
    process.stderr.readline()  # the warning about the unknown model: loading is over
    time.sleep(0.7)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert not output.exists()
    assert not list(files.glob("*.tmp*"))


@pytest.mark.slow
@pytest.mark.weights
def test_a_new_user_gets_a_student_from_a_folder_of_pictures(tmp_path: Path):
    pictures = ROOT / "docs" / "images" / "training"
    recipe, student = tmp_path / "mine.toml", tmp_path / "run" / "pair.safetensors"

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "styleplugin", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=tmp_path)

    options = ["--photos", str(pictures / "photos"), "--paintings", str(pictures / "paintings"), "--crop", "32"]
    options += ["--method", "adain", "--levels", "2", "--width", "0.0625", "--batch", "2", "--minutes", "0.1"]
    made = call("train", "new", "-o", str(recipe), "--teacher", "cd-wct.x16", *options)
    assert made.returncode == 0 and "styleplugin train" in made.stdout
    again = call("train", "new", "-o", str(recipe), *options)
    assert again.returncode == 7 and "SP602" in again.stderr
    trained = call("train", str(recipe), "--out", str(student.parent), "--device", "cpu")
    assert trained.returncode == 0, trained.stderr
    assert "about" in trained.stdout and "left" in trained.stdout and trained.stdout.strip().endswith(str(student))
    assert (student.parent / "report.html").exists()
    samples = ROOT / "styleplugin" / "samples"
    painted = call("stylize", str(samples / "lake.jpg"), str(samples / "dots.jpg"), "-o", "out.png",
                   "--allow-unknown-model", "--model", f"file:{student}")  # fmt: skip
    assert painted.returncode == 0 and (tmp_path / "out.png").exists()
    wrong = call("train", str(recipe), "--out", str(tmp_path / "other"), "--photos", str(tmp_path / "nowhere"))
    assert wrong.returncode == 2 and "SP130" in wrong.stderr and "Traceback" not in wrong.stderr


def test_masks_of_styles_labels_metadata_and_limits_are_options(files, model, capsys):
    exif = Image.Exif()
    exif[0x010E] = "A lake"
    exif[0x8825] = {1: "N", 2: (47.0, 30.0, 0.0)}
    with Image.open(files / "content.png") as image:
        image.save(files / "content.jpg", exif=exif)
    labels = np.zeros((40, 48), np.uint8)
    labels[:, 20:] = 3
    labels[:, 30:] = 7
    Image.fromarray(labels).save(files / "labels.png")
    content, style = str(files / "content.jpg"), str(files / "style.png")
    common = [*model, "--levels", "1", "--quiet"]

    def stylize(name: str, *options: str) -> int:
        return cli.run(["stylize", content, style, "-o", str(files / name), *common, *options])

    assert stylize("a.jpg", "--mask", str(files / "labels.png")) == 3
    assert "--mask-label N" in capsys.readouterr().err
    assert stylize("a.png", "--mask", str(files / "labels.png"), "--mask-label", "7") == 0
    assert np.array_equal(pixels(files / "a.png")[:, :30], pixels(content)[:, :30])
    assert stylize("b.png", "--style-mask", str(files / "mask.png"), "--trim-style") == 0
    assert not np.array_equal(pixels(files / "b.png"), pixels(files / "a.png"))
    assert stylize("c.png", "--style-mask", "-", "--style-mask", "-") == 2
    assert stylize("d.jpg", "--keep-location") == 0
    assert stylize("e.jpg", "--no-metadata") == 0
    kept = {}
    for name in ("a.png", "d.jpg", "e.jpg"):
        with Image.open(files / name) as image:
            kept[name] = (image.getexif().get(0x010E), bool(image.getexif().get_ifd(0x8825)))
    assert kept == {"a.png": ("A lake", False), "d.jpg": ("A lake", True), "e.jpg": (None, False)}
    assert stylize("f.png", "--max-megapixels", "0.001") == 3
    assert "--max-megapixels" in capsys.readouterr().err
    assert stylize("a.png", "--style-mask", str(files / "a.png"), "--overwrite") == 7
