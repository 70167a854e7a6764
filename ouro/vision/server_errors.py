"""What a model's server did wrong, or what was wrong with what it was asked: errors that name it and the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ouro.core.errors import OuroError

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
    """The start of a body on one line, with the secret masked in case the server repeats it."""
    text = " ".join(body.decode("utf-8", "replace").replace(secret, "***").split())
    return f"{len(body)} bytes: {text[:200]!r}" if text else f"{len(body)} bytes"


def explain(error: OpenAIError, url: str, name: str, key: str) -> ServerUnavailable | ServerRefused:
    """The error to raise, which names the server, the model, its answer, the number of attempts, and the fix."""
    from openai import APIConnectionError, APIStatusError

    kind: _Kind = ServerUnavailable
    got, attempts = f"{type(error).__name__}: {error}", 1
    fix = "start the server, or correct model.url; a slow one needs a larger model.timeout"
    if isinstance(error, APIConnectionError):
        got = str(error.__cause__) or type(error.__cause__).__name__
        attempts += int(error.request.headers.get("x-stainless-retry-count", 0))
    elif isinstance(error, APIStatusError):
        got = f"status {error.status_code} ({excerpt(error.response.content, key)})"
        attempts += int(error.response.request.headers.get("x-stainless-retry-count", 0))
        kind, fix = _classify_status(error.status_code)
    times = "once" if attempts == 1 else f"{attempts} times"
    text = f"{url}, model {name!r}, asked {times}: {got}; expected a chat completion. Fix: {fix}"
    text = text.replace(key, "***") if key != NO_KEY else text
    return RequestRefused(text, got) if kind is RequestRefused else kind(text)


_CHANGE_NAME = "correct model.name, and model.url, which usually ends in /v1"
_SMALLER = "lower describe.max_pixels, region_max_pixels or max_new_tokens, or give the server a longer context"


_Kind = type[ServerUnavailable] | type[ServerRefused]


def _classify_status(status: int) -> tuple[_Kind, str]:
    """The error type of an HTTP status (ServerUnavailable if a retry may help), and the fix."""
    if status in (401, 403):
        return ServerRefused, f"set {KEY} in the environment to a key of this server"
    if status in (400, 404, 405, 413, 422):
        kind = ServerRefused if status in (404, 405) else RequestRefused
        return kind, f"{_CHANGE_NAME}; where both are right: {_SMALLER}"
    if status == 429:
        return ServerUnavailable, "lower model.concurrency, or raise model.retries"
    if status >= 500 or status in (408, 409):
        return ServerUnavailable, "look into the server's log; model.retries says how often it is asked again"
    return ServerRefused, _CHANGE_NAME
