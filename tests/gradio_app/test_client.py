"""The running page as programs see it: the API, its limits, and what it must not give away."""

import inspect
import json
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio.utils import get_upload_folder
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import styleplugin
from gradio_app import app, events
from gradio_app.running import jobs

from .attack import upload
from .conftest import broken_files, free_port, picture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    # The page lists them below the picture.
    pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning"),
]
PUBLIC = {"/paint", "/photo_look", "/optimize", "/mix", "/large"}


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, verbose=False)


def test_every_public_event_is_named_typed_and_described(client: Client):
    api = client.view_api(return_format="dict", print_info=False)
    assert set(api["named_endpoints"]) == PUBLIC and not api["unnamed_endpoints"]
    for name, endpoint in api["named_endpoints"].items():
        event = inspect.unwrap(getattr(events, name[1:]))
        assert endpoint["description"].startswith(event.__doc__.splitlines()[0].split(":")[0][:40])
        for parameter in endpoint["parameters"]:
            assert parameter["parameter_name"] in inspect.signature(event).parameters
            assert parameter["python_type"]["type"]


def test_a_program_gets_the_same_picture(client: Client, photo: str, painting: str):
    pair, file, line = client.predict(
        content=handle_file(photo), style=handle_file(painting), model="kbstyle.200k", strength=0.7, api_name="/paint"
    )
    expected = styleplugin.stylize(photo, painting, model="kbstyle.200k", strength=0.7).image
    np.testing.assert_array_equal(np.asarray(Image.open(file)), np.asarray(expected))
    assert len(pair) == 2 and "kbstyle.200k" in line


def test_a_program_may_say_what_of_the_style_counts_and_calls_without_that_stay_as_they_were(
    client: Client, photo: str, tmp_path: Path
):
    with_bars, mask = Image.new("RGB", (128, 144)), Image.new("L", (128, 144))
    with_bars.paste(picture(1), (0, 24))
    mask.paste(255, (0, 24, 128, 120))
    with_bars.save(tmp_path / "bars.png")
    mask.save(tmp_path / "mask.png")
    files = [handle_file(path) for path in (photo, tmp_path / "bars.png")]
    # By their places, as programs of older pages call it.
    *_, line = client.predict(*painting_of(*files)[:10], api_name="/paint")
    assert "24, bottom 24; `trim_style` omits them" in line
    *_, line = client.predict(*files, model="kbstyle.200k", trim_style=True, api_name="/paint")
    assert "borders were left out" in line
    *_, line = client.predict(*painting_of(*files)[:10], handle_file(tmp_path / "mask.png"), api_name="/paint")
    assert "borders" not in line


def test_a_picture_of_the_folder_can_be_chosen_and_none_outside(client: Client, painting: str):
    arguments = {"file": None, "style": handle_file(painting), "model": "kbstyle.200k", "file_format": "png"}
    _, file, _ = client.predict(**arguments, chosen=[["inside.png"]], api_name="/large")
    with Image.open(file) as image:
        assert image.size == (128, 96)
    for outside in (["..", "..", "etc", "passwd"], ["/etc/passwd"], ["..\\..\\secret.png"]):
        with pytest.raises(AppError):
            client.predict(**arguments, chosen=[outside], api_name="/large")


@pytest.mark.parametrize("kind", ["empty", "text", "corrupt", "huge"])
def test_G10_what_is_no_picture_gets_a_sentence_and_the_page_goes_on(client: Client, tmp_path, painting, kind):
    bad = broken_files(tmp_path)[kind]
    with pytest.raises(AppError) as raised:
        client.predict(content=handle_file(bad), style=handle_file(painting), api_name="/paint")
    text = str(raised.value)
    assert f"'{kind}.png'" in text and "/" not in text.split("(SP")[0] and "Traceback" not in text


@pytest.mark.parametrize(
    "changes",
    [{"strength": 2}, {"strength": -1}, {"smooth": 1000}, {"keep_color": "all"}, {"model": "file:/etc/passwd"}],
)
def test_G14_programs_have_the_same_limits(client: Client, photo: str, painting: str, changes):
    with pytest.raises(AppError):
        client.predict(content=handle_file(photo), style=handle_file(painting), **changes, api_name="/paint")


def painting_of(content: Any, style: Any) -> list[Any]:
    """All values of /paint, in their order, as requests that are built by hand have to give them."""
    return [content, style, "kbstyle.200k", 1, 1, "off", False, 0, "5 4 3 2 1", "png", None, False, "auto", 1]


