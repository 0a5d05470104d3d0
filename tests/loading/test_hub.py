"""Robustness rows H01 to H07 and H09 to H12, against a fake hub on loopback."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.hub import FakeHub, running

from styleplugin.errors import HubError, ResourceError
from styleplugin.loading.hub import HubSource, content_id, download, parse_source, upload

pytest.importorskip("huggingface_hub", reason="needs the extra styleplugin[hub]")

REVISION = "0123456789abcdef" * 2 + "01234567"
CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SOURCE = HubSource(repo="owner/repo", revision=REVISION, sha256=SHA256)


@pytest.fixture
def fake_hub() -> Iterator[FakeHub]:
    with running(CONTENT, REVISION) as hub:
        yield hub


@pytest.fixture
def get(fake_hub: FakeHub, tmp_path: Path) -> Any:
    def get(source: HubSource = SOURCE, timeout_s: float = 30) -> Path:
        return download(source, timeout_s=timeout_s, endpoint=fake_hub.url, cache_dir=tmp_path / "cache")

    return get


def code_of(get: Any, **options: Any) -> str:
    with pytest.raises((HubError, ResourceError)) as caught:
        get(**options)
    return caught.value.code


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > len(CONTENT) // 4]


def test_a_file_is_downloaded_once(get: Any, fake_hub: FakeHub) -> None:
    assert get().read_bytes() == CONTENT
    requests = len(fake_hub.requests)
    assert get().read_bytes() == CONTENT
    assert len(fake_hub.requests) == requests


def test_H01_without_a_network_the_cache_is_used(get: Any, fake_hub: FakeHub, tmp_path: Path) -> None:
    get()
    fake_hub.status = 503
    assert get().read_bytes() == CONTENT


def test_H01_without_a_network_an_uncached_file_is_reported_at_once(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(HubError, match="file:PATH") as caught:
            download(SOURCE, endpoint=endpoint, cache_dir=tmp_path)
    assert caught.value.code == "SP401"


def test_H01_a_cached_file_of_wrong_content_is_not_used(get: Any, fake_hub: FakeHub) -> None:
    path = get()
    path.resolve().write_bytes(CONTENT[::-1])
    assert get().read_bytes() == CONTENT


@pytest.mark.slow
@pytest.mark.parametrize("stall_at", ["HEAD", "GET"])
def test_H02_a_stalled_server_is_left_at_the_deadline(stall_at: str, get: Any, fake_hub: FakeHub) -> None:
    # The server never answers, so that whatever comes back was ended by us.
    fake_hub.stall_at = stall_at
    assert code_of(get, timeout_s=1) == "SP402"


@pytest.mark.slow
def test_H03_a_dropped_connection_is_retried(get: Any, fake_hub: FakeHub) -> None:
    fake_hub.cut_bodies = 1
    assert get().read_bytes() == CONTENT


def test_H04_wrong_content_is_fetched_again_once_then_refused_and_removed(
    get: Any, fake_hub: FakeHub, tmp_path: Path
) -> None:
    fake_hub.content = CONTENT[::-1]
    assert code_of(get) == "SP405"
    assert [method for method, _, _ in fake_hub.requests].count("GET") == 2
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (404, "EntryNotFound", "SP404"),
        (404, "RevisionNotFound", "SP404"),
        (404, "RepoNotFound", "SP404"),
        (403, "GatedRepo", "SP403"),
        (401, "", "SP403"),
        (403, "", "SP403"),
        (429, "", "SP429"),
        (500, "", "SP406"),
        (503, "", "SP406"),
    ],
)
def test_H05_answers_of_the_server_have_their_own_codes(
    status: int, error: str, code: str, get: Any, fake_hub: FakeHub
) -> None:
    fake_hub.status = status
    fake_hub.headers = {"X-Error-Code": error}
    assert code_of(get) == code


@pytest.mark.slow
def test_H05_a_busy_server_is_given_the_time_it_asks_for(get: Any, fake_hub: FakeHub) -> None:
    fake_hub.status, fake_hub.failures, fake_hub.headers = 429, 1, {"Retry-After": "1"}
    assert get().read_bytes() == CONTENT
    fake_hub.status, fake_hub.failures, fake_hub.headers = 429, 9, {"Retry-After": "600"}
    other = HubSource(repo="owner/repo", revision=REVISION, file="other.safetensors")
    assert code_of(get, source=other, timeout_s=0.5) == "SP402"


def test_H06_only_commit_ids_are_asked_for(get: Any, fake_hub: FakeHub) -> None:
    get()
    assert {path for _, path, _ in fake_hub.requests} == {f"/owner/repo/resolve/{REVISION}/model.safetensors"}


@pytest.mark.parametrize(
    "target", ["http://127.0.0.2:1/x", "http://huggingface.co/x", "https://10.0.0.1/x", "https://hf.co.evil.example/x"]
)
def test_H07_redirects_out_of_the_hub_are_refused(target: str, get: Any, fake_hub: FakeHub) -> None:
    fake_hub.status = 302
    fake_hub.headers = {"Location": target, "X-Repo-Commit": REVISION, "ETag": f'"{SHA256}"'}
    assert code_of(get) == "SP409"


def test_H08_a_cache_that_cannot_be_written_is_reported(
    get: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    assert code_of(get) == "SP520"


def test_H10_the_token_stays_here(get: Any, fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    get()
    assert fake_hub.requests
    assert not any("authorization" in name.lower() for _, _, headers in fake_hub.requests for name in headers)
    fake_hub.status = 401
    other = HubSource(repo="owner/repo", revision=REVISION, file="other.safetensors")
    with pytest.raises(HubError) as caught:
        get(source=other)
    assert "hf_secret" not in f"{caught.value} {caught.value.details}"


def test_H11_files_larger_than_allowed_are_refused_before_the_download(get: Any, fake_hub: FakeHub) -> None:
    fake_hub.headers = {"Content-Length": str(1 << 30)}
    assert code_of(get) == "SP410"
    assert {method for method, _, _ in fake_hub.requests} == {"HEAD"}


def test_a_pinned_source_is_read() -> None:
    assert parse_source(f"hub:a/b@{REVISION}") == HubSource(repo="a/b", revision=REVISION)
    assert parse_source(f"hub:a/b.c-d@{REVISION}/x-1.y.safetensors#{SHA256}") == HubSource(
        repo="a/b.c-d", revision=REVISION, file="x-1.y.safetensors", sha256=SHA256
    )


@pytest.mark.parametrize(
    "text",
    [
        "hub:a/b",
        "hub:a/b@main",
        f"hub:a@{REVISION}",
        f"hub:../b@{REVISION}",
        f"hub:a/b/c@{REVISION}",
        f"hub:a/b@{REVISION}/../x.safetensors",
        f"hub:a/b@{REVISION}/x/y.safetensors",
        f"hub:a/b@{REVISION}/..\\x.safetensors",
        f"hub:a/b@{REVISION}/x.pth",
        f"hub:a/b@{REVISION}#00",
        f"hub:a/b@{REVISION}\n",
    ],
)
def test_H06_H12_branches_and_file_names_with_folders_are_refused(text: str) -> None:
    with pytest.raises(HubError, match="pinned source") as caught:
        parse_source(text)
    assert caught.value.code == "SP407"


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(HubError, match=r"styleplugin\[hub\]") as caught:
        download(SOURCE)
    assert caught.value.code == "SP408"


def test_without_a_sha256_the_content_must_be_what_the_hub_says(get: Any, fake_hub: FakeHub) -> None:
    unpinned = replace(SOURCE, sha256=None)
    assert get(source=unpinned).read_bytes() == CONTENT
    fake_hub.status = 503
    assert get(source=unpinned).read_bytes() == CONTENT


@pytest.mark.parametrize("digits", [40, 64])
def test_H04_wrong_content_is_refused_without_a_sha256_as_well(digits: int, get: Any, fake_hub: FakeHub) -> None:
    fake_hub.etag, fake_hub.content = content_id(CONTENT, digits), CONTENT[::-1]
    assert code_of(get, source=replace(SOURCE, sha256=None)) == "SP405"
    fake_hub.content = CONTENT
    assert get(source=replace(SOURCE, sha256=None)).read_bytes() == CONTENT


def test_H01_a_damaged_file_of_the_cache_is_not_used_without_a_sha256(get: Any, fake_hub: FakeHub) -> None:
    unpinned = replace(SOURCE, sha256=None)
    get(source=unpinned).resolve().write_bytes(CONTENT[::-1])
    assert get(source=unpinned).read_bytes() == CONTENT


def test_a_server_that_does_not_say_what_the_content_is_needs_a_sha256(get: Any, fake_hub: FakeHub) -> None:
    fake_hub.etag = "new"
    assert code_of(get, source=replace(SOURCE, sha256=None)) == "SP411"
    assert get().read_bytes() == CONTENT


def test_git_names_content_as_we_do() -> None:
    assert content_id(b"", 40) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_an_upload_is_one_commit(fake_hub: FakeHub) -> None:
    assert upload("me/x", {"a.txt": b"1", "b.txt": b"2"}, message="Add", endpoint=fake_hub.url) == REVISION
    assert fake_hub.files == {"a.txt": b"1", "b.txt": b"2"}
    assert [path for _, path, _ in fake_hub.requests].count("/api/models/me/x/commit/main") == 1


@pytest.mark.parametrize(("status", "code"), [(401, "SP403"), (403, "SP403"), (429, "SP429"), (500, "SP406")])
def test_H05_uploads_have_the_codes_of_downloads(status: int, code: str, fake_hub: FakeHub) -> None:
    fake_hub.status = status
    with pytest.raises(HubError) as caught:
        upload("me/x", {"a.txt": b"1"}, message="Add", endpoint=fake_hub.url)
    assert caught.value.code == code
    assert fake_hub.files == {}


@pytest.mark.slow
def test_H02_a_stalled_upload_is_left_at_the_deadline(fake_hub: FakeHub) -> None:
    fake_hub.stall_at = "POST"
    with pytest.raises(HubError) as caught:
        upload("me/x", {"a.txt": b"1"}, message="Add", endpoint=fake_hub.url, timeout_s=0.5)
    assert caught.value.code == "SP402"


def test_H12_only_repositories_are_uploaded_to(fake_hub: FakeHub) -> None:
    with pytest.raises(HubError, match="OWNER/REPO") as caught:
        upload("../x", {}, message="Add", endpoint=fake_hub.url)
    assert caught.value.code == "SP407"


def test_H10_without_a_token_nothing_is_uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(HubError, match="hf auth login") as caught:
        upload("me/x", {"a.txt": b"1"}, message="Add")
    assert caught.value.code == "SP412"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HF_HUB_OFFLINE", "1", "HF_HUB_OFFLINE is set"),
        ("HF_ENDPOINT", "nonsense", "HF_ENDPOINT is 'nonsense', which is not the address of a server"),
        ("HF_ENDPOINT", "http://:::", "which is not the address of a server"),
        ("ALL_PROXY", "socks5://127.0.0.1:9", "SOCKS"),
    ],
)
def test_H01_the_cause_is_named(variable: str, value: str, words: str, tmp_path: Path) -> None:
    code = """
