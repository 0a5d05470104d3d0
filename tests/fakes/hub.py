"""The Hugging Face Hub on loopback: serves files, takes commits, and misbehaves on request."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


class FakeHub(ThreadingHTTPServer):
    """Answers as the Hub does, with one content for every file but those that were committed."""

    daemon_threads = True

    def __init__(self, content: bytes, revision: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.revision = revision
        self.etag: str | None = hashlib.sha256(content).hexdigest()
        """What the Hub says the content is; None says what it was given in a commit."""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.failures = sys.maxsize
        """How many requests `status` and `headers` apply to."""
        self.cut_bodies = 0
        self.stall_at = ""
        """HEAD, GET, POST, or empty."""
        self.released = Event()
        self.asked_to_stall = Event()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.files: dict[str, bytes] = {}
        """What was committed, by name."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running(content: bytes = b"", revision: str = "0" * 40) -> Iterator[FakeHub]:
    """Run a fake Hub for the block."""
    with FakeHub(content, revision) as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.released.set()
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        hub = self.server
        if self.fails():
            return
        body = hub.files.get(self.path.rpartition("/")[2], hub.content)
        etag = hub.etag if body is hub.content else hashlib.sha256(body).hexdigest()
        self.send_response(200)
        self.send_header("X-Repo-Commit", hub.revision)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Length", hub.headers.get("Content-Length", str(len(body))))
        self.end_headers()
        if with_body and hub.cut_bodies > 0:
            hub.cut_bodies -= 1
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif with_body:
            self.wfile.write(body)

    def fails(self) -> bool:
        """Note the request, and answer it badly if that was asked for."""
        hub = self.server
        hub.requests.append((self.command, self.path, dict(self.headers)))
        if hub.stall_at == self.command:
            hub.asked_to_stall.set()
            hub.released.wait(20)
        if hub.status == 200 or hub.failures <= 0:
            return False
        hub.failures -= 1
        self.send_response(hub.status)
        for name, value in {"Content-Length": "0", **hub.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        return True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        hub = self.server
        if self.fails():
            return
        answer: dict[str, Any] = {}
        if self.path.endswith("/repos/create"):
            asked = json.loads(body)
            answer = {"url": f"{hub.url}/{asked.get('organization') or 'me'}/{asked['name']}"}
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            answer = {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]}
        elif self.path.endswith("validate-yaml"):
            answer = {"errors": [], "warnings": []}
        elif "/commit/" in self.path:
            entries = [json.loads(line) for line in body.splitlines()]
            files = {e["value"]["path"]: base64.b64decode(e["value"]["content"]) for e in entries if e["key"] == "file"}
            hub.files |= files
            answer = {
                "success": True,
                "commitOid": hub.revision,
                "commitUrl": f"{hub.url}/{self._repo()}/commit/{hub.revision}",
            }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _repo(self) -> str:
        """Return the repository of /api/KIND/OWNER/NAME/..., with the kind of those that are no models."""
        kind, owner, name = self.path.split("/")[2:5]
        return f"{owner}/{name}" if kind == "models" else f"{kind}/{owner}/{name}"

    def log_message(self, format: str, *args: Any) -> None:
        pass
