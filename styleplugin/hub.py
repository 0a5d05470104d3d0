"""Downloads from the Hugging Face Hub: the only network access of the package.

Everything asked for is pinned: a commit id, a file name without folders, and the sha256 of the content, since the
client itself does not check content. The client may go on retrying for minutes; a total deadline ends the wait.
"""

from __future__ import annotations

import errno
import hashlib
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from styleplugin.checkpoint import STUDENT
from styleplugin.errors import HubError, ResourceError

DEFAULT_FILE = "model.safetensors"
CONNECT_TIMEOUT_S = 5.0
"""A dead network is reported after this time, not after the client's 23 s of retries."""

_SOURCE = re.compile(
    r"hub:(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)@(?P<revision>[0-9a-f]{40})"
    r"(?::(?P<file>\w[\w.-]*\.safetensors))?(?:#(?P<sha256>[0-9a-f]{64}))?",
    re.ASCII,
)
_ORIGIN = re.compile(r"\w+://[\w.-]+(:\d+)?(?=/)", re.ASCII)
_HUB_ORIGIN = re.compile(r"https://([\w-]+\.)*(huggingface\.co|hf\.co)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """One file of one commit."""

    repo: str
    """OWNER/REPO."""
    revision: str
    """Commit id, 40 hex digits; branches move and are not accepted."""
    file: str = DEFAULT_FILE
    sha256: str | None = None
    """Of the content, where the user gave it."""


def parse_source(text: str) -> HubSource:
    """Read `hub:OWNER/REPO@REVISION[:FILE][#SHA256]`.

    Raises:
        HubError: SP407, another spelling, a branch for a commit id, or a file in a folder.
    """
    match = _SOURCE.fullmatch(text)
    if not match:
        raise HubError(
            "SP407",
            f"{text!r} is not a pinned source; it must read hub:OWNER/REPO@REVISION[:FILE.safetensors][#SHA256].",
            "REVISION is the commit id of 40 hex digits that the repository's history shows.",
        )
    return HubSource(**{name: value for name, value in match.groupdict().items() if value})


def download(
    source: HubSource,
    sha256: str,
    *,
    timeout_s: float = 60,
    endpoint: str | None = None,
    cache_dir: str | Path | None = None,
) -> Path:
    """Return the path of a file of the Hub, from the cache if it is there.

    Args:
        source: The file.
        sha256: Of its content, 64 hex digits; a file that differs is removed and fetched once more.
        timeout_s: Total time allowed.
        endpoint: Another server, for tests and mirrors; the user's token is not sent to it.
        cache_dir: Instead of the client's own cache folder.

    Raises:
        HubError: SP401 offline, SP402 deadline passed, SP403 access denied, SP404 no such repository, revision or file,
            SP405 other content than pinned, SP406 server error, SP408 client not installed, SP409 redirected away,
            SP410 larger than allowed, SP429 too many requests.
        ResourceError: SP520, the cache folder cannot be written.
    """
    client = _client()
    where = {"endpoint": endpoint, "cache_dir": cache_dir, "token": None if endpoint is None else False}
    end = time.monotonic() + timeout_s
    for force in (False, True):
        path = _before(end, source, lambda force=force: _fetch(client, source, force=force, **where))
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
        _remove(path)
    raise HubError(
        "SP405",
        f"{source.file} of {source.repo} has other content than the sha256 {sha256} says; it was removed.",
        "Do not use this file; report it to the owner of the repository.",
    )


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise HubError(
            "SP408", "Models of the Hub need the package huggingface_hub.", "Run pip install 'styleplugin[hub]'."
        ) from error
    return huggingface_hub


def _fetch(client: Any, source: HubSource, *, force: bool, endpoint: str | None, cache_dir: Any, token: Any) -> Path:
    place = {"repo_id": source.repo, "filename": source.file, "revision": source.revision}
    cached = client.try_to_load_from_cache(**place, cache_dir=cache_dir)
    if isinstance(cached, str) and not force:
        return Path(cached)
    url = client.hf_hub_url(**place, endpoint=endpoint)
    _check_offer(source, url, _ask(client, url, token))
    return Path(
        client.hf_hub_download(
            **place,
            endpoint=endpoint,
            cache_dir=cache_dir,
            token=token,
            force_download=force,
            etag_timeout=CONNECT_TIMEOUT_S,
            library_name="styleplugin",
        )
    )


def _ask(client: Any, url: str, token: Any) -> Any:
    """Return size and place of a file; wait as long as a busy server asks for, the deadline permitting."""
    while True:
        try:
            return client.get_hf_file_metadata(url, token=token, timeout=CONNECT_TIMEOUT_S)
        except client.errors.HfHubHTTPError as error:
            response = error.response
            pause = response.headers.get("Retry-After", "") if response is not None else ""
            if response is None or response.status_code != 429 or not pause.isdigit():
                raise
            time.sleep(max(1, int(pause)))


def _check_offer(source: HubSource, url: str, metadata: Any) -> None:
    """Refuse files that are too large and redirects that leave the Hub."""
    if metadata.size is not None and metadata.size > STUDENT.file_bytes:
        raise HubError(
            "SP410",
            f"{source.file} of {source.repo} has {metadata.size >> 20} MB; at most {STUDENT.file_bytes >> 20} MB "
            "are allowed.",
            "Use a smaller model.",
        )
    asked, target = _ORIGIN.match(url), _ORIGIN.match(metadata.location)
    if not asked or not target or (target[0] != asked[0] and not _HUB_ORIGIN.fullmatch(target[0])):
        raise HubError(
            "SP409",
            f"The server sent the download of {source.file} to another place than the Hub: {metadata.location[:99]!r}.",
            "Check your proxy and HF_ENDPOINT settings.",
        )


def _before(end: float, source: HubSource, work: Callable[[], Path]) -> Path:
    """Run `work` in a thread and wait until `end` at most; a stalled thread dies with the program."""
    future: Future[Path] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="styleplugin-download", daemon=True).start()
    wait([future], timeout=max(0.0, end - time.monotonic()))
    if not future.done():
        raise HubError(
            "SP402",
            f"The download of {source.file} from {source.repo} did not end in time.",
            "Try again later, or with a longer timeout.",
        )
    try:
        return future.result()
    except (HubError, ResourceError):
        raise
    except Exception as error:
        raise _explain(error, source) from error


def _explain(error: Exception, source: HubSource) -> HubError | ResourceError:
    """Translate an error of the client."""
    from huggingface_hub import errors

    place = f"{source.file} of {source.repo}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError) or status in (401, 403):
        hint = "Accept the terms on its page and log in with `hf auth login`; or check the name."
        return HubError("SP403", f"Access to {source.repo} was denied.", hint)
    missing = {
        errors.RevisionNotFoundError: f"The repository {source.repo} has no commit {source.revision}.",
        errors.RepositoryNotFoundError: f"There is no repository {source.repo}.",
        errors.EntryNotFoundError: f"The repository {source.repo} has no file {source.file} in this commit.",
    }
    for kind, message in missing.items():
        if isinstance(error, kind) and not isinstance(error, errors.LocalEntryNotFoundError):
            return HubError("SP404", message, "Check the spelling.")
    if status == 429:
        return HubError("SP429", f"The Hub refuses more requests now ({place}).", "Try again later.")
    if status is not None:
        return HubError("SP406", f"The Hub answered {status} to the request for {place}.", "Try again later.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        return ResourceError(
            "SP520",
            f"The download folder cannot be written: {error.strerror}.",
            "Free some space, or set HF_HOME to another folder.",
        )
    return HubError(
        "SP401",
        f"The Hub cannot be reached, and {place} is not in the cache ({type(error).__name__}).",
        "Check the network; or download the file by hand and give its path as file:PATH.",
    )


def _remove(path: Path) -> None:
    """Remove a cached file and the blob its link leads to."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