import sys
from styleplugin.loading import hub
try:
    hub.download(hub.parse_source("hub:a/b@" + "0" * 40), cache_dir=sys.argv[1], timeout_s=30)
except hub.HubError as error:
    print(error.code, error)
"""
    clean = {k: v for k, v in os.environ.items() if k.upper() not in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=clean | {variable: value}, capture_output=True, text=True
    )
    assert "SP401 " in done.stdout and words in done.stdout, done.stdout + done.stderr


_TOGETHER = """
import os, sys
from styleplugin.errors import HubError
from styleplugin.loading.hub import HubSource, download

endpoint, cache, revision, sha256, count = sys.argv[1:]
source = HubSource(repo="owner/repo", revision=revision, sha256=sha256)
children = []
for _ in range(int(count)):
    child = os.fork()
    if not child:
        try:
            download(source, timeout_s=60, endpoint=endpoint, cache_dir=cache)
        except HubError as error:
            print(error, flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
print(*children, flush=True)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")
def test_H09_eight_processes_load_once_what_a_killed_one_had_locked(fake_hub: FakeHub, tmp_path: Path) -> None:
    def start(count: int) -> subprocess.Popen[str]:
        arguments = [fake_hub.url, str(tmp_path), REVISION, SHA256, str(count)]
        command = [sys.executable, "-c", _TOGETHER, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    fake_hub.stall_at = "GET"
    with start(1) as one:
        assert one.stdout is not None
        child = int(one.stdout.readline())
        assert fake_hub.asked_to_stall.wait(60)
        os.kill(child, signal.SIGKILL)
    assert list(tmp_path.rglob("*.lock"))
    fake_hub.stall_at = ""
    fake_hub.requests.clear()
    with start(8) as eight:
        assert eight.stdout is not None
        printed = eight.stdout.read()
    assert eight.returncode == 0, printed
    assert [method for method, *_ in fake_hub.requests].count("GET") == 1
    assert [path.read_bytes() for path in files_in(tmp_path) if not path.is_symlink()] == [CONTENT]
