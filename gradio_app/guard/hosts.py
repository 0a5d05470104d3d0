"""The names that the page answers to. A web site that lets its own name lead to this machine is refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, MutableMapping
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = "localhost"
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/@\s]+)(:[0-9]{1,5})?", re.ASCII)
_REFUSED = "This page does not answer to the name that it was asked by; its owner can add it with --allow-host. (SP166)"


class Hosts:
    """Which Host headers are served.

    Loopback names always are; a name that the page was started for is; an IP address is where the page listens to more
    than this machine: only names can be led to another address behind a browser's back.

    Args:
        listening: The name or address that the page listens at.
        names: More names that lead to it.
    """

    def __init__(self, listening: str, names: Iterable[str] = ()) -> None:
        address = _address(_plain(listening))
        self._is_local = _plain(listening) == LOOPBACK or (address is not None and address.is_loopback)
        self._names = {_plain(name) for name in (LOOPBACK, listening, *names)}

    def serves(self, host: str | None) -> bool:
        """Whether a request with this Host header, NAME or NAME:PORT, is answered."""
        name = name_of(host or "")
        if name is None:
            return False
        address = _address(name)
        if address is not None and (address.is_loopback or not self._is_local):
            return True
        return name in self._names

    def trusts(self, host: str, origin: str) -> bool:
        """Whether pages of an origin may call this one; a page on loopback answers to pages of its own names only."""
        name = name_of(host)
        address = None if name is None else _address(name)
        if name != LOOPBACK and not (address is not None and address.is_loopback):
            return True
        scheme, colon, authority = origin.partition("://")
        return bool(colon) and scheme in ("http", "https") and self.serves(authority)


class HostGuard:
    """Refuses, before anything else sees the request, what was meant for another host.

    Args:
        app: What answers all other requests.
        hosts: The names that are served.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] in ("http", "websocket") and not self._is_meant(scope):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await PlainTextResponse(_REFUSED, status_code=421)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_meant(self, scope: MutableMapping[str, Any]) -> bool:
        hosts = _headers(scope, b"host")
        if len(hosts) != 1 or not self._hosts.serves(hosts[0]):
            return False
        return all(self._hosts.trusts(hosts[0], origin) for origin in _headers(scope, b"origin"))


def name_of(host: str) -> str | None:
    """Return the name in NAME, NAME:PORT or [ADDRESS]:PORT, as names are compared; None if it is none of these."""
    found = _HOST.fullmatch(host)
    return None if found is None else _plain(found[1])


def _plain(name: str) -> str:
    """Return a name without brackets and the dot of the root, in small letters."""
    return name.strip().removeprefix("[").removesuffix("]").removesuffix(".").lower()


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _headers(scope: MutableMapping[str, Any], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
