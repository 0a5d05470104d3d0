"""Every function of the page, called by its number: only uploads are read, and answers tell nothing of other files."""

import asyncio
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from gradio_app.app import build, launch
from gradio_app.components import Folder
from gradio_app.limits import Limits
from styleplugin.errors import UsageError

from ..attack import FILES, ask, config_of, functions_of, good_values, server_function, upload
from ..conftest import free_port, picture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
META = {"_type": "gradio.FileData"}


@pytest.fixture(scope="module")
def stored(address: str, photo: str) -> str:
    """A picture that was uploaded."""
    return upload(address, "photo.png", Path(photo).read_bytes())[1]


@pytest.fixture(scope="module")
def secrets_of_the_server(tmp_path_factory: pytest.TempPathFactory, photo: str) -> Iterator[dict[str, str]]:
    """Paths that no visitor may use, by what is there."""
    folder = tmp_path_factory.mktemp("secret")
    picture(77).save(folder / "secret.png")
    link = Path(get_upload_folder()) / "link.png"
    link.symlink_to(folder / "secret.png")
    uploads = get_upload_folder()
    yield {
        "picture": str(folder / "secret.png"),
        "missing": str(folder / "missing.png"),
        "folder": str(folder),
        "missing folder": str(folder / "none" / "secret.png"),
        "system": "/etc/passwd",
        "relative": "pyproject.toml",
        "link": str(link),
        "climbing": f"{uploads}/../{folder.name}/secret.png",
        "climbing out of a file": f"{folder}/secret.png/../secret.png",
        "uploads": uploads,
        "no such upload": f"{uploads}/{'0' * 64}/photo.png",
        "address": "http://127.0.0.1:1/secret.png",
        "scheme": f"file://{folder}/secret.png",
        "zero": "/etc/pass\0wd",
        "long": "/a" * 20_000,
        "empty": "",
    }
    link.unlink()


def forms(path: str, kind: str) -> list[Any]:
    """Ways to name a file for a kind of component."""
    plain = {"path": path}
    files = [
        plain | {"meta": META},
        plain,
        plain | {"meta": []},
        plain | {"url": path, "is_stream": True, "meta": META},
    ]
    if kind == "imageeditor":
        empty = {"background": None, "layers": [], "composite": None}
        return [
            empty | part for file in files for part in ({"background": file}, {"layers": [file]}, {"composite": file})
        ]
    if kind == "gallery":
        return [[{"image": file, "caption": None}] for file in files]
    if kind == "fileexplorer":
        return [[[path]], [path.split("/")]]
    return files


def file_inputs(config: dict[str, Any]) -> Iterator[tuple[int, list[dict[str, Any]], int, str]]:
    """Every input that takes a file: the function, its inputs, the place among them, and the kind."""
    for function, inputs in functions_of(config):
        for i, component in enumerate(inputs):
            if component["type"] in FILES:
                yield function, inputs, i, component["type"]


def test_no_function_of_a_running_page_reads_a_file_that_was_not_uploaded(address, stored, secrets_of_the_server):
    answers = set()
    for function, inputs, i, kind in file_inputs(config_of(address)):
        there, not_there = (forms(secrets_of_the_server[name], kind) for name in ("picture", "missing"))
        for form in [*(there if kind == "imageeditor" else there[:2]), not_there[0]]:
            values = good_values(inputs, stored)
            values[i] = form
            message = ask(address, function, values)
            assert not message["success"], (function, i, form)
            answers.add((kind == "fileexplorer", message["output"]["error"]))
    # One sentence for uploads and one for the folder, whatever is there.
    assert len(answers) == 2 and all("(SP160)" in text for _, text in answers)


def test_no_name_of_a_file_leads_out_of_the_uploads(stored, secrets_of_the_server, tmp_path):
    page, kinds, answers = build(str(tmp_path)), set(), set()
    for function, inputs, i, kind in file_inputs(page.config):
        kinds.add(kind)
        for name, path in secrets_of_the_server.items():
            for form in forms(path, kind):
                values = good_values(inputs, stored)
                values[i] = form
                with pytest.raises(gr.Error) as raised:
                    asyncio.run(page.process_api(function, values))
                assert "(SP160)" in raised.value.message, (function, name, form)
                answers.add((kind == "fileexplorer", raised.value.message))
    assert kinds == {"image", "file", "imageeditor", "fileexplorer"} and len(answers) == 2


