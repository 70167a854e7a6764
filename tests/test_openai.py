"""The openai backend: against a real server holding nano, and against one that does everything servers should not."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import math
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from serving import served_nano

from cli import doctor
from ouro.annotate.describe import describe_shard
from ouro.annotate.synthesize import synthesize_shard
from ouro.core.crops import crop
from ouro.core.params import Describe, Synthesize
from ouro.core.records import Region, Rejected, Scene
from ouro.nano.scenes import draw_scene, render
from ouro.vision import openai as backend
from ouro.vision.hf import HFVisionLM
from ouro.vision.openai import (
    KEY,
    OpenAIVisionLM,
    ServerRefused,
    ServerUnavailable,
    bounded,
    openai_fingerprint,
    resize_multiple,
)
from ouro.vision.protocols import Refused, Request
from ouro.vision.scripted import ScriptedVLM

NANO = Path(__file__).resolve().parent.parent / "models/nano"
SECRET = "sk-0123456789-not-to-be-seen"


@pytest.fixture(autouse=True)
def _no_proxy_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(KEY, raising=False)


# ---- a server that answers as it is told -----------------------------------------------------------

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Every POST takes the next answer of the script; without one it echoes the prompt."""

    protocol_version = "HTTP/1.1"
    server: FakeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.server.begin(body, self.headers.get("Authorization", ""))
        try:
            answer(self)
        finally:
            self.server.end()

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
    h.server.gone.wait(60)
    h.close_connection = True


