"""A VisionLM behind any OpenAI-compatible server: vLLM, SGLang, llama.cpp, `transformers serve`.

Greedy (temperature 0). Pictures travel as PNG data URLs in front of the text, requests about one picture right after
each other, so that servers with prefix caching read a picture once. The key comes from OPENAI_API_KEY alone, and goes
nowhere but into the Authorization header.

A server cannot be told `Request.max_pixels`, so pictures are made smaller before they are sent. When does it then
give HFVisionLM's text? When it runs the same model in the same dtype with the same chat template, and `multiple` is
that model's patch size times its merge size (`resize_multiple`): then a picture within its bound arrives untouched
and the server resizes it as HFVisionLM would, and one beyond arrives in the very size that HFVisionLM's processor
gives it, which the server's own leaves alone. With `multiple` 1 the server resizes a second time: of 53 nano crops 3
got another text. Pillow's bicubic stands in for torchvision's; on those crops one value in 600 differed, by up to 2
of 255. Bounds outside of the server's own (`size` in the model's processor_config.json) cannot be had this way.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from PIL import Image as PILImage

from ouro.core.errors import OuroError
from ouro.core.images import encode_png
from ouro.vision.protocols import OnReplies, Refused, Request

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAIError
    from openai.types.chat import ChatCompletionContentPartParam

KEY = "OPENAI_API_KEY"
NO_KEY = "EMPTY"  # local servers want none, the client wants one
ENOUGH = 8  # requests of a call; where a server takes none of the first ones, params are wrong, not the requests


class ServerUnavailable(OuroError, RuntimeError):
    """A server that gave no usable reply, however often it was asked. May pass by itself."""


class ServerRefused(OuroError, ValueError):
    """A server's address, or an answer that asking again does not change: wrong key, model name or request."""


class RequestRefused(ServerRefused):
    """A request that this server does not take, it may be others: too long, or a picture it cannot read."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(text)
        self.why = why


class OpenAIVisionLM:
    """Implements ouro.vision.protocols.VisionLM.

    At most `concurrency` requests are under way at once, over all threads that call `generate`; each attempt has
    `timeout` seconds, and up to `retries` more follow. `multiple`: see the top of this file.
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
        self._started: tuple[asyncio.AbstractEventLoop, AsyncOpenAI] | None = None

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        progress: Callable[[int], None] | None = None,
        on_replies: OnReplies | None = None,
    ) -> list[str]:
        """One reply a request, in order; `progress` and `on_replies` are called from another thread, once a
        reply.

        A request that the server does not take is Refused and the others go on, unless it took none of the first
        ENOUGH. Any other failure ends all; so does KeyboardInterrupt. Raises ServerUnavailable and ServerRefused.
        """
        loop, client = self._start()
        job = asyncio.run_coroutine_threadsafe(self._all(client, requests, max_new_tokens, progress, on_replies), loop)
        try:
            return job.result()
        except BaseException:
            job.cancel()
            raise

    def _start(self) -> tuple[asyncio.AbstractEventLoop, AsyncOpenAI]:
        """An event loop in a thread of its own: callers may have a running loop themselves, or be many."""
        with self._lock:
            if self._started is None:
                loop, client = (
                    asyncio.new_event_loop(),
                    _client(self.url, self.concurrency, self._timeout, self._retries),
                )
                threading.Thread(target=_run, args=(loop, client), name="openai", daemon=True).start()
                weakref.finalize(self, loop.call_soon_threadsafe, loop.stop).atexit = False
                self._started = loop, client
            return self._started

    async def _all(
        self,
        client: AsyncOpenAI,
        requests: Sequence[Request],
        max_new_tokens: int,
        progress: Callable[[int], None] | None,
        on_replies: OnReplies | None,
    ) -> list[str]:
        """As many workers as may ask at once take from one queue, so that little is encoded ahead of its turn."""
        replies = [""] * len(requests)
        todo = iter(by_picture(requests))
        urls = _DataURLs(2 * self.concurrency, self.multiple)
        trial = _Trial(min(ENOUGH, len(requests)))

        async def work() -> None:
            for i in todo:
                try:
                    replies[i] = await self._ask(client, requests[i], max_new_tokens, urls)
                    trial.passed = True
                except RequestRefused as error:
                    replies[i] = trial.refused(error)
                if on_replies:
                    on_replies({i: replies[i]})
                if progress:
                    progress(1)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.concurrency, len(requests))):
                    group.create_task(work())
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return replies

    async def _ask(self, client: AsyncOpenAI, request: Request, max_new_tokens: int, urls: _DataURLs) -> str:
        from openai import OpenAIError

        from ouro.vision.transport import reply_of

        shown = [await urls.of(*view) for view in zip(request.images, request.bounds(), strict=True)]
        content: list[ChatCompletionContentPartParam] = [
            *({"type": "image_url", "image_url": {"url": url}} for url in shown),
            {"type": "text", "text": request.prompt},
        ]
        try:
            async with self._slots:
                answer = await client.chat.completions.with_raw_response.create(
                    model=self.name, messages=[{"role": "user", "content": content}],
                    temperature=0.0, max_tokens=max_new_tokens,
                )  # fmt: skip
        except OpenAIError as error:
            raise self._explained(error, client.api_key) from None
        return reply_of(answer.content).strip()

    def _explained(self, error: OpenAIError, key: str) -> ServerUnavailable | ServerRefused:
        """The error for the person: server, model, what it answered to how many attempts, and what to do."""
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
            kind, fix = _fix(error.status_code)
        times = "once" if attempts == 1 else f"{attempts} times"
        text = f"{self.url}, model {self.name!r}, asked {times}: {got}; expected a chat completion. Fix: {fix}"
        text = text.replace(key, "***") if key != NO_KEY else text
        return RequestRefused(text, got) if kind is RequestRefused else kind(text)


