"""Requests as a stranger makes them: by the number of a function, with whatever values."""

from __future__ import annotations

import http.client
import json
import secrets
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

FILES = ("image", "file", "imageeditor", "gallery", "fileexplorer")
"""Kinds of components that take files."""


def config_of(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{address}config", timeout=20) as answer:
        return json.load(answer)


def functions_of(config: dict[str, Any]) -> list[tuple[int, list[dict[str, Any]]]]:
    """Every function with the components of its inputs, public or not; those that run in the browser have no inputs."""
    components = {component["id"]: component for component in config["components"]}
    return [(one["id"], [components[i] for i in one["inputs"]]) for one in config["dependencies"]]


def good_values(inputs: list[dict[str, Any]], uploaded: str | None) -> list[Any]:
    """Values that every input takes: what the page shows, and an upload."""
    file = None if uploaded is None else {"path": uploaded, "meta": {"_type": "gradio.FileData"}}

    def value_of(component: dict[str, Any]) -> Any:
        if component["type"] in FILES:
            return file if component["type"] in ("image", "file") else None
        return component["props"].get("value")

    return [value_of(component) for component in inputs]


def ask(address: str, function: int, values: list[Any], **more: Any) -> dict[str, Any]:
    """Call a function by its number; returns the message that it ended with."""
    session = secrets.token_hex(8)
    body = {"fn_index": function, "data": values, "session_hash": session, **more}
    request = urllib.request.Request(
        f"{address}gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=20).close()
    with urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash={session}", timeout=60) as stream:
        for line in stream:
            message = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            if message.get("msg") == "process_completed":
                return message
    raise AssertionError("the stream ended without an answer")


def server_function(address: str, component: int, name: str, data: Any) -> tuple[int, str]:
    """Call a component's own function on the server; returns the status and the body."""
    body = {"component_id": component, "fn_name": name, "data": data, "session_hash": "s"}
    request = urllib.request.Request(
        f"{address}gradio_api/component_server", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def upload(address: str, name: str, data: bytes) -> tuple[int, str]:
    """Upload a file; returns the status, and the path that it got or the refusal."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode() + b'"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n--x--\r\n"
    )
    request = urllib.request.Request(
        f"{address}gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)[0]
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def raw(address: str, method: str, path: str, headers: list[tuple[str, str]]) -> tuple[int, dict[str, str], str]:
    """Send a request with exactly these headers; returns status, headers and body."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()