def drips(h: Handler) -> None:
    """A byte now and then, for ever: no single read ever takes long."""
    h.send_response(200)
    h.send_header("Content-Length", "1000000")
    h.end_headers()
    while not h.server.gone.wait(0.05):
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


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.gone.set()
    made.shutdown()
    made.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the client waited between attempts; nobody waits them."""
    import anyio

    asked: list[float] = []

    async def at_once(seconds: float) -> None:
        asked.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(anyio, "sleep", at_once)
    return asked


def picture(value: int, side: int = 32) -> PILImage.Image:
    return PILImage.new("RGB", (side, side), (value % 256, 0, 0))


def asks(n: int) -> list[Request]:
    return [Request((picture(k),), f"q{k}") for k in range(n)]


def shown(body: dict[str, Any]) -> list[PILImage.Image]:
    """The pictures that a request carried."""
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    return [PILImage.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


# ---- faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_is_asked_through(server: FakeServer, waits: list[float], fault: str) -> None:
    server.script = [FAULTS[fault], FAULTS[fault]]
    [reply] = server.vlm(timeout=0.5).generate([Request((), "hello")], max_new_tokens=4)
    assert reply == "hello"
    assert len(server.bodies) == 3
    assert len(waits) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_names_server_model_what_it_got_and_the_fix(
    server: FakeServer, waits: list[float], fault: str
) -> None:
    server.script = [FAULTS[fault]] * 99
    with pytest.raises(ServerUnavailable) as caught:
        server.vlm(timeout=0.5, retries=2).generate([Request((), "hello")], max_new_tokens=4)
    got = {
        "429": 'status 429 (28 bytes: \'{"error": {"message": "no"}}\')',
        "500": "status 500",
        "503 of a proxy": "status 503 (24 bytes: '<html>bad gateway</html>')",
        "garbage": "status 200, but its body is no chat completion (5 bytes",
        "nothing": "status 200, but its body is no chat completion (0 bytes)",
        "another JSON": '\'{"error": "overloaded"}\'',
        "content that is no text": "status 200, but its message has no text",
        "half a body": "peer closed connection",
        "half a body of no length": "status 200, but its body is no chat completion (30 bytes",
        "hangs up": "disconnected without sending",
        "is silent": "within 0.5 s",
        "drips": "no whole answer within 0.5 s",
    }.get(fault, "status 200, but its body is no chat completion")
    said = str(caught.value)
    assert said.startswith(f"{server.url}, model 'm', asked 3 times: ")
    # Two limits of the same length watch over a silent server; whichever comes first speaks.
    assert got in said or (fault == "is silent" and "ReadTimeout" in said)
    assert "expected a chat completion. Fix: " in said
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (400, "describe.max_pixels"),
        (401, KEY),
        (403, KEY),
        (404, "model.name"),
        (413, "max_pixels"),
        (422, "model.url"),
    ],
)
def test_a_refusal_is_not_asked_again(server: FakeServer, code: int, fix: str) -> None:
    server.script = [status(code)]
    with pytest.raises(ServerRefused, match=f"asked once: status {code}") as caught:
        server.vlm().generate([Request((), "hello")], max_new_tokens=4)
    assert fix in str(caught.value).partition("Fix: ")[2]
    assert len(server.bodies) == 1


def picky(h: Handler, prompt: str) -> None:
    """Refuses what holds the word "big"; a server may repeat the key that it was sent."""
    said = f"too long, says {h.headers['Authorization']}"
    echo(h, prompt) if "big" not in prompt else h.send(400, json.dumps({"error": {"message": said}}).encode())


@pytest.mark.parametrize("code", [400, 413, 422])
def test_one_refused_request_is_an_empty_reply_with_a_reason_and_the_others_go_on(
    server: FakeServer, code: int
) -> None:
    """A single picture that the server could not read once ended a run of thousands."""
    server.script = [lambda h: echo(h, "q0"), status(code, b"too long")]
    told: list[int] = []
    replies = server.vlm(1).generate(asks(4), max_new_tokens=4, progress=told.append)
    assert replies == ["q0", "", "q2", "q3"]
    refused = replies[1]
    assert isinstance(refused, Refused) and refused.why == f"status {code} (8 bytes: 'too long')"
    assert (len(server.bodies), sum(told)) == (4, 4)


def test_what_a_server_says_of_a_refused_request_does_not_show_the_key(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    server.otherwise = picky
    replies = server.vlm(1).generate([Request((), "small"), Request((), "big")], max_new_tokens=4)
    assert isinstance(replies[1], Refused) and "too long, says Bearer ***" in replies[1].why


def test_a_server_that_refuses_the_first_eight_ends_the_call_and_seven_do_not(server: FakeServer) -> None:
    server.script = [status(400)] * 7
    replies = server.vlm(1).generate(asks(9), max_new_tokens=4)
    assert replies == [""] * 7 + ["q7", "q8"]
    assert [isinstance(reply, Refused) for reply in replies] == [True] * 7 + [False] * 2
    server.bodies.clear()
    server.script = [status(400)] * 8
    with pytest.raises(ServerRefused, match="status 400"):
        server.vlm(1).generate(asks(9), max_new_tokens=4)
    assert len(server.bodies) == 8
    server.script = [lambda h: echo(h, "q0"), *[status(400)] * 8]
    assert server.vlm(1).generate(asks(9), max_new_tokens=4) == ["q0", *[""] * 8]


def test_a_call_of_few_requests_that_are_all_refused_ends(server: FakeServer) -> None:
    server.script = [status(413)] * 3
    with pytest.raises(ServerRefused, match="status 413"):
        server.vlm().generate(asks(3), max_new_tokens=4)


@pytest.mark.parametrize("code", [401, 403, 404, 405])
def test_a_wrong_key_or_address_ends_the_call_whatever_went_before(server: FakeServer, code: int) -> None:
    server.script = [lambda h: echo(h, "q0"), status(code)]
    with pytest.raises(ServerRefused, match=f"status {code}"):
        server.vlm(1).generate(asks(5), max_new_tokens=4)


def test_describe_rejects_the_region_whose_request_is_refused(server: FakeServer) -> None:
    server.script = [says(completion("a star .")), status(400, b"too long")]
    regions = [
        Region("i/0", "i", None, 0, (0.0, 0.0, 32.0, 32.0), 1.0, "image"),
        Region("i/0.0", "i", "i/0", 1, (0.0, 0.0, 9.0, 9.0), 1.0, "ocr", "milk", "text"),
    ]
    said, rejected = describe_shard(regions, {"i": picture(1)}, server.vlm(1), Describe())
    assert [d.region_id for d in said] == ["i/0"]
    assert rejected == [Rejected("describe", "i/0.0", "refused", "status 400 (8 bytes: 'too long')")]


def test_synthesize_rejects_what_is_refused_to_the_writer_and_in_the_round_trip(server: FakeServer) -> None:
    """`min_agreement` 0 keeps whatever is answered, but nothing was."""
    written = "is there a red star? yes. how many tables are there? one."
    server.script = [says(completion(written)), status(413, b"too large")]
    server.script += [says(completion("yes")), status(422, b"no picture")]
    scene = Scene("i", "a table with a red star on the table.", (), ())
    params = Synthesize(aspects=("style", "interactions"), round_trip=True, min_agreement=0.0)
    vlm = server.vlm(1)
    made = synthesize_shard({"i": picture(1)}, [scene], vlm, params, answerer=vlm)
    assert [p.question for p in made.pairs] == ["is there a red star?"]
    assert [(r.record_id, r.reason, r.detail) for r in made.rejected] == [
        ("i/interactions/0", "refused", "status 413 (9 bytes: 'too large')"),
        ("i/style/1", "refused", "how many tables are there? one; status 422 (10 bytes: 'no picture')"),
    ]
    assert made.n_in == len(made.pairs) + len(made.rejected)


def test_replies_are_handed_over_as_they_come_the_refused_ones_too(server: FakeServer) -> None:
    """From the client's thread into SQLite, as benchmarks are asked."""
    server.script = [says(completion("red")), status(400)]
    batches: list[dict[int, str]] = []
    replies = server.vlm(1).generate(asks(2), max_new_tokens=4, on_replies=lambda batch: batches.append(dict(batch)))
    assert batches == [{0: "red"}, {1: ""}] and replies == ["red", ""]
    assert isinstance(batches[1][1], Refused)


