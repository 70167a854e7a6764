"""Probabilities of options: on a local model by forced tokens, from a server by alternatives; errors say what to do."""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from openai_server import Handler, fake_server, reach_directly, says, status
from PIL import Image as PILImage

from ouro.nano.scenes import draw_scene, render
from ouro.vision.alternatives import Step, option_shares, tokens_needed
from ouro.vision.folders import vlm_fingerprint
from ouro.vision.hf import HFVisionLM
from ouro.vision.pool import PooledVLM
from ouro.vision.probabilities import Path as TokenPath
from ouro.vision.probabilities import decisive_paths, normalised, option_probabilities, rows_of, spellings
from ouro.vision.protocols import Request, Scoring, ScoringUnavailable, VisionLM
from ouro.vision.scripted import ScriptedVLM

NANO = Path(__file__).resolve().parents[1] / "models/nano"
END = 9


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    reach_directly(monkeypatch)


# ---- token ids -------------------------------------------------------------------------------------------------


def test_options_are_told_apart_by_their_first_different_token() -> None:
    paths = decisive_paths([[(1, END)], [(2, 3, END)]])
    assert paths == [TokenPath(0, (1,)), TokenPath(1, (2,))]
    assert rows_of(paths) == [()]


def test_a_shared_beginning_is_read_from_one_row() -> None:
    paths = decisive_paths([[(1, 2, END)], [(1, 3, END)], [(4, END)]])
    assert [path.ids for path in paths] == [(1, 2), (1, 3), (4,)]
    assert rows_of(paths) == [(1,)]


def test_an_option_that_begins_another_is_told_apart_by_its_end() -> None:
    assert [path.ids for path in decisive_paths([[(1, END)], [(1, 2, END)]])] == [(1, END), (1, 2)]


def test_spellings_with_and_without_a_capital_are_one_option() -> None:
    assert spellings("light  blue") == ("light blue", "Light blue")
    paths = decisive_paths([[(1, END), (2, END)], [(3, END)]])
    logits = torch.tensor([[0.0, 0.1, 0.3, 0.4, 0.2]]).log()
    assert option_probabilities(paths, rows_of(paths), [logits], 2) == pytest.approx((0.5, 0.5))


def test_the_probability_of_an_option_is_the_product_along_its_tokens() -> None:
    """First token: 1 with .8, 4 with .2; after 1: 2 with .25, 3 with .75. So .2, .6 and .2."""
    paths = decisive_paths([[(1, 2, END)], [(1, 3, END)], [(4, END)]])
    logits = torch.tensor([[0.0, 0.8, 0.0, 0.0, 0.2], [0.0, 0.0, 0.25, 0.75, 0.0]]).log()
    assert option_probabilities(paths, rows_of(paths), [logits], 3) == pytest.approx((0.2, 0.6, 0.2))


def test_options_that_the_tokens_do_not_tell_apart_are_equally_probable() -> None:
    paths = decisive_paths([[(5, END)], [(5, END)]])
    logits = torch.zeros(2, 10)
    assert option_probabilities(paths, rows_of(paths), [logits], 2) == pytest.approx((0.5, 0.5))


def test_weights_of_nothing_are_equal_shares() -> None:
    assert normalised([0.0, 0.0]) == (0.5, 0.5)
    assert normalised([float("nan"), 1.0]) == (0.5, 0.5)


# ---- nano ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vlm() -> HFVisionLM:
    return HFVisionLM(NANO, batch_size=4)


def _make_questions() -> tuple[list[Request], list[tuple[str, ...]]]:
    pictures = [PILImage.fromarray(render(draw_scene(np.random.default_rng(i)))) for i in range(3)]
    requests = [Request((p,), f"is there a {kind}?", (16384,)) for p in pictures for kind in ("table", "shelf", "box")]
    return requests, [("yes", "no")] * len(requests)


