"""Downloads from the Hugging Face Hub and uploads to it: the only network access of the package.

Everything asked for is pinned: a commit id, a file name without folders, and the content: by the user's sha256, or by
the id that the Hub gives it in this commit, since the client itself does not check content. The client may go on
retrying for minutes; a total deadline ends the wait. Tokens are the client's own business, and so is HF_ENDPOINT.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from styleplugin.errors import HubError, ResourceError
from styleplugin.tensorfile import STUDENT

T = TypeVar("T")

DEFAULT_FILE = "model.safetensors"
CONNECT_TIMEOUT_S = 5.0
"""A dead network is reported after this time, not after the client's 23 s of retries."""

_SOURCE = re.compile(
    r"hub:(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)@(?P<revision>[0-9a-f]{40})"
    r"(?:/(?P<file>\w[\w.-]*\.safetensors))?(?:#(?P<sha256>[0-9a-f]{64}))?",
    re.ASCII,
)
_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_CONTENT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_ORIGIN = re.compile(r"\w+://[\w.-]+(:\d+)?(?=/)", re.ASCII)
_ENDPOINT = re.compile(r"https?://[\w.-]+(:\d{1,5})?(/.*)?", re.ASCII)
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
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

    def __str__(self) -> str:
        """Return the spelling that `parse_source` reads."""
        return f"hub:{self.repo}@{self.revision}/{self.file}" + (f"#{self.sha256}" if self.sha256 else "")


def parse_source(text: str) -> HubSource:
    """Read `hub:OWNER/REPO@REVISION[/FILE][#SHA256]`.

    Raises:
        HubError: SP407, another spelling, a branch for a commit id, or a file in a folder.
    """
    match = _SOURCE.fullmatch(text)
    if not match:
        raise HubError(
            "SP407",
            f"{text!r} is not a pinned source; it must read hub:OWNER/REPO@REVISION[/FILE.safetensors][#SHA256].",
            "REVISION is the commit id of 40 hex digits that the repository's history shows.",
        )
    return HubSource(**{name: value for name, value in match.groupdict().items() if value})