def test_nobody_listens_there(waits: list[float]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(ServerUnavailable, match=r"asked 2 times: .*Fix: start the server"):
            OpenAIVisionLM(url, "m", 1, 5.0, 1).generate([Request((), "hello")], max_new_tokens=4)


def test_retry_after_is_honoured_and_otherwise_waits_double(server: FakeServer, waits: list[float]) -> None:
    server.script = [status(429, Retry_After="7"), *[status(500)] * 4]
    assert server.vlm(retries=5).generate([Request((), "hello")], max_new_tokens=4) == ["hello"]
    assert waits[0] == 7.0
    for seconds, most in zip(waits[1:], (1.0, 2.0, 4.0, 8.0), strict=True):  # up to a quarter less, by chance
        assert 0.75 * most <= seconds <= most


def test_one_failure_ends_the_others_and_the_next_call_works(server: FakeServer) -> None:
    server.script = [is_silent, status(401)]
    vlm = server.vlm(concurrency=2)
    with pytest.raises(ServerRefused):
        vlm.generate(asks(50), max_new_tokens=4)
    assert len(server.bodies) == 2
    assert vlm.generate(asks(3), max_new_tokens=4) == ["q0", "q1", "q2"]


def test_a_model_that_says_nothing_gives_an_empty_reply(server: FakeServer) -> None:
    """All tokens went into reasoning: no fault of the server's, and asking again would not change it."""
    server.script = [says(completion(None, "length")), says(completion("  \n"))]
    assert server.vlm(1).generate(asks(2), max_new_tokens=4) == ["", ""]
    assert len(server.bodies) == 2


# ---- many requests -----------------------------------------------------------------------------------


def test_replies_come_in_the_order_asked_and_progress_counts_each(server: FakeServer) -> None:
    def slow_when_early(h: Handler, prompt: str) -> None:
        time.sleep(0.002 * (7 - int(prompt[1:]) % 7))
        echo(h, prompt)

    server.otherwise = slow_when_early
    steps: list[int] = []
    replies = server.vlm(8).generate(asks(60), max_new_tokens=4, progress=steps.append)
    assert replies == [f"q{k}" for k in range(60)]
    assert steps == [1] * 60


def test_no_requests_no_replies(server: FakeServer) -> None:
    assert server.vlm().generate([], max_new_tokens=4) == []
    assert server.bodies == []


def test_concurrency_is_reached_and_never_exceeded_also_by_several_threads(server: FakeServer) -> None:
    """Each answer waits until three requests are there at once; a fourth would be seen."""
    together = threading.Barrier(3)

    def with_others(h: Handler) -> None:
        together.wait(30)
        h.send(200, completion("ok"))

    server.script = [with_others] * 36
    vlm = server.vlm(concurrency=3)
    done: list[list[str]] = []
    threads = [threading.Thread(target=lambda: done.append(vlm.generate(asks(18), max_new_tokens=4))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [["ok"] * 18] * 2
    assert server.most == 3


def test_pictures_are_encoded_shortly_before_their_turn(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred pictures, never more are encoded ahead than there are workers."""
    encode, made, ahead = backend.data_url, [0], [0]

    def counted(*args: Any) -> str:
        with server.lock:
            made[0] += 1
            ahead[0] = max(ahead[0], made[0] - len(server.bodies))
        return encode(*args)

    monkeypatch.setattr(backend, "data_url", counted)
    server.vlm(concurrency=4).generate(asks(100), max_new_tokens=4)
    assert made[0] == 100
    assert 1 <= ahead[0] <= 4


def test_questions_about_one_picture_follow_each_other_and_share_its_encoding(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, made = backend.data_url, [0]

    def counted(*args: Any) -> str:
        made[0] += 1
        return encode(*args)

    monkeypatch.setattr(backend, "data_url", counted)
    pictures = [picture(10 * k) for k in range(3)]
    turns = [Request((pictures[k % 3],), f"{k}", (256,)) for k in range(9)]
    assert server.vlm(1).generate(turns, max_new_tokens=4) == [str(k) for k in range(9)]
    assert [server.prompt(body) for body in server.bodies] == list("036147258")
    assert made[0] == 3


def test_a_request_is_greedy_has_its_pictures_first_and_bounded(server: FakeServer) -> None:
    wide = PILImage.new("RGBA", (400, 100), (1, 2, 3, 255))
    server.vlm().generate([Request((wide, picture(9)), "what?", (10_000, None))], max_new_tokens=17)
    [body] = server.bodies
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.0, 17)
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url", "image_url", "text"]
    assert [(im.size, im.mode) for im in shown(body)] == [((200, 50), "RGB"), ((32, 32), "RGB")]
    assert shown(body)[1].getpixel((0, 0)) == (9, 0, 0)


@settings(deadline=None)  # the first one imports the model's code
@given(st.integers(28, 3000), st.integers(28, 3000), st.integers(3_000, 2_000_000), st.sampled_from([1, 16, 28, 32]))
def test_bounds_are_those_of_the_models_own_image_processor(w: int, h: int, bound: int, multiple: int) -> None:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    out = bounded(PILImage.new("L", (w, h)), bound, multiple)
    high, wide = smart_resize(h, w, multiple, min_pixels=1, max_pixels=bound)
    if out.size == (w, h):
        assert (round(w / multiple) * multiple, round(h / multiple) * multiple) == (wide, high)  # left to the server
    else:
        assert out.size == (wide, high)
    if multiple == 1 and min(w, h) * math.sqrt(bound / (w * h)) >= 1:
        assert out.width * out.height <= bound
        assert abs(out.width / w - out.height / h) <= 1 / w + 1 / h  # each side is cut by less than a pixel


# ---- threads, loops, signals ----------------------------------------------------------------------------


def test_it_can_be_called_where_an_event_loop_runs(server: FakeServer) -> None:
    async def inside() -> list[str]:
        return server.vlm().generate(asks(5), max_new_tokens=4)

    assert asyncio.run(inside()) == [f"q{k}" for k in range(5)]


def test_control_c_ends_the_call_and_asks_no_more(server: FakeServer) -> None:
    vlm = server.vlm(concurrency=2)

    def interrupting(h: Handler) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        is_silent(h)

    server.script = [is_silent, interrupting]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            vlm.generate(asks(50), max_new_tokens=4)
    finally:
        signal.signal(signal.SIGINT, before)
    assert vlm.generate([Request((), "again")], max_new_tokens=4) == ["again"]
    assert len(server.bodies) == 3


def test_an_error_of_the_progress_bar_is_raised(server: FakeServer) -> None:
    def broken(n: int) -> None:
        raise ZeroDivisionError("bar")

    with pytest.raises(ZeroDivisionError, match="bar"):
        server.vlm().generate(asks(9), max_new_tokens=4, progress=broken)


# ---- the key ---------------------------------------------------------------------------------------------


def test_the_key_goes_into_the_header_and_nowhere_else(
    server: FakeServer, waits: list[float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    for name in ("", "openai", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, logger=name)
    told = b"x" * 190 + SECRET.encode()  # a server that repeats it, where an error's excerpt of the body ends
    server.script = [status(500, told), says(told), status(401, told)]
    with pytest.raises(ServerRefused) as caught:
        server.vlm().generate([Request((picture(1),), "hello")], max_new_tokens=4)
    server.script = [says(told)]
    with pytest.raises(ServerUnavailable) as again:
        server.vlm(retries=0).generate([Request((), "hello")], max_new_tokens=4)
    assert server.keys == [f"Bearer {SECRET}"] * 4
    assert "HTTP Response: POST 500" in caplog.text  # the client's debug log is heard
    for error in (caught.value, again.value):
        assert "***" in str(error)
        for text in (caplog.text, str(error), repr(error), "".join(traceback.format_exception(error))):
            assert SECRET[:8] not in text


def test_a_key_that_no_header_can_hold_is_refused_unseen(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-with-a\x07bell")
    with pytest.raises(ServerRefused, match="printable") as caught:
        server.vlm().generate([Request((), "hello")], max_new_tokens=4)
    assert "sk-" not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_wants_no_key_gets_none_of_ours(server: FakeServer) -> None:
    server.vlm().generate([Request((), "hello")], max_new_tokens=4)
    assert server.keys == ["Bearer EMPTY"]


def test_the_fingerprint_holds_server_model_and_sizes_and_needs_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://203.0.113.1:1/v1"
    first = openai_fingerprint(url, "m")
    monkeypatch.setenv(KEY, SECRET)
    assert openai_fingerprint(url + "/", "m") == first == OpenAIVisionLM(url, "m", 4, 9.0, 2).fingerprint
    others = [openai_fingerprint("http://203.0.113.2:1/v1", "m"), openai_fingerprint(url, "n")]
    assert len({first, *others, openai_fingerprint(url, "m", 28)}) == 4


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://h/v1", "http:///v1", "http://u:hunter2@h/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ServerRefused, match=r"model\.url") as caught:
        OpenAIVisionLM(url, "m", 4, 9.0, 2)
    assert "hunter2" not in str(caught.value)


def test_a_model_without_a_name_is_refused() -> None:
    with pytest.raises(ServerRefused, match=r"model\.name"):
        OpenAIVisionLM("http://127.0.0.1:8000/v1", "", 4, 9.0, 2)


# ---- ouro doctor -------------------------------------------------------------------------------------------


def _params(folder: Path, monkeypatch: pytest.MonkeyPatch, **model: object) -> None:
    (folder / "params.yaml").write_text(json.dumps({"model": {"base": str(NANO), **model}}))
    monkeypatch.chdir(folder)


def test_doctor_asks_the_server_with_the_key_that_is_there(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _params(tmp_path, monkeypatch, backend="openai", url=server.url, name="m")
    [found] = doctor.server()
    assert (found.verdict, found.found) == ("ok", f"{server.url} answers as m; no {KEY}, and none is wanted")
    assert len(shown(server.bodies[0])) == 1
    monkeypatch.setenv(KEY, SECRET)
    [found] = doctor.server()
    assert found.found.endswith(f"{KEY} is set")
    assert server.keys == ["Bearer EMPTY", f"Bearer {SECRET}"]


def test_doctor_says_that_a_key_is_wanted_or_the_server_not_there(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _params(tmp_path, monkeypatch, backend="openai", url=server.url, name="m", base="models/none")
    server.script = [status(401)]
    [found] = doctor.server()
    assert (found.what, found.verdict) == ("model server", "missing")
    assert "status 401" in found.found and found.mend.startswith(f"set {KEY}")
    base = next(f for f in doctor.model() if f.what == "model.base")
    assert base.verdict == "note" and base.mend.startswith("only to train")
    server.shutdown()
    server.server_close()
    [found] = doctor.server()
    assert found.mend.startswith("start the server")


def test_doctor_asks_no_server_where_none_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _params(tmp_path, monkeypatch, backend="hf", url="http://203.0.113.1:1/v1")
    assert doctor.server() == []


# ---- a real server holding nano ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with served_nano(tmp_path_factory.mktemp("served") / "log.txt") as found:
        yield found


def _crops(n_scenes: int) -> list[Request]:
    """Whole scenes, containers, objects, and questions about two pictures at once; within their bounds and beyond."""
    rng = np.random.default_rng(5)
    made: list[Request] = []
    for _ in range(n_scenes):
        scene = draw_scene(rng)
        whole = PILImage.fromarray(render(scene))
        boxes = [c.box for c in scene.containers] + [item.box for c in scene.containers for item in c.items[:2]]
        made += [Request((crop(whole, box, 0.06),), "describe the image.", (9216,)) for box in boxes]
        made += [Request((whole,), "describe the image.", (16384,)), Request((whole,), "describe the image.")]
        made += [Request((whole, crop(whole, boxes[0], 0.0)), "what color is the star ?", (16384, 9216))]
    return made


def test_both_real_backends_give_the_same_text(served: tuple[str, str]) -> None:
    requests = _crops(3)
    here = HFVisionLM(NANO, dtype="float32").generate(requests, max_new_tokens=48)
    there = OpenAIVisionLM(*served, 4, 60.0, 0, resize_multiple(NANO)).generate(requests, max_new_tokens=48)
    assert len(set(here)) > 10
    assert there == here


def test_a_real_server_refuses_another_models_name(served: tuple[str, str]) -> None:
    with pytest.raises(ServerRefused, match=r"model 'other', asked once: status 4.*Fix: correct model\.name"):
        OpenAIVisionLM(served[0], "other", 1, 60.0, 2).generate([Request((), "hello")], max_new_tokens=2)


def test_sides_are_multiples_of_what_the_models_folder_says(tmp_path: Path) -> None:
    assert resize_multiple(NANO) == 16  # patches of 8, merged 2 by 2
    (tmp_path / "preprocessor_config.json").write_text('{"patch_size": 14, "merge_size": 2}')
    assert resize_multiple(tmp_path) == 28
    (tmp_path / "preprocessor_config.json").write_text('{"crop_size": 336}')
    assert resize_multiple(tmp_path) == resize_multiple(tmp_path / "nothing") == 1


# ---- scripted ---------------------------------------------------------------------------------------------


def test_the_scripted_model_remembers_the_last_requests_only() -> None:
    vlm = ScriptedVLM(lambda r: r.prompt, remember=3)
    assert vlm.generate(asks(5), max_new_tokens=4) == [f"q{k}" for k in range(5)]
    assert [r.prompt for r in vlm.asked] == ["q2", "q3", "q4"]
    vlm.generate(asks(1), max_new_tokens=4)
    assert [r.prompt for r in vlm.asked] == ["q3", "q4", "q0"]
