"""What may be sent to the page: so much by one visitor and by all in a day, and no long texts."""

from __future__ import annotations

import ipaddress
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from gradio.utils import get_upload_folder
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gradio_app.limits import Limits

KEPT_SECONDS = 25 * 3600
"""Uploads are removed after a day, by a look each hour."""
MAX_TEXT = 1_000_000
"""Longest body in bytes that holds no files."""
UNFINISHED_SECONDS = 3600
"""A file that is not whole after this time never will be: its sender has gone."""
_UPLOAD = "/gradio_api/upload"
_FETCHING = tuple(f"/gradio_api/{route}" for route in ("file=http", "file/http", "proxy="))


@dataclass
class Ledger:
    """Bytes that visitors have sent within a day.

    Args:
        limits: What one visitor and all may send.
    """

    limits: Limits
    _entries: deque[tuple[float, str, int]] = field(default_factory=deque)
    _sent: dict[str, int] = field(default_factory=dict)
    _total: int = 0

    def refusal(self, visitor: str, size: int) -> str | None:
        """Return why a visitor may not send so many bytes more, or None."""
        self._forget()
        for whose, sent, most in (
            ("one visitor", self._sent.get(visitor, 0), self.limits.max_visitor_mb),
            ("all visitors", self._total, self.limits.max_total_mb),
        ):
            if sent + size > most * 1_000_000:
                # The words "maximum allowed size" let Gradio answer with 413.
                return f"Uploads of {whose} have a maximum allowed size of {most:,} MB a day. (SP165)"
        return None

    def add(self, visitor: str, size: int) -> None:
        """Remember what a visitor has sent."""
        if size:
            self._entries.append((time.monotonic(), visitor, size))
            self._sent[visitor] = self._sent.get(visitor, 0) + size
            self._total += size

    def _forget(self) -> None:
        while self._entries and time.monotonic() - self._entries[0][0] > KEPT_SECONDS:
            _, visitor, size = self._entries.popleft()
            self._total -= size
            self._sent[visitor] -= size
            if not self._sent[visitor]:
                del self._sent[visitor]


class UploadGuard:
    """Counts the bodies of all requests, files or not, and fetches nothing for anybody.

    Args:
        app: What answers the requests.
        ledger: What has been sent so far.
    """

    def __init__(self, app: ASGIApp, ledger: Ledger) -> None:
        self._app = app
        self._ledger = ledger
        self._swept = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what it sends, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].lower().startswith(_FETCHING):
            await PlainTextResponse("Addresses are not fetched. (SP160)", status_code=403)(scope, receive, send)
            return
        visitor, headers = _visitor(scope), Headers(scope=scope)
        is_files = headers.get("content-type", "").startswith("multipart/form-data")
        length = headers.get("content-length", "")
        refusal = self._refusal(visitor, int(length) if length.isdigit() and len(length) < 16 else 0, is_files)
        if refusal is not None:
            await _drain(receive, self._ledger.limits.max_upload_mb << 20)
            await PlainTextResponse(refusal, status_code=413)(scope, receive, send)
            return
        if scope["path"].startswith(_UPLOAD):
            self._sweep()
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            size = len(message.get("body", b""))
            received += size
            refusal = self._refusal(visitor, size, is_files, received)
            self._ledger.add(visitor, size)
            if refusal is not None:
                raise MultiPartException(refusal)
            return message

        await self._app(scope, counted, send)

    def _refusal(self, visitor: str, size: int, is_files: bool, received: int = 0) -> str | None:
        if not is_files and max(size, received) > MAX_TEXT:
            return f"A request without files has a maximum allowed size of {MAX_TEXT:,} bytes. (SP165)"
        return self._ledger.refusal(visitor, size) if size else None

    def _sweep(self) -> None:
        """Remove what was left of uploads that ended halfway; whole ones lie in folders of their own."""
        if time.monotonic() - self._swept < UNFINISHED_SECONDS and self._swept:
            return
        self._swept = time.monotonic()
        for path in Path(get_upload_folder()).glob("tmp*"):
            if path.is_file() and not path.is_symlink() and time.time() - path.stat().st_mtime > UNFINISHED_SECONDS:
                path.unlink(missing_ok=True)


async def _drain(receive: Receive, most: int) -> None:
    """Read what a browser is sending, and forget it: only then does it look at the answer."""
    while most > 0:
        message = await receive()
        most -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _visitor(scope: Scope) -> str:
    """Return whom a request is counted for: an address, of IPv6 the network that one household has."""
    host = (scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host
