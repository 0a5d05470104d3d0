"""The page answers to its own names only, whatever a browser was made to believe."""

from collections.abc import Iterator

import pytest

from gradio_app import app
from gradio_app.app import build, launch
from gradio_app.guard.hosts import Hosts, name_of

from ..attack import raw
from ..conftest import free_port


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:7860", "localhost"),
        ("localhost.:7860", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:7860", "::1"),
        ("[::1]", "::1"),
        ("::1", None),
        ("", None),
        ("a:b", None),
        ("a:123456", None),
        ("a@b", None),
        ("a b", None),
        ("a/b", None),
        ("[::1", None),
        ("http://localhost", None),
    ],
)
def test_host_headers_are_read_as_names(host, name):
    assert name_of(host) == name


LOOPBACK = ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1:7860", "127.0.0.9", "[::1]:7860", "[::1]"]
FOREIGN = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil", "[::1].evil", "", "0.0.0.0.evil"]
ADDRESSES = ["192.168.1.7", "192.168.1.7:7860", "[fe80::1]:7860", "0.0.0.0", "8.8.8.8"]


def test_a_page_on_this_machine_alone_answers_to_loopback_names():
    for listening in ("127.0.0.1", "localhost", "::1", "[::1]"):
        hosts = Hosts(listening)
        assert all(map(hosts.serves, LOOPBACK))
        assert not any(map(hosts.serves, [*FOREIGN, *ADDRESSES]))


def test_a_page_in_the_network_answers_to_addresses_too_since_rebinding_needs_a_name():
    hosts = Hosts("0.0.0.0")
    assert all(map(hosts.serves, [*LOOPBACK, *ADDRESSES]))
    assert not any(map(hosts.serves, FOREIGN))


def test_named_hosts_are_served():
    hosts = Hosts("studio.lan", ["Styles.Example.org."])
    assert all(map(hosts.serves, ["studio.lan:7860", "STUDIO.LAN", "styles.example.org", "styles.example.org.:443"]))
    assert not any(map(hosts.serves, ["example.org", "a.styles.example.org", *FOREIGN]))


def test_on_loopback_only_pages_of_its_own_names_may_call():
    hosts = Hosts("127.0.0.1", ["styles.example.org"])
    for origin in ("http://localhost:7860", "http://127.0.0.1:1", "http://[::1]:7860", "https://styles.example.org"):
        assert hosts.trusts("127.0.0.1:7860", origin)
    for origin in ("http://evil.example", "null", "", "localhost", "file://", "http://localhost.evil.example"):
        assert not hosts.trusts("127.0.0.1:7860", origin)
    # Programs in other pages may call a page that is there for all.
    assert hosts.trusts("styles.example.org", "https://other.example")


@pytest.mark.slow
def test_a_running_page_refuses_other_names_before_anything_else(address):
    port = address.rstrip("/").rpartition(":")[2]
    for path in ("/", "/config", "/gradio_api/info", "/nothing", "/gradio_api/file=/etc/passwd"):
        for headers in (
            [("Host", "evil.example")],
            [("Host", f"evil.example:{port}"), ("Origin", f"http://evil.example:{port}")],
            [("Host", "evil"), ("Origin", "evil")],
            [("Host", f"localhost:{port}"), ("Origin", "http://evil.example")],
            [("Host", f"localhost:{port}"), ("Host", "evil.example")],
            [("Host", "evil.example"), ("X-Forwarded-Host", "localhost")],
            [("Host", "")],
            [],
        ):
            for method in ("GET", "POST", "OPTIONS"):
                preflight = [("Access-Control-Request-Method", "POST")] if method == "OPTIONS" else []
                status, answer, body = raw(address, method, path, [*headers, *preflight])
                # What has no Host at all is refused by the server itself.
                assert status in (400, 421) and "access-control-allow-origin" not in answer, (path, headers, method)
                assert status == 400 or "(SP166)" in body


@pytest.mark.slow
def test_a_running_page_answers_to_its_own_names(address):
    port = address.rstrip("/").rpartition(":")[2]
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"localhost.:{port}", f"127.0.0.1:{port}", "[::1]:1"):
        assert raw(address, "GET", "/config", [("Host", host)])[0] == 200
        status, answer, _ = raw(address, "GET", "/config", [("Host", host), ("Origin", f"http://localhost:{port}")])
        assert status == 200 and answer["access-control-allow-origin"] == f"http://localhost:{port}"


@pytest.fixture
def space(monkeypatch) -> Iterator[str]:
    """The address of a page that runs as a Space does."""
    monkeypatch.setenv("SPACE_HOST", "owner-name.hf.space")
    page = build()
    _, url, _ = launch(page, names=["studio.lan"], prevent_thread_lock=True, quiet=True, server_port=free_port())
    yield url
    page.close()


@pytest.mark.slow
def test_a_space_and_the_owners_names_are_served(space):
    for host, status in (("owner-name.hf.space", 200), ("studio.lan", 200), ("other.hf.space", 421)):
        assert raw(space, "GET", "/config", [("Host", host)])[0] == status


@pytest.mark.slow
def test_nothing_is_fetched_for_anybody(address):
    for path in ("file=http://127.0.0.1:1/x", "file=HTTPS://example.com/x", "file/http://a/x", "proxy=http://a/x"):
        status, _, body = raw(address, "GET", f"/gradio_api/{path}", [("Host", "localhost")])
        assert status == 403 and "(SP160)" in body


def test_the_command_line_sets_names_and_limits(monkeypatch):
    given = {}
    monkeypatch.setattr(app, "launch", lambda page, **options: given.update(options, limits=page.limits))
    arguments = "--allow-host a.example --allow-host b.example --host 0.0.0.0 --max-megapixels 50 --max-layers 3"
    monkeypatch.setattr("sys.argv", ["gradio_app", *arguments.split()])
    app.main()
    assert given["names"] == ["a.example", "b.example"] and given["host"] == "0.0.0.0"
    assert (given["limits"].max_megapixels, given["limits"].max_layers, given["limits"].max_regions) == (50, 3, 8)
    assert (given["limits"].max_request_megapixels, given["limits"].max_visitor_mb) == (200, 1000)


@pytest.mark.parametrize("number", ["0", "-1", "x", "1e9", "99999999999", "", "nan", "\u00b2"])
def test_limits_are_whole_numbers_of_their_range(monkeypatch, capsys, number):
    monkeypatch.setattr("sys.argv", ["gradio_app", f"--max-megapixels={number}"])
    with pytest.raises(SystemExit):
        app.main()
    assert "whole number from 1 to 1000" in capsys.readouterr().err
