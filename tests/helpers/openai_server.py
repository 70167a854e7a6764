"""A server that answers as it is told, and does everything that servers should not; what tests ask it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest
from PIL import Image as PILImage

from ouro.vision.openai import (
    KEY,
    OpenAIVisionLM,
)
from ouro.vision.protocols import Request

SECRET = "sk-0123456789-not-to-be-seen"
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Every POST takes the next answer of the script; without one it echoes the prompt."""

    protocol_version = "HTTP/1.1"

    @property
    def fake(self) -> FakeServer:
        return cast(FakeServer, self.server)

    def do_GET(self) -> None:
        with self.fake.lock:
            self.fake.gets.append(self.path)
        models = self.fake.models
        if models is None:
            self.send(404, b'{"detail": "Not Found"}')
        else:
            self.send(200, json.dumps({"object": "list", "data": models}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.fake.begin(body, self.headers.get("Authorization", ""))
        try:
            answer(self)
        finally:
            self.fake.end()

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


class FakeServer(ThreadingHTTPServer):
    """Notes what it was sent, and how many requests were under way at once."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.script: list[Answer] = []
        self.otherwise: Callable[[Handler, str], None] = echo
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.models: list[dict[str, Any]] | None = None  # what GET /models lists; None: there is no such page
        self.gets: list[str] = []
        self.under_way = self.most = 0
        self.lock, self.gone = threading.Lock(), threading.Event()

    def begin(self, body: dict[str, Any], key: str) -> Answer:
        with self.lock:
            self.bodies.append(body)
            self.keys.append(key)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            return self.script.pop(0) if self.script else lambda h: self.otherwise(h, self.prompt(body))

    def end(self) -> None:
        with self.lock:
            self.under_way -= 1

    @staticmethod
    def prompt(body: dict[str, Any]) -> str:
        return body["messages"][0]["content"][-1]["text"]

    def handle_error(self, request: Any, client_address: Any) -> None: ...  # a client that went away

    def vlm(self, concurrency: int = 2, timeout: float = 30.0, retries: int = 3) -> OpenAIVisionLM:
        return OpenAIVisionLM(self.url, "m", concurrency, timeout, retries)


def completion(text: str | None, finish: str | None = "stop") -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": finish}]}).encode()


def echo(h: Handler, text: str) -> None:
    h.send(200, completion(text))


def status(code: int, body: bytes = b'{"error": {"message": "no"}}', **headers: str) -> Answer:
    return lambda h: h.send(code, body, **headers)


def says(body: bytes, kind: str = "application/json") -> Answer:
    return lambda h: h.send(200, body, kind)


def half_a_body(h: Handler) -> None:
    whole = completion("never seen")
    h.send_response(200)
    h.send_header("Content-Type", "application/json")
    h.send_header("Content-Length", str(len(whole)))
    h.end_headers()
    h.wfile.write(whole[: len(whole) // 2])
    h.close_connection = True


def half_a_body_of_no_length(h: Handler) -> None:
    h.send_response(200)
    h.send_header("Content-Type", "application/json")
    h.send_header("Connection", "close")
    h.end_headers()
    h.wfile.write(completion("never seen")[:30])
    h.close_connection = True


def hangs_up(h: Handler) -> None:
    h.close_connection = True


def is_silent(h: Handler) -> None:
    h.fake.gone.wait(60)
    h.close_connection = True


def drips(h: Handler) -> None:
    """A byte now and then, for ever: no single read ever takes long."""
    h.send_response(200)
    h.send_header("Content-Length", "1000000")
    h.end_headers()
    while not h.fake.gone.wait(0.05):
        h.wfile.write(b" ")
        h.wfile.flush()


FAULTS: dict[str, Answer] = {
    "429": status(429, Retry_After="1"),
    "500": status(500),
    "503 of a proxy": status(503, b"<html>bad gateway</html>"),
    "garbage": says(b"\x00\xff{{{"),
    "garbage as text": says(b"hello", "text/plain"),
    "nothing": says(b""),
    "another JSON": says(b'{"error": "overloaded"}'),
    "no choices": says(b'{"choices": []}'),
    "a list": says(b"[]"),
    "content that is no text": says(b'{"choices": [{"message": {"content": 7}}]}'),
    "half a body": half_a_body,
    "half a body of no length": half_a_body_of_no_length,
    "hangs up": hangs_up,
    "is silent": is_silent,
    "drips": drips,
}  # fmt: skip


@contextmanager
def fake_server() -> Generator[FakeServer]:
    server = FakeServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.gone.set()
    server.shutdown()
    server.server_close()


def reach_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and no key of whoever runs the tests."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(KEY, raising=False)


def record_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the client waited between attempts; nobody waits them."""
    import anyio

    delays: list[float] = []

    async def at_once(seconds: float) -> None:
        delays.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(anyio, "sleep", at_once)
    return delays


def picture(value: int, side: int = 32) -> PILImage.Image:
    return PILImage.new("RGB", (side, side), (value % 256, 0, 0))


def asks(n: int) -> list[Request]:
    return [Request((picture(k),), f"q{k}") for k in range(n)]


def pictures_of(body: dict[str, Any]) -> list[PILImage.Image]:
    """The pictures that a request carried."""
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    return [PILImage.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]
