"""The openai backend: a server that fails, refuses or says nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from openai_server import (
    FAULTS,
    SECRET,
    FakeServer,
    Handler,
    asks,
    completion,
    echo,
    fake_server,
    is_silent,
    picture,
    reach_directly,
    record_waits,
    says,
    status,
)

from ouro.annotate.describe import describe_shard
from ouro.annotate.synthesize import synthesize_shard
from ouro.core.params import Describe, Synthesize
from ouro.core.records import Region, Rejected, Scene
from ouro.vision.openai import (
    KEY,
    OpenAIVisionLM,
    ServerRefused,
    ServerUnavailable,
)
from ouro.vision.protocols import Refused, Request


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
    message = str(caught.value)
    assert message.startswith(f"{server.url}, model 'm', asked 3 times: ")
    # Two limits of the same length watch over a silent server; whichever comes first speaks.
    assert got in message or (fault == "is silent" and "ReadTimeout" in message)
    assert "expected a chat completion. Fix: " in message
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
    message = f"too long, says {h.headers['Authorization']}"
    echo(h, prompt) if "big" not in prompt else h.send(400, json.dumps({"error": {"message": message}}).encode())


@pytest.mark.parametrize("code", [400, 413, 422])
def test_one_refused_request_is_an_empty_reply_with_a_reason_and_the_others_go_on(
    server: FakeServer, code: int
) -> None:
    """A single picture that the server could not read once ended a run of thousands."""
    server.script = [lambda h: echo(h, "q0"), status(code, b"too long")]
    counts: list[int] = []
    replies = server.vlm(1).generate(asks(4), max_new_tokens=4, progress=counts.append)
    assert replies == ["q0", "", "q2", "q3"]
    refused = replies[1]
    assert isinstance(refused, Refused) and refused.why == f"status {code} (8 bytes: 'too long')"
    assert (len(server.bodies), sum(counts)) == (4, 4)


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
    descriptions, rejected = describe_shard(regions, {"i": picture(1)}, server.vlm(1), Describe())
    assert [d.region_id for d in descriptions] == ["i/0"]
    assert rejected == [Rejected("describe", "i/0.0", "refused", "status 400 (8 bytes: 'too long')")]


def test_synthesize_rejects_what_is_refused_to_the_writer_and_in_the_round_trip(server: FakeServer) -> None:
    """`min_agreement` 0 keeps whatever is answered, but nothing was."""
    written = "is there a red star? yes. how many tables are there? one."
    server.script = [says(completion(written)), status(413, b"too large")]
    server.script += [says(completion("yes")), status(422, b"no picture")]
    scene = Scene("i", "a table with a red star on the table.", (), ())
    params = Synthesize(aspects=("style", "interactions"), round_trip=True, min_agreement=0.0)
    vlm = server.vlm(1)
    result = synthesize_shard({"i": picture(1)}, [scene], vlm, params, answerer=vlm)
    assert [p.question for p in result.pairs] == ["is there a red star?"]
    assert [(r.record_id, r.reason, r.detail) for r in result.rejected] == [
        ("i/interactions/0", "refused", "status 413 (9 bytes: 'too large')"),
        ("i/style/1", "refused", "how many tables are there? one; status 422 (10 bytes: 'no picture')"),
    ]
    assert result.n_in == len(result.pairs) + len(result.rejected)


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