def test_nano_s_yes_and_no_are_those_of_its_logits(vlm: HFVisionLM) -> None:
    requests, options = _make_questions()
    got = vlm.choose(requests, options)
    assert isinstance(vlm, Scoring)
    yes, no = (vlm.encoder.text(word)[0] for word in ("yes", "no"))
    for request, shares in zip(requests, got, strict=True):
        inputs = {k: torch.from_numpy(v) for k, v in vlm.encoder.batch([request], share=False).inputs.items()}
        with torch.inference_mode():
            expected = vlm.model(**inputs).logits[0, -1, [yes, no]].softmax(-1)
        assert shares == pytest.approx(expected.tolist(), abs=1e-4)
        assert sum(shares) == pytest.approx(1.0)
    replies = vlm.generate(requests, max_new_tokens=2)
    assert [("yes", "no")[shares[1] > shares[0]] for shares in got] == replies


def test_the_order_of_options_and_the_other_requests_change_nothing(vlm: HFVisionLM) -> None:
    requests, options = _make_questions()
    got = vlm.choose(requests, options)
    turned = vlm.choose(requests[::-1], [("no", "yes")] * len(requests))[::-1]
    assert np.allclose(got, [shares[::-1] for shares in turned], atol=1e-4)


def test_options_with_a_shared_beginning_and_text_without_a_picture(vlm: HFVisionLM) -> None:
    """The chain rule by hand: P(red ring) / P(red star) is what follows "red"."""
    request = Request((), "what is it?")
    [shares] = vlm.choose([request], [("red ring", "red star", "blue ring")])
    ids = {word: vlm.encoder.text(word)[0] for word in ("red", "blue", "ring", "star")}
    rows = [vlm.encoder.batch([request], False, [forced]).inputs for forced in ([], [ids["red"]])]
    with torch.inference_mode():
        first, second = (
            vlm.model(**{k: torch.from_numpy(v) for k, v in row.items()}).logits[0, -1].softmax(-1) for row in rows
        )
    weights = [
        float(first[ids["red"]] * second[ids["ring"]]), float(first[ids["red"]] * second[ids["star"]]),
        float(first[ids["blue"]]),
    ]  # fmt: skip
    assert shares == pytest.approx([w / sum(weights) for w in weights], abs=1e-4)


def test_processes_choose_as_one_process_does(vlm: HFVisionLM) -> None:
    requests, options = _make_questions()
    pool = PooledVLM(NANO, None, "float32", 4, 2, vlm_fingerprint("x", "float32", ""))
    assert isinstance(pool, Scoring)
    assert np.allclose(pool.choose(requests, options), vlm.choose(requests, options), atol=1e-4)


@pytest.mark.parametrize("options", [("yes",), ("yes", "Yes"), ("yes", " "), ()])
def test_options_that_are_no_choice_are_refused(options: tuple[str, ...]) -> None:
    vlm = ScriptedVLM({}, weights=lambda r, o: [1.0] * len(o))
    with pytest.raises(ValueError, match="request 0: got options"):
        vlm.choose([Request((), "q")], [options])
    with pytest.raises(ValueError, match="got 1 requests and 2 tuples"):
        vlm.choose([Request((), "q")], [("a", "b")] * 2)


def test_no_request_is_no_choice(vlm: HFVisionLM) -> None:
    assert vlm.choose([], []) == ScriptedVLM({}, weights=lambda r, o: [1.0]).choose([], []) == []


def test_a_script_without_weights_cannot_choose() -> None:
    vlm: VisionLM = ScriptedVLM({})
    assert isinstance(vlm, Scoring)
    with pytest.raises(ScoringUnavailable, match="weights"):
        vlm.choose([Request((), "q")], [("a", "b")])


# ---- a server's alternatives -----------------------------------------------------------------------------------


def test_the_first_token_decides_between_yes_and_no_in_any_spelling() -> None:
    steps = [Step("Yes", {"Yes": 0.6, " yes": 0.1, "No": 0.2, "The": 0.1})]
    assert option_shares(steps, ("yes", "no")) == pytest.approx((0.7 / 0.9, 0.2 / 0.9))


def test_a_shared_beginning_is_followed_along_the_reply() -> None:
    """ "dark" with .8: then blue .75, green .25; "red" with .2."""
    steps = [Step("dark", {"dark": 0.8, "red": 0.2}), Step(" blue", {" blue": 0.75, " green": 0.25})]
    assert option_shares(steps, ("dark blue", "dark green", "red")) == pytest.approx((0.6, 0.2, 0.2))


