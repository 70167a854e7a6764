"""The HTTP client of ouro.vision.openai: each attempt has a deadline, and a response body must contain a reply.

The openai client retries connection, protocol and timeout errors of its HTTP client, and the statuses 408, 409, 429
and 5xx, with exponential back-off (0.5 to 8 s), or after the server's Retry-After (up to two minutes). But its timeout
limits each read instead of the attempt, so that a slow server can send for ever, and it accepts any body with status
200. Here both raise errors that it retries, within the same number of attempts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import httpx2

from ouro.core.json_text import parse_json
from ouro.vision import redirects
from ouro.vision.server_errors import KEY, NO_KEY, ServerRefused, excerpt

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class CheckedClient(httpx2.AsyncClient):
    """Limits an attempt to `limit` seconds and uses at most `connections` connections; no error contains `secret`."""

    def __init__(self, limit: float, connections: int, secret: str) -> None:
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        super().__init__(timeout=limit, limits=limits, follow_redirects=False)
        self._limit, self._secret = limit, secret

    async def send(self, request: httpx2.Request, **settings: Any) -> httpx2.Response:
        """The response, read completely. Raises ReadTimeout, and RemoteProtocolError for a 200 without a reply."""
        try:
            async with asyncio.timeout(self._limit):
                response = await self._send_to_one_server(request, **settings)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no whole answer within {self._limit:g} s", request=request) from error
        if response.is_success:
            try:
                reply_of(response.content)
            except ValueError as error:
                got = f"status {response.status_code}, but {error} ({excerpt(response.content, self._secret)})"
                raise httpx2.RemoteProtocolError(got, request=request) from error
        return response

    async def _send_to_one_server(self, request: httpx2.Request, **settings: Any) -> httpx2.Response:
        """The response after redirects within the server; to one that leads elsewhere, a response that says so."""
        settings["follow_redirects"] = False
        response = await super().send(request, **settings)
        for _ in range(redirects.MOST):
            target = response.next_request
            if target is None:
                break
            if not redirects.may_follow(request, target):
                await response.aclose()
                return redirects.refusal(response, target)
            await response.aread()
            response = await super().send(target, **settings)
        return response


def reply_of(body: bytes) -> str:
    """The text of a chat completion, "" if the model returned none. Raises ValueError for any other body."""
    try:
        choice = choice_of(body)
        content: Any = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError("its body is no chat completion") from error
    if content is None and choice.get("finish_reason") is not None:
        return ""  # all tokens were used for reasoning, or the server's filter removed the text
    if isinstance(content, list):
        content = _text_of(cast("list[Any]", content))
    if not isinstance(content, str):
        raise ValueError("its message has no text")
    return content


def _text_of(parts: Sequence[Any]) -> str | None:
    """The text of a message in parts; its reasoning is none of it. None for a part that is none."""
    if not all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in parts):
        return None
    return "".join(str(part.get("text", "")) for part in parts if part["type"] in ("text", "output_text"))


def choice_of(body: bytes) -> Any:
    """The first choice of a chat completion; raises ValueError, KeyError, IndexError or TypeError for another body."""
    return parse_json(body)["choices"][0]


def make_client(url: str, concurrency: int, timeout: float, retries: int) -> AsyncOpenAI:
    """The client of a server; the key is that of the environment. Raises ServerRefused for one that no header holds."""
    from openai import AsyncOpenAI

    key = os.environ.get(KEY, "").strip() or NO_KEY
    if not (key.isascii() and key.isprintable()):
        raise ServerRefused(
            f"{KEY}: got a key that no HTTP header can hold, expected printable ASCII. Fix: set it anew"
        )
    http = CheckedClient(timeout, concurrency, key)
    return AsyncOpenAI(base_url=url, api_key=key, timeout=timeout, max_retries=retries, http_client=http)