def test_uploads_are_read_with_and_without_the_key_meta(address, stored):
    canvas = next(
        function
        for function, inputs in functions_of(config_of(address))
        if [component["type"] for component in inputs] == ["image"]
    )
    for form in ({"path": stored}, {"path": stored, "meta": META, "url": "http://127.0.0.1:1/x"}):
        assert ask(address, canvas, [form])["success"]


def test_a_kind_of_input_that_the_gate_does_not_know_takes_nothing():
    with build() as page:
        word = gr.Radio(["a"], label="New")
        gr.Button().click(lambda value: value, word)
    with pytest.raises(gr.Error, match="SP161"):
        asyncio.run(page.process_api(max(page.fns), ["a"]))


def explorer_of(address: str) -> int:
    return next(c["id"] for c in config_of(address)["components"] if c["type"] == "fileexplorer")


def test_the_folder_shows_its_own_files_and_nothing_else(address):
    code, listing = server_function(address, explorer_of(address), "ls", [])
    assert code == 200 and [entry["name"] for entry in json.loads(listing)] == ["inside.png"]
    answers = {
        server_function(address, explorer_of(address), "ls", place)
        for place in (
            [".."],
            ["..", ".."],
            ["inside.png", ".."],
            ["/etc"],
            ["none"],
            ["..\\.."],
            ["%2e%2e"],
            ["a\0b"],
            ["."],
            [""],
            ["a" * 5000],
            [1],
            [["x"]],
            {"a": 1},
            "x",
            7,
        )
    }
    assert len(answers) == 1
    code, text = answers.pop()
    assert code == 403 and "(SP160)" in text


def test_links_in_the_folder_are_neither_shown_nor_followed(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    for place in (inside / "sub", outside):
        picture(3).save(place / "a.png")
    (inside / "link.png").symlink_to(outside / "a.png")
    (inside / "linked").symlink_to(outside)
    (inside / "home").symlink_to(inside / "sub")
    explorer = gr.FileExplorer("**/*.*", root_dir=str(inside))
    folder = Folder(str(inside))
    folder.attach(explorer)
    assert [entry["name"] for entry in explorer.ls([])] == ["sub"]
    assert folder.path_of(["sub", "a.png"]) == (inside / "sub" / "a.png").resolve()
    for parts in (["link.png"], ["linked", "a.png"], ["linked"], ["home", "a.png"]):
        with pytest.raises(UsageError, match="no file of the folder"):
            folder.path_of(parts)
    # The folder itself may be reached by a link: its owner named it.
    (tmp_path / "named").symlink_to(inside)
    assert Folder(str(tmp_path / "named")).path_of(["sub"]) == (inside / "sub").resolve()


WRONG = [
    [],
    [1],
    {},
    {"path": 1},
    {"path": None, "meta": META},
    "xxx",
    "x" * 100_000,
    math.nan,
    math.inf,
    -math.inf,
    1e300,
    10**400,
    -1,
    0.123,
    True,
    None,
    [[1]],
    {"layers": 1},
    {"layers": ["x"]},
    {"id": "nobody's", "layers": {}},
    [{"image": "x"}],
    [["a"], ["b"]],
]


def reached(*_: Any) -> None:
    raise UsageError("SP100", "Reached.")


def test_every_wrong_value_of_every_input_gets_a_short_sentence_with_a_code(tmp_path):
    assert asyncio.run(count_refusals(build(str(tmp_path)))) > 5000


async def count_refusals(page: gr.Blocks) -> int:
    """Send each wrong value for each input of each function, and judge the answers; one loop of events serves all."""
    wrong = 0
    for number, function in page.fns.items():
        # The work itself is not of interest here.
        if function.api_visibility == "public" or function.name in ("example", "stop"):
            function.fn = reached
        kinds = [component.get_config() | {"type": component.get_block_name()} for component in function.inputs]
        for i, kind in enumerate(kinds):
            good = good_values([{"type": k["type"], "props": k} for k in kinds], None)
            for value in WRONG:
                values = [*good]
                values[i] = value
                try:
                    await page.process_api(number, values)
                except gr.Error as error:
                    text = error.message
                    assert len(text) < 400 and text.endswith(")") and "(SP" in text and "SP169" not in text, (
                        kind,
                        value,
                    )
                    wrong += "SP100" not in text
                    assert kind["type"] != "checkbox" or "SP100" in text or not isinstance(value, bool)
                else:
                    assert kind["type"] != "checkbox" or isinstance(value, bool)
    return wrong


def test_too_few_values_get_a_sentence(address):
    number, inputs = max(functions_of(config_of(address)), key=lambda function: len(function[1]))
    for values in ([], [None], good_values(inputs, None)[:-1]):
        assert "(SP162)" in ask(address, number, values)["output"]["error"]


def test_the_examples_take_the_number_of_an_example_only(address):
    config = config_of(address)
    click = next(one for one in config["dependencies"] if any(target[1] == "select" for target in one["targets"]))
    inputs = dict(functions_of(config))[click["id"]]
    for index in (99, -1, "x", None, [0], {}, 1.5):
        message = ask(address, click["id"], good_values(inputs, None), event_data={"index": index, "value": None})
        assert "(SP102)" in message["output"]["error"]


@pytest.fixture(scope="module")
def strict(tmp_path_factory) -> Iterator[str]:
    """The address of a page with small limits."""
    limits = Limits(
        max_megapixels=1, max_request_megapixels=2, max_layers=2, max_regions=1, max_upload_mb=1, max_visitor_mb=4
    )
    page = build(limits=limits)
    _, url, _ = launch(page, prevent_thread_lock=True, quiet=True, server_port=free_port())
    yield url
    page.close()


def named(address: str, name: str) -> tuple[int, list[dict[str, Any]]]:
    config = config_of(address)
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == name)
    return number, dict(functions_of(config))[number]


