"""What a model's server did wrong, or what was wrong with what it was asked: errors that name it and the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ouro.core.errors import OuroError
from ouro.core.printable import shorten

if TYPE_CHECKING:
    from openai import OpenAIError

KEY = "OPENAI_API_KEY"
NO_KEY = "EMPTY"  # local servers need no key, but the client requires one


class ServerUnavailable(OuroError, RuntimeError):
    """A server that gave no usable reply in any attempt. A later attempt may succeed."""


class ServerRefused(OuroError, ValueError):
    """An error that a retry does not change: a wrong address, key, model name or request."""


class RequestRefused(ServerRefused):
    """A single request that the server refuses: too long, or with a picture it cannot read. Others may succeed."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


def excerpt(body: bytes, secret: str) -> str:
    """The start of a body on one line, with the secret masked in case the server repeats it; what is not printable
    stands as an escape."""
    text = " ".join(body.decode("utf-8", "replace").replace(secret, "***").split())
    return f"{len(body)} bytes: {text[:200]!r}" if text else f"{len(body)} bytes"


def what_came(status: int, words: str, body: bytes, kind: str, secret: str) -> str:
    """Status, `words`, the start of the body, and its content type `kind`, as the server wrote them."""
    kind = kind.partition(";")[0].strip().replace(secret, "***")[:60]
    return f"status {status}{words} ({excerpt(body, secret)}), {ascii(kind)[1:-1] or 'without a content type'}"


START = "start the server, or correct model.url"
ADDRESS = "correct model.url, which usually ends in /v1: another service answers there"
LOG = "look into the server's log; model.retries says how often it is asked again"
_PAGE = "correct model.url, which usually ends in /v1: a web page answers there (a proxy, a login, another service)"
_STREAM = "turn streaming off at the server, or at the proxy before it: no stream was asked for"
_SLOW = "a slow server needs a larger model.timeout or a smaller model.concurrency; else look into its log"
_CHANGE_NAME = "correct model.name, and model.url, which usually ends in /v1"
_SMALLER = "lower describe.max_pixels, region_max_pixels or max_new_tokens, or give the server a longer context"


def fix_for(body: bytes, kind: str) -> str:
    """What to do about a body that came with status 200 and is no chat completion."""
    start = body[:1000].lstrip().lower()
    if is_page(body, kind):
        return _PAGE
    if is_stream(kind) or start.startswith((b"data:", b"event:")):
        return _STREAM
    if not start or b'"error"' in start or b'"choices"' in start:
        return LOG
    return ADDRESS


def is_stream(kind: str) -> bool:
    """Whether a content type is that of a stream of events, which need not end."""
    return kind.lower().startswith("text/event-stream")


def is_page(body: bytes, kind: str) -> bool:
    """Whether a body is HTML."""
    start = body[:1000].lstrip().lower()
    return kind.startswith(("text/html", "application/xhtml")) or start.startswith((b"<!doctype html", b"<html"))


def explain(error: OpenAIError, url: str, name: str, key: str) -> ServerUnavailable | ServerRefused:
    """The error to raise, which names the server, the model, its answer, the number of attempts, and the fix."""
    from openai import APIConnectionError, APIStatusError

    kind: _Kind = ServerUnavailable
    got, attempts, fix = f"{type(error).__name__}: {error}", 1, LOG
    if isinstance(error, APIConnectionError):
        got = str(error.__cause__) or type(error.__cause__).__name__
        attempts += int(error.request.headers.get("x-stainless-retry-count", 0))
        fix = _fix_connection(error.__cause__)
    elif isinstance(error, APIStatusError):
        body, type_ = error.response.content, error.response.headers.get("content-type", "")
        got = what_came(error.status_code, "", body, type_, key)
        attempts += int(error.response.request.headers.get("x-stainless-retry-count", 0))
        kind, fix = _classify_status(error.status_code, is_page(body, type_))
    times = "once" if attempts == 1 else f"{attempts} times"
    text = f"{url}, model {name!r}, asked {times}: {shorten(got, 1000)}; expected a chat completion. Fix: {fix}"
    text = text.replace(key, "***") if key != NO_KEY else text
    return RequestRefused(text, got.removesuffix(", application/json")) if kind is RequestRefused else kind(text)


_Kind = type[ServerUnavailable] | type[ServerRefused]


def _fix_connection(cause: BaseException | None) -> str:
    """Only where nothing answered does the server have to be started."""
    import httpx2

    fix = getattr(cause, "fix", "")  # of ouro.vision.transport.BadAnswer
    if fix:
        return str(fix)
    if isinstance(cause, httpx2.ConnectError):
        tls = "ssl" in str(cause).lower() or "certificate" in str(cause).lower()
        return f"{ADDRESS}, or one whose certificate is not known here; is it http:// or https://?" if tls else START
    if isinstance(cause, httpx2.ConnectTimeout):
        return START
    if isinstance(cause, httpx2.ProxyError):
        return "correct http_proxy or https_proxy in the environment, or name the server in no_proxy"
    if isinstance(cause, httpx2.TimeoutException):
        return _SLOW
    if isinstance(cause, httpx2.RemoteProtocolError) and "disconnected" not in str(cause) and "peer" not in str(cause):
        return f"{ADDRESS} (no HTTP, or https where model.url says http)"
    return LOG


def _classify_status(status: int, page: bool) -> tuple[_Kind, str]:
    """The error type of an HTTP status (ServerUnavailable if a retry may help), and the fix. `page`: it came with HTML,
    which no model's server sends: a proxy, or another service."""
    if status in (401, 403):
        fix = f"set {KEY} in the environment to a key of this server"
        return ServerRefused, f"{fix}; or {_PAGE}" if page else fix
    if status == 407:
        return ServerRefused, "correct http_proxy or https_proxy in the environment, or name the server in no_proxy"
    if status in (400, 404, 405, 413, 422):
        kind = ServerRefused if status in (404, 405) else RequestRefused
        return kind, f"{_CHANGE_NAME}; where both are right: {_SMALLER}"
    if status == 429:
        return ServerUnavailable, "lower model.concurrency, or raise model.retries"
    if status >= 500 or status in (408, 409):
        return ServerUnavailable, f"{LOG}; a proxy answers in its place" if page else LOG
    return ServerRefused, _CHANGE_NAME
