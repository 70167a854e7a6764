"""What a server answers that is no reply: the error says what came, and a body is never unpacked whole."""

from __future__ import annotations

import gzip
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest
from openai_server import (
    SECRET,
    FakeServer,
    Handler,
    completion,
    fake_server,
    reach_directly,
    record_waits,
    says,
    status,
)

from ouro.vision.openai import KEY, OpenAIVisionLM, ServerRefused, ServerUnavailable
from ouro.vision.protocols import Request

HTML = b"<!DOCTYPE html>\n<html><title>Sign in</title></html>"
PAGE = "a web page answers"
MANY = 200 * 2**20  # bytes that a small body unpacks to


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    reach_directly(monkeypatch)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as fake:
        yield fake


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return record_waits(monkeypatch)


def error_of(vlm: OpenAIVisionLM) -> str:
    with pytest.raises((ServerUnavailable, ServerRefused)) as caught:
        vlm.generate([Request((), "hello")], max_new_tokens=4)
    return str(caught.value)


@pytest.mark.parametrize(
    ("answer", "came", "fix"),
    [
        (says(HTML, "text/html; charset=utf-8"), "<title>Sign in</title></html>'), text/html", PAGE),
        (says(HTML, "application/json"), "status 200, but its body is no chat completion (51 bytes: ", PAGE),
        (says(b"", "text/plain"), "(0 bytes), text/plain", "the server's log"),
        (says(b'{"status": "ok"}'), "'{\"status\": \"ok\"}'), application/json", "another service answers"),
        (says(b'{"error": {"message": "loading"}}'), '"loading"', "the server's log"),
        (says(b"pong", "text/plain"), "'pong'), text/plain", "another service answers"),
        (says(b"\x1b[2J\x00 \xe2\x80\xae", "text/\x1bx"), r"\x1b[2J\x00", "another service answers"),
        (says(b'data: {"choices": [{}]}\n\n', "text/event-stream"), "), text/event-stream", "turn streaming off"),
        (status(404, HTML, Content_Type="text/html"), "status 404 (51 bytes: '<!DOCTYPE html>", "model.url"),
        (status(404, b'{"detail": "Not Found"}'), "status 404 (23 bytes: '{\"detail\":", "model.name"),
        (status(401), "status 401", KEY),
        (status(403, HTML, Content_Type="text/html"), "'<!DOCTYPE html>", PAGE),
        (status(407), "status 407", "http_proxy"),
        (status(429), "status 429", "model.concurrency"),
        (status(502, HTML, Content_Type="text/html"), "status 502", "a proxy answers"),
        (status(500, b"x" * 10**6, Content_Type="text/plain"), "'xxxx", "the server's log"),
    ],
)  # fmt: skip
def test_an_error_says_what_came_and_not_to_start_a_server_that_answers(
    server: FakeServer, answer: object, came: str, fix: str
) -> None:
    server.script = [answer] * 9  # type: ignore[list-item]
    error = error_of(server.vlm(retries=1))
    what, _, mend = error.partition(" Fix: ")
    assert came in what and fix in mend and "start the server" not in error
    assert len(error) < 1200 and error.isprintable()


def test_what_is_said_of_an_answer_never_holds_the_key(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)
    server.script = [says(SECRET.encode(), SECRET)] * 9
    assert SECRET[:8] not in error_of(server.vlm(retries=0))


def test_a_server_that_speaks_no_http_is_another_service() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
                connection.recv(1000)
                connection.close()

        threading.Thread(target=greet, daemon=True).start()
        error = error_of(OpenAIVisionLM(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", "m", 1, 5.0, 1))
    assert "another service answers there" in error and "start the server" not in error


def test_a_stream_of_events_that_never_ends_is_left_at_its_first_piece(server: FakeServer) -> None:
    def streams(h: Handler) -> None:
        h.send_response(200)
        h.send_header("Content-Type", "text/event-stream")
        h.end_headers()
        h.wfile.write(b'data: {"choices": []}\n\n')
        h.fake.gone.wait(60)
        h.close_connection = True

    server.script = [streams]
    error = error_of(server.vlm(retries=0, timeout=20.0))
    assert "data: {" in error and "turn streaming off" in error


# ---- a body is bounded -----------------------------------------------------------------------------------


def small(coding: str) -> bytes:
    """A body of some 200 kB, or less, that unpacks to MANY bytes; made piece by piece."""
    packer = zlib.compressobj(wbits=15 if coding == "deflate" else 31)  # zlib's own header, or gzip's
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(MANY // 2**20)) + packer.flush()
    return gzip.compress(packed) if coding == "gzip, gzip" else packed


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """The most bytes that Python has held since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
@pytest.mark.parametrize("code", [200, 500])
def test_a_small_body_that_unpacks_to_a_large_one_is_not_unpacked(
    server: FakeServer, peak: Callable[[], int], coding: str, code: int
) -> None:
    """1.5 MB once became 4.6 GB."""
    body = small(coding)
    server.script = [lambda h: h.send(code, body, Content_Encoding=coding)]
    error = error_of(server.vlm(retries=0))
    assert peak() < 80 * 2**20 < MANY
    got = (
        f"its body has more than 16,777,216 bytes, unpacked from '{coding}'"
        if code == 200
        else "status 500 (65536 bytes"
    )
    assert got in error and "start the server" not in error


def test_a_body_that_never_ends_is_left_at_the_limit(server: FakeServer) -> None:
    sent = [0]

    def endless(h: Handler) -> None:
        h.send_response(200)
        h.send_header("Content-Type", "application/json")
        h.end_headers()
        h.close_connection = True
        while not h.fake.gone.is_set() and sent[0] < MANY:
            sent[0] += h.wfile.write(b" " * 2**16)

    server.script = [endless]
    assert "its body has more than 16,777,216 bytes: the rest was not read" in error_of(server.vlm(retries=0))
    assert sent[0] < MANY


def test_the_body_of_a_redirect_is_not_read(server: FakeServer, peak: Callable[[], int]) -> None:
    packed = small("gzip")
    server.script = [status(307, packed, Location="/v1/chat/completions/", Content_Encoding="gzip")]
    assert server.vlm().generate([Request((), "hello")], max_new_tokens=4) == ["hello"]
    assert peak() < 80 * 2**20


def test_a_body_that_is_not_packed_as_it_says_is_a_sentence(server: FakeServer) -> None:
    server.script = [lambda h: h.send(200, b"plain text", Content_Encoding="gzip")]
    error = error_of(server.vlm(retries=0))
    assert "status 200, but its body is not the 'gzip' that it says it is" in error and "the server's log" in error


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_reply_that_is_packed_is_read(server: FakeServer, coding: str) -> None:
    pack = gzip.compress if coding == "gzip" else zlib.compress
    server.script = [lambda h: h.send(200, pack(completion("a cup")), Content_Encoding=coding)]
    assert server.vlm(retries=0).generate([Request((), "hello")], max_new_tokens=4) == ["a cup"]
