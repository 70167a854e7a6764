"""What the Hugging Face Hub, or the way to it, answers instead of doing it, as sentences."""

from __future__ import annotations

import httpx2
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

# hf_xet, which uploads large files, raises RuntimeError; huggingface_hub ValueError for a card that the hub refuses.
HUB_ERRORS = (HfHubHTTPError, httpx2.HTTPError, OfflineModeIsEnabled, OSError, ValueError, RuntimeError)
_AGAIN = "Fix: run the same command again: what arrived is not sent twice"
_INVALID = "Invalid credentials"
_ANSWERS = {  # status -> (what it means, what to do)
    400: ("the hub refused what was sent", "look at what it says"),
    401: ("the hub does not know this token", "hf auth login, or set HF_TOKEN to a token that is valid"),
    402: ("the account has no room for it", "look at the account's plan on the hub"),
    403: ("this token has no right to write there", "use a token with the role write, of somebody who may"),
    404: ("the hub has no such owner or repository", "look at the name, OWNER/NAME, and at what the token may see"),
    409: ("something else is being done to that repository", "run the same command again"),
    413: ("the hub takes no file of that size", "export in smaller shards (ingest.shard_images)"),
    429: ("the hub takes no more requests for now", "wait a while and run the same command again"),
}


def is_missing(error: BaseException) -> bool:
    """Whether the hub says that there is no such repository, and not that the token is wrong.

    It answers 401 for what does not exist, too.
    """
    return isinstance(error, RepositoryNotFoundError) and _INVALID not in str(error)


def say_hub_error(error: BaseException, url: str) -> tuple[str, bool]:
    """One sentence for an error, and whether the same command would meet it again."""
    if isinstance(error.__cause__, HfHubHTTPError):  # of one file's upload
        return _say_answer(error.__cause__, url)
    if isinstance(error, OfflineModeIsEnabled):
        return f"{url}: HF_HUB_OFFLINE is set, so nothing is sent. Fix: unset it, or --dry-run", True
    if isinstance(error, HfHubHTTPError):
        return _say_answer(error, url)
    if isinstance(error, (httpx2.TransportError, ConnectionError, TimeoutError)):
        return (
            f"{url}: cannot be reached ({type(error).__name__}). Fix: look at the network, HF_ENDPOINT and the proxy, "
            "and run the same command again: what arrived is not sent twice",
            False,
        )
    return f"{url}: {_first_line(error)}. {_AGAIN}", False


def _say_answer(error: HfHubHTTPError, url: str) -> tuple[str, bool]:
    status = error.response.status_code
    if status >= 500:
        return (
            f"{url}: the hub failed ({status}). Fix: run the same command again: what arrived is not sent twice",
            False,
        )
    meaning, fix = _ANSWERS.get(status, ("the hub refused it", "look at what it says"))
    said = error.server_message or ""
    return f"{url}: {meaning} ({status}{f': {said[:300]}' if said else ''}). Fix: {fix}", status not in (409, 429)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
