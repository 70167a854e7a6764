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
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from ouro.vision.alternatives import MOST_ALTERNATIVES, option_shares, read_steps, token_probabilities, tokens_needed
from ouro.vision.data_urls import DataURLs, resize_multiple
from ouro.vision.extras import Extras, Fields
from ouro.vision.probabilities import normalised
from ouro.vision.protocols import OnReplies, Refused, Reply, Request, ScoringUnavailable, check_options
from ouro.vision.queueing import TRIAL_REQUESTS, Trial, order_by_picture
from ouro.vision.server_errors import KEY, NO_KEY, RequestRefused, ServerRefused, ServerUnavailable, explain

__all__ = [
    "KEY",
    "NO_KEY",
    "OpenAIVisionLM",
    "RequestRefused",
    "ServerRefused",
    "ServerUnavailable",
    "openai_fingerprint",
    "resize_multiple",
]

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionContentPartParam

Send = Callable[[Request, int, Fields], Awaitable[bytes]]  # a request, its most tokens, extra fields -> a body
T = TypeVar("T")


class OpenAIVisionLM:
    """Implements ouro.vision.protocols.VisionLM and Scoring.

    At most `concurrency` requests run at once, over all threads that call `generate` or `choose`; each attempt has
    `timeout` seconds, and up to `retries` more attempts follow. `multiple`: see the top of this file. `identity`: of
    the model that answers (ouro.vision.identity). `check` is called before the first request, and may raise.
    """

    def __init__(
        self, url: str, name: str, concurrency: int, timeout: float, retries: int, multiple: int = 1,
        identity: str = "", check: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self.fingerprint = openai_fingerprint(url, name, multiple, identity)
        if not name:
            raise ServerRefused(
                f"{url}: got no model name, expected the one that the server knows its model by. Fix: set model.name"
            )
        self.url, self.name, self.concurrency, self.multiple = url, name, concurrency, multiple
        self._timeout, self._retries = timeout, retries
        self._slots = asyncio.Semaphore(concurrency)
        self._lock = threading.Lock()
        self._extras, self._check = Extras(), check
        self._loop_and_client: tuple[asyncio.AbstractEventLoop, AsyncOpenAI] | None = None

    @property
    def takes_schemas(self) -> bool:
        """Whether the server may hold replies to a JSON schema; the first request with one finds out."""
        return self._extras.takes_schemas

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
        TRIAL_REQUESTS were all refused. So is that to a request with a schema where the server takes none. Any other
        error stops all requests; so does KeyboardInterrupt. Raises ServerUnavailable and ServerRefused.
        """

        async def work(i: int, send: Send) -> str:
            return await self._reply(requests[i], max_new_tokens, send)

        def finish(i: int, reply: str) -> None:
            if on_replies:
                on_replies({i: reply})
            if progress:
                progress(1)

        return self._run(requests, work, lambda error: Refused(error.reason), finish)

    def choose(self, requests: Sequence[Request], options: Sequence[tuple[str, ...]]) -> list[tuple[float, ...]]:
        """The probability of each request's options, from `top_logprobs` of the reply's first tokens: what is not among
        a token's 20 most probable alternatives counts 0, and the options of a request that the server refuses count
        alike. Raises ScoringUnavailable where the server gives none, else as `generate`.
        """
        check_options(requests, options)

        async def work(i: int, send: Send) -> tuple[float, ...]:
            return await self._choose(requests[i], options[i], send)

        def equal(error: RequestRefused) -> tuple[float, ...]:
            return ()

        shares = self._run(requests, work, equal, lambda i, share: None)
        return [share or normalised([0.0] * len(choices)) for share, choices in zip(shares, options, strict=True)]

    def bodies(self, requests: Sequence[Request], *, max_new_tokens: int) -> list[bytes]:
        """The bodies of the answers as they came, b"" to a request that the server refuses. Raises as `generate`."""

        async def work(i: int, send: Send) -> bytes:
            return await send(requests[i], max_new_tokens, {})

        return self._run(requests, work, lambda error: b"", lambda i, body: None)

    def model_list(self) -> bytes | None:
        """The body of the server's list of models, None where it gives none. Raises ServerUnavailable where nothing
        answers, after two attempts."""
        from ouro.vision.transport import get_models

        loop, client = self._start()
        return asyncio.run_coroutine_threadsafe(get_models(client, self.url, self.name), loop).result()

    async def _reply(self, request: Request, max_new_tokens: int, send: Send) -> str:
        from ouro.vision.transport import choice_of, reply_of

        def ask(fields: Fields) -> Awaitable[bytes]:
            return send(request, min(max_new_tokens, request.most_tokens or max_new_tokens), fields)

        refused = Refused("the server takes no JSON schema")
        if request.schema and not self.takes_schemas:
            return refused
        body = await self._extras.ask(ask, request, RequestRefused)
        if request.schema and not self.takes_schemas:
            return refused
        text = reply_of(body).strip()
        probabilities = token_probabilities(choice_of(body)) if request.confidence else []
        return Reply(text, fmean(probabilities), min(probabilities)) if probabilities else text

    async def _choose(self, request: Request, options: tuple[str, ...], send: Send) -> tuple[float, ...]:
        from ouro.vision.transport import choice_of

        most_tokens = tokens_needed(options)
        try:
            body = await send(request, most_tokens, {"logprobs": True, "top_logprobs": MOST_ALTERNATIVES})
        except RequestRefused as error:
            await send(request, most_tokens, {})  # refused without them, too: the request is at fault
            raise self._unavailable(error.reason) from None
        steps = read_steps(choice_of(body))
        if steps is None:
            raise self._unavailable("no `logprobs` in its answer")
        return option_shares(steps, options)

    def _unavailable(self, got: str) -> ScoringUnavailable:
        return ScoringUnavailable(
            f"{self.url}, model {self.name!r}: asked for the probabilities of replies, got {got}; expected `logprobs` "
            f"with {MOST_ALTERNATIVES} `top_logprobs`. Fix: serve the model with vLLM or SGLang, or set "
            "model.backend=hf; or ask for none: merge.settle=rules, merge.matcher=lexical, synthesize.support=rules"
        )

    def _run(
        self,
        requests: Sequence[Request],
        work: Callable[[int, Send], Awaitable[T]],
        refused: Callable[[RequestRefused], T],
        finish: Callable[[int, T], None],
    ) -> list[T]:
        """The results of `work` for each request; `refused` makes that of one which the server refuses."""
        if self._check:
            self._check()
            self._check = None
        loop, client = self._start()
        job = asyncio.run_coroutine_threadsafe(self._run_all(client, requests, work, refused, finish), loop)
        try:
            return job.result()
        except BaseException:
            job.cancel()
            raise

    def _start(self) -> tuple[asyncio.AbstractEventLoop, AsyncOpenAI]:
        """Start an event loop in its own thread, since a caller may have a running loop, and there may be several."""
        from ouro.vision.transport import make_client

        with self._lock:
            if self._loop_and_client is None:
                client = make_client(self.url, self.concurrency, self._timeout, self._retries)
                loop = asyncio.new_event_loop()
                threading.Thread(target=_run_loop, args=(loop, client), name="openai", daemon=True).start()
                weakref.finalize(self, loop.call_soon_threadsafe, loop.stop).atexit = False
                self._loop_and_client = loop, client
            return self._loop_and_client

    async def _run_all(
        self,
        client: AsyncOpenAI,
        requests: Sequence[Request],
        work: Callable[[int, Send], Awaitable[T]],
        refused: Callable[[RequestRefused], T],
        finish: Callable[[int, T], None],
    ) -> list[T]:
        """`concurrency` workers take requests from one queue, so that few pictures are encoded in advance."""
        results: dict[int, T] = {}
        todo = iter(order_by_picture(requests))
        urls = DataURLs(2 * self.concurrency, self.multiple)
        trial = Trial(min(TRIAL_REQUESTS, len(requests)))

        async def send(request: Request, most_tokens: int, fields: Fields) -> bytes:
            return await self._ask(client, request, most_tokens, fields, urls)

        async def work_on() -> None:
            for i in todo:
                try:
                    results[i] = await work(i, send)
                    trial.passed = True
                except RequestRefused as error:
                    trial.record_refusal(error)
                    results[i] = refused(error)
                finish(i, results[i])

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.concurrency, len(requests))):
                    group.create_task(work_on())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [results[i] for i in range(len(requests))]

    async def _ask(
        self, client: AsyncOpenAI, request: Request, most_tokens: int, fields: Fields, urls: DataURLs
    ) -> bytes:
        from openai import OpenAIError

        image_urls = [await urls.get(*view) for view in zip(request.images, request.bounds(), strict=True)]
        content: list[ChatCompletionContentPartParam] = [
            *({"type": "image_url", "image_url": {"url": url}} for url in image_urls),
            {"type": "text", "text": request.prompt},
        ]
        try:
            async with self._slots:
                answer = await client.chat.completions.with_raw_response.create(
                    model=self.name, messages=[{"role": "user", "content": content}],
                    temperature=0.0, max_tokens=most_tokens, extra_body=fields or None,
                )  # fmt: skip
        except OpenAIError as error:
            raise explain(error, self.url, self.name, client.api_key) from None
        return answer.content


def openai_fingerprint(url: str, name: str, multiple: int = 1, identity: str = "") -> str:
    """SHA-256 (hex) over what a served model's replies depend on: its address, its name, how pictures are sent, and the
    `identity` of what answers ("": not known).

    The key is not included. Raises ServerRefused for an invalid address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ServerRefused(f"model.url: got {url!r}, expected one like http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ServerRefused(f"model.url: got one with a user or password in it, expected none. Fix: use {KEY}")
    return hashlib.sha256(json.dumps(["openai", url.rstrip("/"), name, multiple, identity]).encode()).hexdigest()


def _run_loop(loop: asyncio.AbstractEventLoop, client: AsyncOpenAI) -> None:
    """The thread's main function: run the loop until it is stopped, then close the client."""
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(client.close())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
