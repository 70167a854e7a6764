"""A VisionLM behind any OpenAI-compatible server: vLLM, SGLang, llama.cpp, `transformers serve`.

Decoding is greedy (temperature 0). Pictures are sent as PNG data URLs before the text, and requests about one picture
one after the other, so that servers with prefix caching encode a picture once. The key is read from OPENAI_API_KEY only
and sent in the Authorization header only.

A request cannot carry `Request.max_pixels`, so pictures are scaled down before they are sent. The server gives the same
text as HFVisionLM when it runs the same model in the same dtype with the same chat template, and `multiple` is that
model's patch size times its merge size (`resize_multiple`). Then a picture within its bound is sent as it is, and the
server resizes it as HFVisionLM would; a larger one is sent in the size that HFVisionLM's processor gives it, which the
server's processor does not change. With `multiple` 1 the server resizes a second time: of 53 nano crops 3 got another
text. Pillow's bicubic filter replaces torchvision's; on those crops one value in 600 differed, by up to 2 of 255.
Bounds beyond the server's own (`size` in the model's processor_config.json) have no effect.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ouro.core.errors import OuroError
from ouro.vision.data_urls import DataURLs
from ouro.vision.protocols import OnReplies, Refused, Request

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAIError
    from openai.types.chat import ChatCompletionContentPartParam

KEY = "OPENAI_API_KEY"
NO_KEY = "EMPTY"  # local servers need no key, but the client requires one
TRIAL_REQUESTS = 8  # if a server refuses all of the first requests of a call, the params are wrong, not the requests


class ServerUnavailable(OuroError, RuntimeError):
    """A server that gave no usable reply in any attempt. A later attempt may succeed."""


class ServerRefused(OuroError, ValueError):
    """An error that a retry does not change: a wrong address, key, model name or request."""


class RequestRefused(ServerRefused):
    """A single request that the server refuses: too long, or with a picture it cannot read. Others may succeed."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class OpenAIVisionLM:
    """Implements ouro.vision.protocols.VisionLM.

    At most `concurrency` requests run at once, over all threads that call `generate`; each attempt has `timeout`
    seconds, and up to `retries` more attempts follow. `multiple`: see the top of this file.
    """

    def __init__(self, url: str, name: str, concurrency: int, timeout: float, retries: int, multiple: int = 1) -> None:
        self.fingerprint = openai_fingerprint(url, name, multiple)
        if not name:
            raise ServerRefused(
                f"{url}: got no model name, expected the one that the server knows its model by. Fix: set model.name"
            )
        self.url, self.name, self.concurrency, self.multiple = url, name, concurrency, multiple
        self._timeout, self._retries = timeout, retries
        self._slots = asyncio.Semaphore(concurrency)
        self._lock = threading.Lock()
        self._loop_and_client: tuple[asyncio.AbstractEventLoop, AsyncOpenAI] | None = None

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        progress: Callable[[int], None] | None = None,
        on_replies: OnReplies | None = None,
    ) -> list[str]:
        """One reply per request, in order; `progress` and `on_replies` are called from another thread, once per reply.

        The reply to a request that the server refuses is a Refused; the other requests continue, unless the first
        TRIAL_REQUESTS were all refused. Any other error stops all requests; so does KeyboardInterrupt. Raises
        ServerUnavailable and ServerRefused.
        """
        loop, client = self._start()
        job = asyncio.run_coroutine_threadsafe(
            self._ask_all(client, requests, max_new_tokens, progress, on_replies), loop
        )
        try:
            return job.result()
        except BaseException:
            job.cancel()
            raise

    def _start(self) -> tuple[asyncio.AbstractEventLoop, AsyncOpenAI]:
        """Start an event loop in its own thread, since a caller may have a running loop, and there may be several."""
        with self._lock:
            if self._loop_and_client is None:
                loop, client = (
                    asyncio.new_event_loop(),
                    _make_client(self.url, self.concurrency, self._timeout, self._retries),
                )
                threading.Thread(target=_run_loop, args=(loop, client), name="openai", daemon=True).start()
                weakref.finalize(self, loop.call_soon_threadsafe, loop.stop).atexit = False
                self._loop_and_client = loop, client
            return self._loop_and_client

    async def _ask_all(
        self,
        client: AsyncOpenAI,
        requests: Sequence[Request],
        max_new_tokens: int,
        progress: Callable[[int], None] | None,
        on_replies: OnReplies | None,
    ) -> list[str]:
        """`concurrency` workers take requests from one queue, so that few pictures are encoded in advance."""
        replies = [""] * len(requests)
        todo = iter(order_by_picture(requests))
        urls = DataURLs(2 * self.concurrency, self.multiple)
        trial = _Trial(min(TRIAL_REQUESTS, len(requests)))

        async def work() -> None:
            for i in todo:
                try:
                    replies[i] = await self._ask(client, requests[i], max_new_tokens, urls)
                    trial.passed = True
                except RequestRefused as error:
                    replies[i] = trial.record_refusal(error)
                if on_replies:
                    on_replies({i: replies[i]})
                if progress:
                    progress(1)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.concurrency, len(requests))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return replies

    async def _ask(self, client: AsyncOpenAI, request: Request, max_new_tokens: int, urls: DataURLs) -> str:
        from openai import OpenAIError

        from ouro.vision.transport import reply_of

        image_urls = [await urls.get(*view) for view in zip(request.images, request.bounds(), strict=True)]
        content: list[ChatCompletionContentPartParam] = [
            *({"type": "image_url", "image_url": {"url": url}} for url in image_urls),
            {"type": "text", "text": request.prompt},
        ]
        try:
            async with self._slots:
                answer = await client.chat.completions.with_raw_response.create(
                    model=self.name, messages=[{"role": "user", "content": content}],
                    temperature=0.0, max_tokens=max_new_tokens,
                )  # fmt: skip
        except OpenAIError as error:
            raise self._explain(error, client.api_key) from None
        return reply_of(answer.content).strip()

    def _explain(self, error: OpenAIError, key: str) -> ServerUnavailable | ServerRefused:
        """The error to raise, which names the server, the model, its answer, the number of attempts, and the fix."""
        from openai import APIConnectionError, APIStatusError

        from ouro.vision.transport import excerpt

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
        text = f"{self.url}, model {self.name!r}, asked {times}: {got}; expected a chat completion. Fix: {fix}"
        text = text.replace(key, "***") if key != NO_KEY else text
        return RequestRefused(text, got) if kind is RequestRefused else kind(text)


