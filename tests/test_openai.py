"""The openai backend: many requests, threads and signals; and a real server that holds nano."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_server import (
    FakeServer,
    Handler,
    asks,
    completion,
    echo,
    fake_server,
    is_silent,
    picture,
    pictures_of,
    reach_directly,
    record_waits,
)
from PIL import Image as PILImage
from serving import served_nano

from ouro.core.crops import crop
from ouro.nano.scenes import draw_scene, render
from ouro.vision import data_urls
from ouro.vision.data_urls import scale_to_bound
from ouro.vision.hf import HFVisionLM
from ouro.vision.openai import OpenAIVisionLM, ServerRefused, resize_multiple
from ouro.vision.protocols import Request
from ouro.vision.scripted import ScriptedVLM

NANO = Path(__file__).resolve().parent.parent / "models/nano"


@pytest.fixture(autouse=True)
def _no_proxy_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    reach_directly(monkeypatch)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as fake:
        yield fake


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return record_waits(monkeypatch)


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
    encode, n_encoded, ahead = data_urls.encode_data_url, [0], [0]

    def counted(*args: Any) -> str:
        with server.lock:
            n_encoded[0] += 1
            ahead[0] = max(ahead[0], n_encoded[0] - len(server.bodies))
        return encode(*args)

    monkeypatch.setattr(data_urls, "encode_data_url", counted)
    server.vlm(concurrency=4).generate(asks(100), max_new_tokens=4)
    assert n_encoded[0] == 100
    assert 1 <= ahead[0] <= 4


def test_questions_about_one_picture_follow_each_other_and_share_its_encoding(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, n_encoded = data_urls.encode_data_url, [0]

    def counted(*args: Any) -> str:
        n_encoded[0] += 1
        return encode(*args)

    monkeypatch.setattr(data_urls, "encode_data_url", counted)
    pictures = [picture(10 * k) for k in range(3)]
    turns = [Request((pictures[k % 3],), f"{k}", (256,)) for k in range(9)]
    assert server.vlm(1).generate(turns, max_new_tokens=4) == [str(k) for k in range(9)]
    assert [server.prompt(body) for body in server.bodies] == list("036147258")
    assert n_encoded[0] == 3


def test_a_request_is_greedy_has_its_pictures_first_and_bounded(server: FakeServer) -> None:
    wide = PILImage.new("RGBA", (400, 100), (1, 2, 3, 255))
    server.vlm().generate([Request((wide, picture(9)), "what?", (10_000, None))], max_new_tokens=17)
    [body] = server.bodies
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.0, 17)
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url", "image_url", "text"]
    assert [(im.size, im.mode) for im in pictures_of(body)] == [((200, 50), "RGB"), ((32, 32), "RGB")]
    assert pictures_of(body)[1].getpixel((0, 0)) == (9, 0, 0)


@settings(deadline=None)  # the first one imports the model's code
@given(st.integers(28, 3000), st.integers(28, 3000), st.integers(3_000, 2_000_000), st.sampled_from([1, 16, 28, 32]))
def test_bounds_are_those_of_the_models_own_image_processor(w: int, h: int, bound: int, multiple: int) -> None:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    out = scale_to_bound(PILImage.new("L", (w, h)), bound, multiple)
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


# ---- a real server holding nano ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with served_nano(tmp_path_factory.mktemp("served") / "log.txt") as address:
        yield address


def _crops(n_scenes: int) -> list[Request]:
    """Whole scenes, containers, objects, and questions about two pictures at once; within their bounds and beyond."""
    rng = np.random.default_rng(5)
    requests: list[Request] = []
    for _ in range(n_scenes):
        scene = draw_scene(rng)
        whole = PILImage.fromarray(render(scene))
        boxes = [c.box for c in scene.containers] + [item.box for c in scene.containers for item in c.items[:2]]
        requests += [Request((crop(whole, box, 0.06),), "describe the image.", (9216,)) for box in boxes]
        requests += [Request((whole,), "describe the image.", (16384,)), Request((whole,), "describe the image.")]
        requests += [Request((whole, crop(whole, boxes[0], 0.0)), "what color is the star ?", (16384, 9216))]
    return requests


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