def download(
    source: HubSource,
    *,
    limit_bytes: int = STUDENT.file_bytes,
    timeout_s: float = 60,
    endpoint: str | None = None,
    cache_dir: str | Path | None = None,
) -> Path:
    """Return the path of a file of the Hub, from the cache if it is there.

    Args:
        source: The file. A file whose content differs from its sha256, or without one from what the Hub says about this
            commit, is removed and fetched once more.
        limit_bytes: Larger files are refused.
        timeout_s: Total time allowed.
        endpoint: Another server, for tests and mirrors; the user's token is not sent to it.
        cache_dir: Instead of the client's own cache folder.

    Raises:
        HubError: SP401 offline, SP402 deadline passed, SP403 access denied, SP404 no such repository, revision or file,
            SP405 other content than pinned, SP406 server error, SP408 client not installed, SP409 redirected away,
            SP410 larger than allowed, SP411 its content is not known, SP429 too many requests.
        ResourceError: SP520, the cache folder cannot be written.
    """
    client = _client()
    where = {"endpoint": endpoint, "cache_dir": cache_dir, "token": None if endpoint is None else False}
    end = time.monotonic() + timeout_s
    for force in (False, True):
        path, identity = _before(
            end, source, lambda force=force: _fetch(client, source, limit_bytes, force=force, **where)
        )
        identity = source.sha256 or identity
        if content_id(path.read_bytes(), len(identity)) == identity:
            return path
        _remove(path)
    raise HubError(
        "SP405",
        f"{source.file} of {source.repo} has other content than {identity} says; it was removed.",
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


def content_id(data: bytes, digits: int) -> str:
    """Return what the Hub calls some content: its sha256 (64 digits), or for small files its Git blob id (40)."""
    if digits == 64:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def upload(
    repo: str,
    files: Mapping[str, bytes],
    *,
    message: str,
    private: bool = False,
    timeout_s: float = 600,
    endpoint: str | None = None,
) -> str:
    """Put files into a model repository, which is made if there is none, as one commit.

    Args:
        repo: OWNER/REPO.
        files: Content by name.
        message: Of the commit.
        private: Of a new repository.
        timeout_s: Total time allowed.
        endpoint: Another server, for tests; the user's token is not sent to it.

    Returns:
        The commit id.

    Raises:
        HubError: SP407 the repository's name, SP412 the client holds no token; otherwise as `download`.
    """
    if not _REPO.fullmatch(repo):
        raise HubError("SP407", f"{repo!r} cannot name a repository; it must read OWNER/REPO.")
    client = _client()
    if endpoint is None and client.get_token() is None:
        raise HubError("SP412", "Publishing needs a token, and the client holds none.", "Run `hf auth login`.")
    source = HubSource(repo=repo, revision="main", file="the commit")
    operations = [client.CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]

    def work() -> str:
        api = client.HfApi(endpoint=endpoint, token=None if endpoint is None else False, library_name="styleplugin")
        api.create_repo(repo, private=private, exist_ok=True)
        return api.create_commit(repo, operations=operations, commit_message=message).oid

    return _before(time.monotonic() + timeout_s, source, work)


def front_matter(**fields: Any) -> str:
    """Return the head of a model card, YAML, as the client writes it."""
    return f"---\n{_client().ModelCardData(**fields).to_yaml()}\n---\n"


def _fetch(
    client: Any, source: HubSource, limit: int, *, force: bool, endpoint: str | None, cache_dir: Any, token: Any
) -> tuple[Path, str]:
    """Return the file, and the id of its content that the Hub gave."""
    place = {"repo_id": source.repo, "filename": source.file, "revision": source.revision}
    cached = client.try_to_load_from_cache(**place, cache_dir=cache_dir)
    if isinstance(cached, str) and not force:
        # The cache keeps a file under its id, and links to it where the system has links.
        stored = Path(cached).resolve().name
        if source.sha256 or _CONTENT_ID.fullmatch(stored):
            return Path(cached), stored
    url = client.hf_hub_url(**place, endpoint=endpoint)
    offer = _ask(client, url, token)
    _check_offer(source, url, offer, limit)
    if not source.sha256 and not _CONTENT_ID.fullmatch(offer.etag or ""):
        raise HubError(
            "SP411",
            f"The server does not say what the content of {source.file} is.",
            "Append # and the sha256 that its page on the Hub shows.",
        )
    path = Path(
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
    return path, offer.etag


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


def _check_offer(source: HubSource, url: str, metadata: Any, limit: int) -> None:
    """Refuse files that are too large and redirects that leave the Hub."""
    if metadata.size is not None and metadata.size > limit:
        raise HubError(
            "SP410",
            f"{source.file} of {source.repo} has {metadata.size >> 20} MB; at most {limit >> 20} MB are allowed.",
            "Use a smaller model.",
        )
    asked, target = _ORIGIN.match(url), _ORIGIN.match(metadata.location)
    if not asked or not target or (target[0] != asked[0] and not _HUB_ORIGIN.fullmatch(target[0])):
        raise HubError(
            "SP409",
            f"The server sent the download of {source.file} to another place than the Hub: {metadata.location[:99]!r}.",
            "Check your proxy and HF_ENDPOINT settings.",
        )


def _before(end: float, source: HubSource, work: Callable[[], T]) -> T:
    """Run `work` in a thread and wait until `end` at most; a stalled thread dies with the program."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="styleplugin-transfer", daemon=True).start()
    wait([future], timeout=max(0.0, end - time.monotonic()))
    if not future.done():
        raise HubError(
            "SP402",
            f"The transfer of {source.file}, repository {source.repo}, did not end in time.",
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
    why, remedy = _cause(error)
    return HubError(
        "SP401",
        f"{why}, and {place} is not in the cache.",
        f"{remedy}; or download the file by hand and give its path as file:PATH.",
    )


def _cause(error: Exception) -> tuple[str, str]:
    """Return why the Hub was not reached, and what to do about it, as parts of sentences."""
    if type(error).__name__ == "OfflineModeIsEnabled":
        return "The Hub was not asked, since HF_HUB_OFFLINE is set", "Unset HF_HUB_OFFLINE"
    endpoint = os.environ.get("HF_ENDPOINT", "")
    if endpoint and not _ENDPOINT.fullmatch(endpoint):
        return f"HF_ENDPOINT is {endpoint[:99]!r}, which is not the address of a server", "Correct or unset HF_ENDPOINT"
    if "socks" in str(error).lower():
        why = f"The proxy speaks SOCKS, which the client cannot ({error})"
        return why, "Install what it names, or use an HTTP proxy"
    proxies = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    remedy = f"Check the network and {' and '.join(proxies)}" if proxies else "Check the network"
    return f"The Hub cannot be reached ({type(error).__name__})", remedy


def _remove(path: Path) -> None:
    """Remove a cached file and the blob its link leads to."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