def header(size: tuple[int, int], mode: str = "L") -> bytes:
    """A PNG of (width, height) without pixels: whoever decodes it says that it is damaged."""
    data = io.BytesIO()
    Image.new(mode, size).save(data, "PNG")
    return data.getvalue()[:33] + data.getvalue()[-12:]


def mixing(address: str, content: str, style: str | None, layers: list[str]) -> dict[str, Any]:
    number, inputs = named(address, "mix")
    files = {"Photo": content} | ({f"Style {i}": style for i in range(1, 5)} if style else {})
    values = good_values(inputs, None)
    for i, component in enumerate(inputs):
        path = files.get(component["props"]["label"].split(" (")[0])
        if path:
            values[i] = {"path": path}
        if component["type"] == "imageeditor":
            values[i] = {"background": None, "layers": [{"path": layer} for layer in layers], "composite": None}
    return ask(address, number, values)


def test_layers_pictures_and_all_of_them_together_are_bounded_before_anything_is_decoded(strict):
    _, mega = upload(strict, "mega.png", header((1000, 900)))
    _, huge = upload(strict, "huge.png", header((1100, 1000)))
    _, layer = upload(strict, "layer.png", header((8, 8), "RGBA"))
    assert "(SP205)" in mixing(strict, huge, None, [])["output"]["error"]
    assert "(SP164)" in mixing(strict, mega, mega, [])["output"]["error"]
    assert "(SP163)" in mixing(strict, layer, None, [layer] * 3)["output"]["error"]
    assert "(SP204)" in mixing(strict, layer, None, [layer] * 2)["output"]["error"]


def test_forty_layers_are_refused_at_once(address, stored):
    message = mixing(address, stored, stored, [stored] * 40)
    assert "has 40 layers; it may have 8" in message["output"]["error"] and "(SP163)" in message["output"]["error"]


def test_regions_are_bounded(strict, photo):
    drawn = np.zeros((96, 128, 4), np.uint8)
    drawn[:, :64] = (255, 59, 48, 255)
    drawn[:, 64:] = (255, 204, 0, 255)
    data = io.BytesIO()
    Image.fromarray(drawn).save(data, "PNG")
    _, stored = upload(strict, "photo.png", Path(photo).read_bytes())
    _, layer = upload(strict, "layer.png", data.getvalue())
    assert "2 regions" in mixing(strict, stored, stored, [layer])["output"]["error"]


def test_uploads_of_one_visitor_are_bounded(strict):
    codes = [upload(strict, "a.bin", bytes(900_000))[0] for _ in range(6)]
    assert codes[0] == 200 and codes[-1] == 413
    assert "(SP165)" in upload(strict, "a.bin", bytes(900_000))[1]
    with pytest.raises(Exception, match="413"):
        ask(strict, 0, ["x" * 1_100_000])
