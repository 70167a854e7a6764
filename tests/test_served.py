"""Which model answers behind a server's address, and what is kept of one is never taken for another's."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asked import fill
from openai_server import FakeServer, Handler, completion, echo, fake_server, reach_directly, record_waits, status

from cli.app import app, guarded
from ouro.vision.identity import PROBES, entries_of, identify
from tasks import served

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    reach_directly(monkeypatch)
    record_waits(monkeypatch)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as fake:
        yield fake


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "data", ["docvqa"])
    return tmp_path


def always(text: str | None, finish: str = "stop") -> Callable[[Handler, str], None]:
    """A model that says one thing."""
    return lambda h, prompt: h.send(200, completion(text, finish))


def questions(server: FakeServer) -> list[str]:
    """The prompts that were no probes, since the last look."""
    prompts = [server.prompt(body) for body in server.bodies]
    server.bodies.clear()
    return [prompt for prompt in prompts if prompt not in PROBES]


def benchmark(server: FakeServer, *words: str) -> int:
    """A run of `ouro benchmark`."""
    command = ["benchmark", "--benchmarks", "docvqa", "--data", "data", "--out", "run", "--no-track", "--no-controls"]
    where = ["--backend", "openai", "--url", server.url, "--model", "m", "--set", "model.retries=1"]
    return guarded(lambda: app([*command, *where, *words], standalone_mode=False))


def predictions() -> set[str]:
    return {json.loads(line)["prediction"] for line in Path("run/docvqa/predictions.jsonl").read_text().splitlines()}


# ---- the replies to benchmarks ---------------------------------------------------------------------------


def test_another_model_behind_the_same_address_is_asked(
    server: FakeServer, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It was given the first one's score, without a request."""
    server.otherwise = always("no")
    assert benchmark(server) == 0 and len(questions(server)) == 2
    assert "docvqa: 0 replies from the store, 2 asked" in capfd.readouterr().out
    assert benchmark(server) == 0 and questions(server) == []
    out = capfd.readouterr().out
    assert "docvqa: 2 replies from the store, 0 asked" in out and "another model" not in out
    server.otherwise = always("yes")
    assert benchmark(server) == 0 and len(questions(server)) == 2
    assert "another model answers than the last time" in capfd.readouterr().out
    assert predictions() == {"yes"}
    server.otherwise = always("no")
    assert benchmark(server) == 0 and questions(server) == [], "the first one's replies are there still"
    assert predictions() == {"no"}


@pytest.mark.parametrize(
    "change",
    [{"root": "/models/b"}, {"parent": "base"}, {"max_model_len": 4096}, {"meta": {"n_params": 7}}],
)
def test_models_that_say_the_same_are_told_apart_by_the_servers_list(
    server: FakeServer, checkout: Path, change: dict[str, Any]
) -> None:
    entry = {"id": "m", "root": "/models/a", "max_model_len": 8192, "created": 1, "permission": [{"id": "x"}]}
    server.models, server.otherwise = [entry, {"id": "other"}], always("no")
    assert benchmark(server) == 0 and len(questions(server)) == 2
    server.models = [{"id": "a third"}, {**entry, "created": 2, "permission": [{"id": "y"}]}]
    assert benchmark(server) == 0 and questions(server) == [], "what is new at every request does not count"
    server.models = [{**entry, **change}]
    assert benchmark(server) == 0 and len(questions(server)) == 2