def test_what_the_reply_does_not_go_on_with_counts_for_all_that_it_fits() -> None:
    steps = [Step("red", {"red": 0.6, "dark": 0.4})]
    assert option_shares(steps, ("dark blue", "dark green", "red")) == pytest.approx((0.2, 0.2, 0.6))


def test_a_quotation_mark_before_the_reply_is_passed_over() -> None:
    steps = [Step('"', {'"': 0.9, "red": 0.1}), Step("Red", {"Red": 0.5, "Blue": 0.5})]
    assert option_shares(steps, ("red", "blue")) == pytest.approx((0.55, 0.45))


def test_a_reply_that_ends_within_a_longer_option_is_the_short_one() -> None:
    steps = [Step("red", {"red": 1.0})]
    assert option_shares(steps, ("red", "red and white")) == pytest.approx((1.0, 0.0))
    assert option_shares([*steps, Step(" and", {" and": 0.7, ".": 0.3})], ("red", "red and white")) == pytest.approx(
        (0.3, 0.7)
    )


def test_a_model_that_says_none_of_the_options_holds_them_alike() -> None:
    assert option_shares([Step("Sorry", {"Sorry": 1.0})], ("red", "blue")) == (0.5, 0.5)
    assert option_shares([], ("red", "blue")) == (0.5, 0.5)


def test_as_many_tokens_are_asked_for_as_options_share_letters() -> None:
    assert tokens_needed(("yes", "no")) == 3
    assert tokens_needed(("dark blue", "dark green", "red")) == 5 + 3


# ---- a server --------------------------------------------------------------------------------------------------


def scored(*steps: dict[str, float]) -> bytes:
    """A chat completion whose reply is the likeliest token of each step."""
    content = [
        {
            "token": next(iter(step)), "logprob": log(next(iter(step.values()))),
            "top_logprobs": [{"token": t, "logprob": log(p)} for t, p in step.items()],
        }
        for step in steps
    ]  # fmt: skip
    text = "".join(next(iter(step)) for step in steps)
    choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": content}}
    return json.dumps({"choices": [choice]}).encode()


def without_logprobs(h: Handler, prompt: str) -> None:
    """A server that says 422 to `logprobs`."""
    body: dict[str, Any] = h.fake.bodies[-1]
    (status(422) if "logprobs" in body else says(scored({"yes": 1.0})))(h)


def test_a_server_is_asked_for_logprobs_of_the_first_tokens() -> None:
    with fake_server() as server:
        server.script = [says(scored({"no": 0.75, "yes": 0.25})), says(scored({"Yes": 1.0}))]
        got = server.vlm(1).choose([Request((), "q"), Request((), "r")], [("yes", "no")] * 2)
    assert got == [pytest.approx((0.25, 0.75)), pytest.approx((1.0, 0.0))]
    sent = server.bodies[0]
    assert (sent["logprobs"], sent["top_logprobs"], sent["max_tokens"], sent["temperature"]) == (True, 20, 3, 0.0)


def test_a_server_without_logprobs_ends_the_run_with_what_to_set() -> None:
    with fake_server() as server:
        with pytest.raises(
            ScoringUnavailable, match=r"(?s)no `logprobs`.*merge.settle=rules.*synthesize.support=rules"
        ):
            server.vlm(1).choose([Request((), "q")], [("yes", "no")])
        server.otherwise = without_logprobs
        with pytest.raises(ScoringUnavailable, match="status 422"):
            server.vlm(1).choose([Request((), "q")], [("yes", "no")])


def test_a_request_that_a_server_refuses_leaves_its_options_alike() -> None:
    def too_large(h: Handler, prompt: str) -> None:
        (status(400) if prompt == "large" else says(scored({"yes": 1.0})))(h)

    with fake_server() as server:
        server.otherwise = too_large
        got = server.vlm(1).choose([Request((), q) for q in ("q", "large", "r")], [("yes", "no")] * 3)
    assert got == [(1.0, 0.0), (0.5, 0.5), (1.0, 0.0)]


def test_a_server_with_fewer_fields_than_agreed_gives_no_probabilities() -> None:
    body = json.loads(scored({"yes": 1.0}))
    del body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    with fake_server() as server:
        server.script = [says(json.dumps(body).encode())]
        with pytest.raises(ScoringUnavailable):
            server.vlm(1).choose([Request((), "q")], [("yes", "no")])
