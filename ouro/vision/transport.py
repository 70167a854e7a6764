"""The HTTP client under ouro.vision.openai: an attempt has a deadline, and a body must hold a reply.

The client of openai retries what its HTTP client raises for connections, protocol and time, and the statuses 408,
409, 429 and 5xx, with exponential back-off (0.5 to 8 s), or after the server's Retry-After (up to two minutes). But
it limits each read instead of the attempt, so that a server may drip for ever, and it takes whatever body a 200
brings. Both are raised here as errors that it retries, within the same number of attempts.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2


class CheckedClient(httpx2.AsyncClient):
    """Attempts of at most `limit` seconds over at most `connections` connections; no error shows `secret`."""

    def __init__(self, limit: float, connections: int, secret: str) -> None:
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        super().__init__(timeout=limit, limits=limits, follow_redirects=True)
        self._limit, self._secret = limit, secret

    async def send(self, request: httpx2.Request, **settings: Any) -> httpx2.Response:
        """The response, read to its end. Raises ReadTimeout, and RemoteProtocolError for a 200 without a reply."""
        try:
            async with asyncio.timeout(self._limit):
                response = await super().send(request, **settings)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no whole answer within {self._limit:g} s", request=request) from error
        if response.is_success:
            try:
                reply_of(response.content)
            except ValueError as error:
                got = f"status {response.status_code}, but {error} ({excerpt(response.content, self._secret)})"
                raise httpx2.RemoteProtocolError(got, request=request) from error
        return response


def reply_of(body: bytes) -> str:
    """The text of a chat completion, "" where the model said nothing. Raises ValueError for any other body."""
    try:
        choice: Any = json.loads(body)["choices"][0]
        content: Any = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError("its body is no chat completion") from error
    if content is None and choice.get("finish_reason") is not None:
        return ""  # all tokens went into reasoning, or the server's filter took the text
    if not isinstance(content, str):
        raise ValueError("its message has no text")
    return content


def excerpt(body: bytes, secret: str) -> str:
    """The start of a body on one line, without the secret, should a server repeat it."""
    text = " ".join(body.decode("utf-8", "replace").replace(secret, "***").split())
    return f"{len(body)} bytes: {text[:200]!r}" if text else f"{len(body)} bytes"