def call(address: str, name: str, data: list[Any]) -> str:
    """Call an event as a program does that builds its requests by hand; returns the stream of events."""
    request = urllib.request.Request(
        f"{address}gradio_api/call/{name}", json.dumps({"data": data}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{address}gradio_api/call/{name}/{event}", timeout=60) as answer:
        return answer.read().decode()


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "http://127.0.0.1:1/secret.png",
        "https://example.com/picture.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
    ],
)
def test_G05_G06_only_uploads_are_read(address: str, painting: str, path: str):
    given = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for data in (given, given | {"url": path}):
        answer = call(address, "paint", painting_of(data, data))
        assert "event: error" in answer and "complete" not in answer and "root:" not in answer


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "pyproject.toml",
        "../pyproject.toml",
        "C:\\Windows\\win.ini",
        "%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
    ],
)
def test_G03_files_outside_the_results_are_not_served(address: str, path: str):
    assert status(f"{address}gradio_api/file={path}") in (400, 403, 404)


@pytest.mark.parametrize(
    "name", ["../../x.png", "/etc/x.png", "C:\\x.png", "..\\..\\x.png", "%2e%2e%2fx.png", "a" * 10_000]
)
def test_G02_uploads_are_stored_under_names_of_the_pages_choice(address: str, name: str):
    code, stored = upload(address, name, b"x")
    if code == 200:
        folder = Path(stored).resolve().parent
        assert len(folder.name) == 64 and folder.parent == Path(get_upload_folder()).resolve()


def test_G01_uploads_are_limited(address: str):
    assert upload(address, "large.png", b"\0" * (65 << 20))[0] == 413


def test_G04_html_and_svg_are_not_shown_as_pages(address: str):
    for name in ("page.html", "image.svg"):
        _, stored = upload(address, name, b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
        with urllib.request.urlopen(f"{address}gradio_api/file={stored}", timeout=20) as answer:
            assert "attachment" in answer.headers["Content-Disposition"]


def test_G01_the_default_start_is_for_this_machine_alone(address: str, monkeypatch):
    assert address.startswith("http://127.0.0.1:")
    given = {}
    monkeypatch.setattr(app, "launch", lambda page, **options: given.update(options))
    monkeypatch.setattr("sys.argv", ["gradio_app"])
    app.main()
    assert given["host"] is None and not given["mcp_server"]
    page = app.build()
    assert page.analytics_enabled is False and page.delete_cache == (3600, 86400)


def test_results_go_when_the_event_has_ended(client: Client, photo: str, painting: str):
    # What killed processes have left there is not this page's.
    before = results_in_temporary_folders()
    client.predict(content=handle_file(photo), style=handle_file(painting), model="kbstyle.200k", api_name="/paint")
    assert results_in_temporary_folders() <= before


def results_in_temporary_folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("styleplugin-*/photo-kbstyle*"))


def test_G08_a_full_queue_is_answered_politely_and_the_page_goes_on(address: str, client: Client, photo, painting):
    release = threading.Event()
    blocked = jobs._worker.submit(release.wait, 60)
    codes = []
    try:
        for _ in range(app.WAITING + 5):
            request = urllib.request.Request(
                f"{address}gradio_api/call/paint",
                json.dumps({"data": painting_of(None, None)}).encode(),
                {"Content-Type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    codes.append(answer.status)
            except urllib.error.HTTPError as error:
                codes.append(error.code)
                assert "full" in error.read().decode().lower()
    finally:
        release.set()
        blocked.result()
    assert codes.count(200) in range(app.WAITING, app.WAITING + 3) and codes[-1] == 503
    *_, line = client.predict(
        content=handle_file(photo), style=handle_file(painting), model="kbstyle.200k", api_name="/paint"
    )
    assert "128 x 96" in line


def test_events_are_tools_on_request_and_nothing_else_is(monkeypatch):
    pytest.importorskip("mcp", reason="needs the extra [mcp]")
    page = app.build()
    _, url, _ = app.launch(page, prevent_thread_lock=True, quiet=True, mcp_server=True, server_port=free_port())
    try:
        with urllib.request.urlopen(f"{url}gradio_api/mcp/schema", timeout=20) as answer:
            tools = {tool["name"]: tool for tool in json.load(answer)}
    finally:
        page.close()
    assert {name.split("gradio_app_")[-1] for name in tools} == {name[1:] for name in PUBLIC}
    described = next(tool for name, tool in tools.items() if name.endswith("paint"))["inputSchema"]["properties"]
    assert "0 keeps the photo" in described["strength"]["description"]