class _Trial:
    """Whether a server takes requests at all: none of the `first` answered ones taken means that it does not."""

    def __init__(self, first: int) -> None:
        self.passed, self._left = False, first

    def refused(self, error: RequestRefused) -> Refused:
        """The reply of one that was not taken. Raises the error where none was."""
        self._left -= 1
        if self._left <= 0 and not self.passed:
            raise error
        return Refused(error.why)


def openai_fingerprint(url: str, name: str, multiple: int = 1) -> str:
    """SHA-256 (hex) over what a served model's replies depend on, as far as can be known without asking it.

    The key is not part of it. Raises ServerRefused for what is no server's address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ServerRefused(f"model.url: got {url!r}, expected one like http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ServerRefused(f"model.url: got one with a user or password in it, expected none. Fix: use {KEY}")
    return hashlib.sha256(json.dumps(["openai", url.rstrip("/"), name, multiple]).encode()).hexdigest()


def resize_multiple(folder: Path) -> int:
    """What the sides of pictures are multiples of in the model of a local folder; 1 where that is not known."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            found: dict[str, Any] = json.loads((folder / name).read_bytes())
            own = found.get("image_processor", found)
            return int(own.get("patch_size", 1)) * int(own["merge_size"]) if "merge_size" in own else 1
    return 1


def by_picture(requests: Sequence[Request]) -> list[int]:
    """Indices of the requests, those about one first picture next to each other, pictures as they first appear."""
    seen: dict[int, int] = {}
    first = [seen.setdefault(id(r.images[0]), len(seen)) if r.images else -1 for r in requests]
    return sorted(range(len(requests)), key=first.__getitem__)


def bounded(picture: PILImage.Image, max_pixels: int | None, multiple: int = 1) -> PILImage.Image:
    """The picture with at most `max_pixels`, its aspect kept as far as sides that are multiples allow.

    Sizes are those of the image processors of Qwen2-VL and its successors (smart_resize).
    """
    width, height = picture.size
    whole = [max(1, round(side / multiple)) * multiple for side in (width, height)]
    if max_pixels is None or whole[0] * whole[1] <= max_pixels:
        return picture
    shrink = math.sqrt(width * height / max_pixels)
    size = [max(1, math.floor(side / shrink / multiple)) * multiple for side in (width, height)]
    return picture.resize((size[0], size[1]), PILImage.Resampling.BICUBIC)


def data_url(picture: PILImage.Image, max_pixels: int | None, multiple: int = 1) -> str:
    """A picture, bounded, as a PNG in a data URL."""
    png = encode_png(bounded(picture.convert("RGB"), max_pixels, multiple))
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


class _DataURLs:
    """Data URLs of the last `keep` pictures asked for, each made once, in a thread."""

    def __init__(self, keep: int, multiple: int) -> None:
        self._keep, self._multiple = keep, multiple
        # Beside its URL the picture itself: as long as it lives, no other one has its id.
        self._made: OrderedDict[tuple[int, int | None], tuple[PILImage.Image, asyncio.Future[str]]] = OrderedDict()

    async def of(self, picture: PILImage.Image, bound: int | None) -> str:
        key = (id(picture), bound)
        if key not in self._made:
            picture.load()  # two threads must not do it at once
            made = asyncio.ensure_future(asyncio.to_thread(data_url, picture, bound, self._multiple))
            self._made[key] = picture, made
            if len(self._made) > self._keep:
                self._made.popitem(last=False)
        return await self._made[key][1]


def _client(url: str, concurrency: int, timeout: float, retries: int) -> AsyncOpenAI:
    from openai import AsyncOpenAI

    from ouro.vision.transport import CheckedClient

    key = os.environ.get(KEY, "").strip() or NO_KEY
    if not (key.isascii() and key.isprintable()):
        raise ServerRefused(
            f"{KEY}: got a key that no HTTP header can hold, expected printable ASCII. Fix: set it anew"
        )
    http = CheckedClient(timeout, concurrency, key)
    return AsyncOpenAI(base_url=url, api_key=key, timeout=timeout, max_retries=retries, http_client=http)


def _run(loop: asyncio.AbstractEventLoop, client: AsyncOpenAI) -> None:
    """The life of the thread: until the OpenAIVisionLM is gone."""
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(client.close())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


_CHANGE_NAME = "correct model.name, and model.url, which usually ends in /v1"
_SMALLER = "lower describe.max_pixels, region_max_pixels or max_new_tokens, or give the server a longer context"


_Kind = type[ServerUnavailable] | type[ServerRefused]


def _fix(status: int) -> tuple[_Kind, str]:
    """Whether a status may pass by itself, and what to do about it."""
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
