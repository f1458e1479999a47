"""Whether weights can be downloaded: a host that does not answer is noticed within seconds.

Weights in the cache are used then. The libraries retry for up to a minute, or wait without a limit.
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

from fiftyone_deepcluster.core.arguments import reason_of
from fiftyone_deepcluster.errors import OptionsError

logger = logging.getLogger(__name__)

_HOST = re.compile(r"host='([^']+)'|https?://([^/\s'\"]+)")
"""Name of the host in the text of an exception of urllib3, requests or httpx."""

ANSWER_SECONDS = 5.0
"""Seconds that a host has to answer a request of a few bytes, before its files are said to be out of reach."""


def problem_of(ask: Callable[[], object], seconds: float = ANSWER_SECONDS) -> str:
    """Why ``ask`` failed; empty if it returned within ``seconds``.

    It runs in a thread of its own, since resolving a host name has no time limit.
    """
    found: list[str] = []

    def run() -> None:
        try:
            ask()
        except Exception as error:  # whatever the library of the connection raises
            found.append(download_problem(error))
        else:
            found.append("")

    thread = threading.Thread(target=run, name="deepcluster-host", daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else f"no answer within {seconds:g} seconds"


def download_problem(error: BaseException) -> str:
    """Why a download failed, for a message: that the host cannot be reached, else the first line of the exception.

    Libraries of connections show objects and addresses of the connection instead; that text goes to the log.
    """
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    if not any(_is_connection(each) for each in chain):
        return reason_of(error)
    logger.warning("a download failed: %s", error)
    host = _HOST.search(str(error))
    reasons = [_system_reason(each) for each in chain]
    why = next((f": {reason}" for reason in reversed(reasons) if reason), "")
    return f"{host[1] or host[2] if host else 'its host'} cannot be reached{why}"


def _is_unknown_host(error: BaseException) -> bool:
    return (type(error).__module__, type(error).__name__) == ("socket", "gaierror")


def _system_reason(error: BaseException) -> str:
    """Why the operating system made no connection, such as "Connection refused"; empty for exceptions of libraries."""
    own = type(error).__module__ in ("builtins", "socket", "ssl")
    return (error.strerror or reason_of(error)) if own and isinstance(error, OSError) else ""


def _is_connection(error: BaseException) -> bool:
    """Whether an exception says that no connection was made, or that it broke; not an answer such as 404."""
    from urllib.error import HTTPError, URLError

    if isinstance(error, HTTPError) or type(error).__name__ in ("HTTPError", "HTTPStatusError"):
        return False
    if isinstance(error, ConnectionError | TimeoutError | ssl.SSLError | URLError) or _is_unknown_host(error):
        return True
    return type(error).__module__.split(".")[0] in ("urllib3", "httpx", "httpcore") or (
        type(error).__module__.startswith("requests") and "Connection" in type(error).__name__
    )


def hub_url() -> str:
    """Address of the Hugging Face hub, or of the mirror that ``HF_ENDPOINT`` names."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def hub_problem() -> str:
    """Why the Hugging Face hub cannot be reached; empty if it can. Any answer counts, also one of a proxy."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return problem_of(lambda: get_session().head(hub_url(), timeout=ANSWER_SECONDS))


_ONE_LOAD = threading.RLock()
"""Held while a model of the hub is loaded: the hub's offline mode is a setting of the whole process."""


@contextmanager
def hub_files(what: str, repository: str, way: str) -> Iterator[None]:
    """Load files of the Hugging Face hub within the context; only cached ones where the hub cannot be reached.

    Other threads wait until the context is left.

    Args:
        what: what is loaded, for messages, such as "the weights of model='facebook/dinov2-small'".
        repository: name on the hub, which its folder in the cache has, too.
        way: how to do without the hub, for messages.

    Raises:
        OptionsError: the hub cannot be reached, and the cache lacks a file.
    """
    from huggingface_hub import constants

    with _ONE_LOAD:
        reason = hub_problem()
        if not reason:
            yield
            return
        before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
        try:
            yield
        except Exception as error:
            if not _is_missing(error):
                raise
            folder = f"models--{repository.replace('/', '--')}"
            raise OptionsError(
                f"{what} could not be downloaded from {hub_url()}/{repository} ({reason}); download its files "
                f"elsewhere and {way}, or copy {folder!r} of another computer's cache into the folder "
                f"{constants.HF_HUB_CACHE!r}"
            ) from error
        finally:
            constants.HF_HUB_OFFLINE = before


def _is_missing(error: BaseException | None) -> bool:
    """Whether the exception, or one that caused it, is of a file that is not in the hub's cache."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    while error is not None:
        if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
            return True
        error = error.__cause__ or error.__context__
    return False


def check_download(url: str, what: str) -> Path:
    """Check that torch's cache has the file of ``url``, or that its host can be reached; return its path in the cache.

    Args:
        url: address of the file; its last part is the name in the cache.
        what: what is downloaded, for messages.

    Raises:
        OptionsError: neither.
    """
    cached = torch_cache() / Path(urlparse(url).path).name
    if cached.exists():
        return cached
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the libraries' own addresses
    reason = problem_of(lambda: _answer(request))
    if reason:
        raise OptionsError(not_downloaded(url, what, reason))
    return cached


def _answer(request: urllib.request.Request) -> None:
    """Return where the host answers, whatever it says."""
    from urllib.error import HTTPError

    try:
        urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()  # noqa: S310  # nosec B310
    except HTTPError:
        return


def torch_cache() -> Path:
    """Folder of the files that torch and torchvision download."""
    from torch import hub

    return Path(hub.get_dir()) / "checkpoints"


def not_downloaded(url: str, what: str, reason: str) -> str:
    """Message about a file that could not be downloaded, with the ways out."""
    return (
        f"{what} could not be downloaded from {url} ({reason}); download this file elsewhere and give its path as "
        f"weights, or put it into the folder {str(torch_cache())!r}"
    )