class _Trial:
    """Detects a server that refuses all requests: it does if none of the `first` ones to be answered succeeds."""

    def __init__(self, first: int) -> None:
        self.passed, self._remaining = False, first

    def record_refusal(self, error: RequestRefused) -> Refused:
        """The reply to a refused request. Raises the error if all of the first requests were refused."""
        self._remaining -= 1
        if self._remaining <= 0 and not self.passed:
            raise error
        return Refused(error.reason)


def openai_fingerprint(url: str, name: str, multiple: int = 1) -> str:
    """SHA-256 (hex) over what a served model's replies depend on, as far as is known without a request.

    The key is not included. Raises ServerRefused for an invalid address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ServerRefused(f"model.url: got {url!r}, expected one like http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ServerRefused(f"model.url: got one with a user or password in it, expected none. Fix: use {KEY}")
    return hashlib.sha256(json.dumps(["openai", url.rstrip("/"), name, multiple]).encode()).hexdigest()


def resize_multiple(folder: Path) -> int:
    """The number that a local model's picture sides are multiples of (patch size times merge size); 1 if unknown."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            config: dict[str, Any] = json.loads((folder / name).read_bytes())
            processor = config.get("image_processor", config)
            return (
                int(processor.get("patch_size", 1)) * int(processor["merge_size"]) if "merge_size" in processor else 1
            )
    return 1


def order_by_picture(requests: Sequence[Request]) -> list[int]:
    """Indices of the requests, grouped by their first picture, pictures in order of first appearance."""
    picture_numbers: dict[int, int] = {}
    first_pictures = [
        picture_numbers.setdefault(id(r.images[0]), len(picture_numbers)) if r.images else -1 for r in requests
    ]
    return sorted(range(len(requests)), key=first_pictures.__getitem__)


def _make_client(url: str, concurrency: int, timeout: float, retries: int) -> AsyncOpenAI:
    from openai import AsyncOpenAI

    from ouro.vision.transport import CheckedClient

    key = os.environ.get(KEY, "").strip() or NO_KEY
    if not (key.isascii() and key.isprintable()):
        raise ServerRefused(
            f"{KEY}: got a key that no HTTP header can hold, expected printable ASCII. Fix: set it anew"
        )
    http = CheckedClient(timeout, concurrency, key)
    return AsyncOpenAI(base_url=url, api_key=key, timeout=timeout, max_retries=retries, http_client=http)


def _run_loop(loop: asyncio.AbstractEventLoop, client: AsyncOpenAI) -> None:
    """The thread's main function: run the loop until it is stopped, then close the client."""
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(client.close())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


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
