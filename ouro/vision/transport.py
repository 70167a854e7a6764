"""The HTTP client of ouro.vision.openai: each attempt has a deadline, a body has a limit, and it must be a reply.

The openai client retries connection, protocol and timeout errors of its HTTP client, and the statuses 408, 409, 429
and 5xx, with exponential back-off (0.5 to 8 s), or after the server's Retry-After (up to two minutes). But its timeout
limits each read instead of the attempt, so that a slow server can send for ever, it accepts any body with status 200,
and it reads and decompresses a body of any size (1.5 MB of gzip in gzip are 4.6 GB). Here these raise errors that it
retries, within the same number of attempts; bodies are decompressed piece by piece, and no more than the limit.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import httpx2

from ouro.core.json_text import parse_json
from ouro.vision import redirects
from ouro.vision.server_errors import ADDRESS, KEY, LOG, NO_KEY, ServerRefused, explain, fix_for, is_stream, what_came

if TYPE_CHECKING:
    from openai import AsyncOpenAI


MOST_BYTES = 16 * 2**20
"""Of a body, decompressed. 4,096 tokens with 20 alternatives each take some 8 MB."""

ERROR_BYTES = 2**16
"""Of a body that comes with an error's status; the rest is not read."""

COMPLETIONS = "/chat/completions"


class BadAnswer(httpx2.RemoteProtocolError):
    """Something answered, but with no chat completion; `fix` says what to do about what came."""

    def __init__(self, text: str, request: httpx2.Request, fix: str) -> None:
        super().__init__(text, request=request)
        self.fix = fix


class CheckedClient(httpx2.AsyncClient):
    """Limits an attempt to `limit` seconds and uses at most `connections` connections; no error contains `secret`."""

    def __init__(self, limit: float, connections: int, secret: str) -> None:
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        super().__init__(timeout=limit, limits=limits, follow_redirects=False)
        self._limit, self._secret = limit, secret

    async def send(self, request: httpx2.Request, **settings: Any) -> httpx2.Response:
        """The response, read completely. Raises ReadTimeout, and BadAnswer for a 200 without a reply, a body that is
        too large, or one that cannot be decompressed."""
        try:
            async with asyncio.timeout(self._limit):
                response = await self._send_to_one_server(request, **settings)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no whole answer within {self._limit:g} s", request=request) from error
        if response.is_success and request.url.path.endswith(COMPLETIONS):
            try:
                reply_of(response.content)
            except ValueError as error:
                kind, body = response.headers.get("content-type", ""), response.content
                got = what_came(response.status_code, f", but {error}", body, kind, self._secret)
                raise BadAnswer(got, request, fix_for(body, kind)) from error
        return response

    async def _send_to_one_server(self, request: httpx2.Request, **settings: Any) -> httpx2.Response:
        """The response after redirects within the server; to one that leads elsewhere, a response that says so."""
        settings |= {"follow_redirects": False, "stream": True}
        response = await super().send(request, **settings)
        for _ in range(redirects.MOST):
            target = response.next_request
            if target is None:
                break
            await response.aclose()
            if not redirects.may_follow(request, target):
                return redirects.refusal(response, target)
            response = await super().send(target, **settings)
        try:
            return await _read(response, request)
        finally:
            await response.aclose()


async def _read(response: httpx2.Response, request: httpx2.Request) -> httpx2.Response:
    """The response with its body, decompressed; of an error's body the beginning, of a stream of events the first
    piece. Raises BadAnswer."""
    status, coding = response.status_code, response.headers.get("content-encoding", "")[:40]
    limit, body = MOST_BYTES if response.is_success else ERROR_BYTES, bytearray()
    try:
        async with aclosing(response.aiter_bytes()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > limit or (body and is_stream(response.headers.get("content-type", ""))):
                    break
    except httpx2.DecodingError as error:
        got = f"status {status}, but its body is not the {coding!r} that it says it is ({str(error)[:100]})"
        raise BadAnswer(got, request, LOG) from error
    if len(body) > limit and response.is_success:
        packed = f", unpacked from {coding!r}" if coding else ""
        got = f"status {status}, but its body has more than {limit:,} bytes{packed}: the rest was not read"
        raise BadAnswer(got, request, ADDRESS)
    headers = [(key, value) for key, value in response.headers.multi_items() if key.lower() not in _OF_THE_BODY]
    return httpx2.Response(
        status, headers=headers, content=bytes(body[:limit]), request=response.request, extensions=response.extensions
    )


_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")


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


async def get_models(client: AsyncOpenAI, url: str, name: str) -> bytes | None:
    """The body of GET /models; None for any answer that is none. Raises ServerUnavailable where nothing answers."""
    from openai import APIConnectionError, OpenAIError

    try:
        answer = await client.with_options(max_retries=1).models.with_raw_response.list()
    except APIConnectionError as error:
        if isinstance(error.__cause__, (httpx2.ConnectError, httpx2.ConnectTimeout)):
            raise explain(error, url, name, client.api_key) from None
        return None
    except OpenAIError:
        return None
    return answer.content