def test_ask_again_asks_everything_once_and_keeps_that(
    server: FakeServer, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    replies = itertools.count()
    server.otherwise = lambda h, prompt: echo(h, "probed" if prompt in PROBES else f"reply {next(replies)}")
    assert benchmark(server) == 0 and predictions() == {"reply 0", "reply 1"}
    assert benchmark(server, "--ask-again") == 0 and predictions() == {"reply 2", "reply 3"}
    assert "docvqa: 0 replies from the store, 2 asked" in capfd.readouterr().out
    assert benchmark(server) == 0 and predictions() == {"reply 2", "reply 3"}
    assert len(questions(server)) == 4


@pytest.mark.parametrize(("text", "finish"), [(None, "length"), ("", "stop"), (" \n ", "stop")])
def test_an_empty_reply_is_not_kept(
    server: FakeServer, checkout: Path, capfd: pytest.CaptureFixture[str], text: str | None, finish: str
) -> None:
    """All tokens went into reasoning: with more of them, or another day, it may answer."""

    def thinks(h: Handler, prompt: str) -> None:
        always("probed")(h, prompt) if prompt in PROBES else always(text, finish)(h, prompt)

    server.otherwise = thinks
    for _ in range(2):
        assert benchmark(server) == 0 and len(questions(server)) == 2 and predictions() == {""}
        assert "0 replies from the store, 2 asked (2 empty and not kept)" in capfd.readouterr().out
    server.otherwise = lambda h, prompt: echo(h, "probed" if prompt in PROBES else "no")
    assert benchmark(server) == 0 and len(questions(server)) == 2 and predictions() == {"no"}


def test_what_is_kept_serves_while_the_server_is_away_and_that_is_said(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with fake_server() as server:
        server.otherwise = always("no")
        assert benchmark(server) == 0
    capfd.readouterr()
    assert benchmark(server) == 0
    said = capfd.readouterr()
    assert "as of the model that last answered there" in said.out and "2 replies from the store, 0 asked" in said.out
    shutil.rmtree(".ouro/benchmark")
    assert benchmark(server) != 0
    assert "Fix: start the server" in capfd.readouterr().err
    shutil.rmtree(".ouro/served")
    assert benchmark(server) != 0, "nobody ever answered: nothing can be told to be its"


def test_a_server_that_comes_back_with_another_model_is_asked_nothing_in_the_others_name(
    server: FakeServer, checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It was away when the run began, so that what is kept was taken for its."""
    server.otherwise = always("no")
    assert benchmark(server) == 0
    shutil.rmtree(".ouro/benchmark")
    server.otherwise = always("yes")
    find = served.find_identity

    def away(model: Any) -> Any:
        monkeypatch.setattr(served, "find_identity", find)
        raise served.ServerUnavailable("nobody answers. Fix: start the server")

    monkeypatch.setattr(served, "find_identity", away)
    questions(server)
    assert benchmark(server) != 0 and questions(server) == []
    assert "did not answer when this run began" in capfd.readouterr().err
    assert benchmark(server) == 0 and predictions() == {"yes"}


def test_a_server_that_refuses_from_the_start_ends_the_run_with_one_sentence(
    server: FakeServer, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.otherwise = lambda h, prompt: status(401)(h)
    assert benchmark(server) != 0
    assert capfd.readouterr().err.count("error: ") == 1


# ---- who answers -----------------------------------------------------------------------------------------


def test_a_look_is_one_list_and_each_probe_twice_one_after_the_other(server: FakeServer) -> None:
    first = identify(server.vlm(concurrency=1))
    assert server.gets == ["/v1/models"] and (first.entries, first.greedy) == ("", True)
    assert [server.prompt(body) for body in server.bodies] == [*PROBES, *PROBES]
    assert {(body["temperature"], body["max_tokens"] <= 24) for body in server.bodies} == {(0.0, True)}
    assert server.most == 1
    assert identify(server.vlm(concurrency=1)) == first


def test_reasoning_is_part_of_what_a_model_says(server: FakeServer) -> None:
    def thinks(thought: str) -> Callable[[Handler, str], None]:
        message = {"content": None, "reasoning_content": thought}
        body = json.dumps({"choices": [{"message": message, "finish_reason": "length"}]}).encode()
        return lambda h, prompt: h.send(200, body)

    digests = set[str]()
    for thought in ("Let me see.", "Well, now."):
        server.otherwise = thinks(thought)
        digests.add(identify(server.vlm(concurrency=1)).digest)
    assert len(digests) == 2


def test_a_server_that_draws_its_replies_is_known_by_its_list_alone(server: FakeServer) -> None:
    replies = itertools.count()
    server.models, server.otherwise = [{"id": "m", "root": "a"}], lambda h, prompt: echo(h, f"{next(replies)}")
    first, second = (identify(server.vlm(concurrency=1)) for _ in range(2))
    assert not first.greedy and first.replies != second.replies and first.digest == second.digest
    server.models = [{"id": "m", "root": "b"}]
    assert identify(server.vlm(concurrency=1)).digest != first.digest


def test_a_server_that_takes_no_probe_is_known_by_its_list(server: FakeServer) -> None:
    server.models, server.otherwise = [{"id": "m", "root": "a"}], lambda h, prompt: status(400)(h)
    assert identify(server.vlm(concurrency=1)).replies == ("",) * len(PROBES)


@pytest.mark.parametrize(
    ("body", "entries"),
    [
        (None, ""),
        (b"<html>", ""),
        (b"[]", ""),
        (b'{"data": [1]}', ""),
        (b'{"data": {"m": 1}}', ""),
        (b'{"data": [{"id": "m", "root": null, "parent": "m"}]}', '[{"id": "m", "parent": "m"}]'),
        (
            b'{"data": [{"id": "b", "root": "r"}, {"id": "m", "parent": "b"}]}',
            '[{"id": "m", "parent": "b"}, {"id": "b", "root": "r"}]',
        ),
        (b'{"data": [{"id": "z"}, {"id": "a"}]}', '[{"id": "a"}, {"id": "z"}]'),
        (b'{"data": []}', "[]"),
    ],
)
def test_of_a_list_the_model_and_its_parents_count(body: bytes | None, entries: str) -> None:
    assert entries_of(body, "m") == entries
