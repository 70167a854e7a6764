"""How sure the annotator was, and what it calls the main object: one wave on the same features; structured replies."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from openai_server import Handler, completion, fake_server, reach_directly, says, status
from PIL import Image as PILImage

from ouro.annotate.describe import describe_regions, describe_shard
from ouro.annotate.prompts import NAME, STRUCTURED_SCHEMA
from ouro.annotate.wave import NAME_TOKENS, read_structured
from ouro.core.params import Describe
from ouro.core.records import Region
from ouro.nano.naming import derive_name
from ouro.nano.scenes import draw_scene, render
from ouro.vision.folders import vlm_fingerprint
from ouro.vision.hf import HFVisionLM
from ouro.vision.pool import PooledVLM
from ouro.vision.probabilities import GreedyProbabilities
from ouro.vision.protocols import Refused, Reply, Request, plan_batches, split_by_length
from ouro.vision.scripted import ScriptedVLM

NANO = Path(__file__).resolve().parents[1] / "models/nano"
ASK_NAMES = Describe(name="asked")
STRUCTURED = Describe(name="asked", structured=True)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    reach_directly(monkeypatch)


@pytest.fixture(scope="module")
def vlm() -> HFVisionLM:
    return HFVisionLM(NANO, batch_size=4)


def _regions(n: int = 3) -> list[Region]:
    whole = [Region("i/0", "i", None, 0, (0.0, 0.0, 256.0, 256.0), 1.0, "image")]
    boxes = [(16.0 * k, 0.0, 16.0 * k + 100, 90.0) for k in range(n)]
    return whole + [Region(f"i/0.{k}", "i", "i/0", 1, box, 0.9, "rpn") for k, box in enumerate(boxes)]


def _pictures() -> dict[str, PILImage.Image]:
    return {"i": PILImage.fromarray(render(draw_scene(np.random.default_rng(3))))}


# ---- probabilities of a reply's tokens -------------------------------------------------------------------------


def test_a_reply_is_its_text_and_keeps_its_probabilities_between_processes() -> None:
    reply = Reply("a cup", 0.75, 0.5)
    assert reply == "a cup" and isinstance(reply, str)
    copy = pickle.loads(pickle.dumps(reply))
    assert (copy, copy.mean_probability, copy.min_probability) == ("a cup", 0.75, 0.5)


def test_mean_and_lowest_count_the_tokens_before_the_end() -> None:
    """Row 1: .5, .8, then the end. Row 2 ends at once. Row 3: .5, .6, .9."""
    probabilities = GreedyProbabilities()
    steps = (
        [[0.5, 0.3, 0.2], [0.9, 0.1, 0.0], [0.5, 0.5, 0.0]],
        [[0.1, 0.1, 0.8], [1.0, 0.0, 0.0], [0.6, 0.4, 0.0]],
        [[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [0.0, 0.9, 0.1]],
    )
    for step in steps:
        scores = torch.tensor(step).log()
        assert probabilities(torch.zeros(3, 1, dtype=torch.long), scores) is scores
    ids = torch.tensor([[4, 5, 2], [2, 0, 0], [4, 5, 6]])
    first, second, third = probabilities.of_replies(ids, [0, 2])
    assert first == pytest.approx((0.65, 0.5))
    assert second is None
    assert third == pytest.approx((2.0 / 3, 0.5))


def test_nano_s_confidence_is_that_of_its_logits(vlm: HFVisionLM) -> None:
    request = Request((_pictures()["i"],), "describe the image.", (16384,), confidence=True)
    [reply] = vlm.generate([request], max_new_tokens=24)
    assert isinstance(reply, Reply)
    ids = list(vlm.encoder.text(reply))
    inputs = {k: torch.from_numpy(v) for k, v in vlm.encoder.batch([request], False, [ids]).inputs.items()}
    with torch.inference_mode():
        logits = vlm.model(**inputs).logits[0, -len(ids) - 1 : -1].softmax(-1)
    probabilities = logits[range(len(ids)), ids]
    assert reply.mean_probability == pytest.approx(float(probabilities.mean()), abs=1e-3)
    assert reply.min_probability == pytest.approx(float(probabilities.min()), abs=1e-3)


def test_only_those_that_want_it_get_it_and_the_texts_are_the_same(vlm: HFVisionLM) -> None:
    requests = [Request((_pictures()["i"],), q, (16384,)) for q in ("describe the image.", "is there a table?")]
    plain = vlm.generate(requests, max_new_tokens=24)
    got = vlm.generate([requests[0]._replace(confidence=True), requests[1]], max_new_tokens=24)
    assert got == plain
    assert [type(reply) for reply in got] == [Reply, str]


def test_processes_carry_it(vlm: HFVisionLM) -> None:
    requests = [Request((_pictures()["i"],), "describe the image.", (16384,), confidence=True)]
    pool = PooledVLM(NANO, None, "float32", 4, 2, vlm_fingerprint("x", "float32", ""))
    [there], [here] = pool.generate(requests, max_new_tokens=24), vlm.generate(requests, max_new_tokens=24)
    assert isinstance(there, Reply) and isinstance(here, Reply)
    assert there == here and there.mean_probability == pytest.approx(here.mean_probability, abs=1e-3)


def test_a_description_has_the_confidence_of_its_text_and_none_where_ocr_speaks_alone() -> None:
    sign = Region("i/0.0", "i", "i/0", 1, (0.0, 0.0, 32.0, 32.0), 0.9, "ocr", "milk", "text")
    replies = iter([Reply("a room with a table", 0.123456, 0.0001), Reply("", 0.9, 0.9), "a cup"])
    scripted = ScriptedVLM(lambda r: next(replies))
    descriptions, _ = describe_shard([_regions()[0], sign, _regions()[1]], _pictures(), scripted, Describe())
    assert [(d.mean_probability, d.min_probability) for d in descriptions] == [
        (0.1235, 0.0001),
        (None, None),
        (None, None),
    ]


def test_confidence_is_not_asked_for_where_it_is_not_wanted() -> None:
    scripted = ScriptedVLM(lambda r: "a cup")
    describe_shard(_regions(), _pictures(), scripted, Describe(confidence=False))
    assert not any(r.confidence for r in scripted.asked)


# ---- names on the same features --------------------------------------------------------------------------------


def test_short_requests_join_the_batch_of_their_picture_and_leave_the_others_as_they_were() -> None:
    a, b, c, d = (PILImage.new("RGB", (8, 8)) for _ in range(4))
    long = [Request((p,), "describe " * 40) for p in (a, b, c)]
    short = [Request((p,), "name", most_tokens=5) for p in (c, a, d, b)]
    before = plan_batches(long, 2)
    after = plan_batches([*long, *short], 2)
    assert [[i for i in batch if i < 3] for batch in after[: len(before)]] == before
    of = {i: batch for batch in after for i in batch}
    assert of[3] is of[2] and of[4] is of[0] and of[6] is of[1] and of[5] == [5]
    assert sorted(of) == list(range(7))


def test_a_batch_is_generated_in_parts_of_one_length_long_ones_first() -> None:
    limits = [5, None, 9, 5, None]
    assert split_by_length([Request((), "q", most_tokens=n) for n in limits]) == [[1, 4], [0, 3], [2]]


@pytest.mark.parametrize("shared", [True, False])
def test_names_and_descriptions_are_those_of_requests_alone_and_a_picture_is_encoded_once(
    vlm: HFVisionLM, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [PILImage.fromarray(render(draw_scene(np.random.default_rng(k)))) for k in range(3)]
    sizes = (16384, 9216, 16384)
    long = [Request((p,), "describe the image.", (n,)) for p, n in zip(pictures, sizes, strict=True)]
    short = [r._replace(prompt="is there a table?", most_tokens=1) for r in long]
    alone = [vlm.generate([r], max_new_tokens=24)[0] for r in [*long, *short]]
    patches: list[int] = []
    tower = vlm.model.model.visual
    hook = tower.register_forward_pre_hook(lambda module, args, kwargs: patches.append(len(args[0])), with_kwargs=True)
    if not shared:
        monkeypatch.setattr(vlm, "shares", None)
        monkeypatch.setattr(vlm.model.model, "get_image_features", vlm.model.model.get_image_features.make)
    try:
        assert vlm.generate([*long, *short], max_new_tokens=24) == alone
        assert all(len(reply.split()) == 1 for reply in alone[3:])
        expected = sum(4 * vlm.encoder.visual_tokens((p.size, n)) for p, n in zip(pictures, sizes, strict=True))
        assert sum(patches) == expected * (1 if shared else 2)  # 2 x 2 patches are one token
    finally:
        hook.remove()


def test_names_are_asked_in_the_same_call_on_the_same_crop() -> None:
    scripted = ScriptedVLM(lambda r: "A red cup." if r.prompt == NAME else "a red cup on a table")
    result = describe_regions(_regions(), _pictures(), scripted, ASK_NAMES)
    assert [d.name for d in result.descriptions] == ["a red cup"] * 4
    assert result.meta["names"] == {"kept": 4}
    long, short = scripted.asked[:4], scripted.asked[4:]
    assert [r.images[0] for r in short] == [r.images[0] for r in long]  # the very same objects
    assert [r.max_pixels for r in short] == [r.max_pixels for r in long]
    assert {r.most_tokens for r in short} == {NAME_TOKENS} and {r.most_tokens for r in long} == {None}


def test_progress_counts_regions_not_replies() -> None:
    steps: list[int] = []
    describe_shard(_regions(), _pictures(), ScriptedVLM(lambda r: "a cup"), ASK_NAMES, steps.append)
    assert sum(steps) == 4


def test_bad_names_are_empty_and_counted_and_the_description_stays() -> None:
    names = iter(["", "x" * 3000, "The cup is red.", Refused("too large")])
    scripted = ScriptedVLM(lambda r: next(names) if r.prompt == NAME else "a red cup")
    result = describe_regions(_regions(), _pictures(), scripted, ASK_NAMES)
    assert [(d.text, d.name) for d in result.descriptions] == [("a red cup", "")] * 4
    assert result.meta["names"] == {"empty": 1, "too_long": 1, "sentence": 1, "refused": 1}


def test_a_rejected_description_has_no_name() -> None:
    scripted = ScriptedVLM(lambda r: "a cup" if r.prompt == NAME else "")
    result = describe_regions(_regions(), _pictures(), scripted, ASK_NAMES)
    assert len(result.rejected) == 4 and not result.meta["names"]


def test_derived_names_ask_nothing() -> None:
    scripted = ScriptedVLM(lambda r: "a table with a ring and a star")
    result = describe_regions(_regions(), _pictures(), scripted, Describe(), derive_name=derive_name)
    assert {d.name for d in result.descriptions} == {"a table"} and len(scripted.asked) == 4
    none = describe_regions(_regions(), _pictures(), scripted, Describe(name="none"), derive_name=derive_name)
    assert {d.name for d in none.descriptions} == {""} and not none.meta["names"]


# ---- a server --------------------------------------------------------------------------------------------------


def _with_probabilities(text: str, *probabilities: float) -> bytes:
    body = json.loads(completion(text))
    body["choices"][0]["logprobs"] = {"content": [{"token": "t", "logprob": log(p)} for p in probabilities]}
    return json.dumps(body).encode()


def refuses(*fields: str) -> Callable[[Handler, str], None]:
    """A server that says 400 to these fields, and gives probabilities where it is asked for them."""

    def answer(h: Handler, prompt: str) -> None:
        body: dict[str, Any] = h.fake.bodies[-1]
        if any(field in body for field in fields):
            status(400)(h)
        else:
            says(_with_probabilities("a cup", 0.5, 1.0) if "logprobs" in body else completion("a cup"))(h)

    return answer


def test_a_server_is_asked_for_logprobs_and_gives_them() -> None:
    with fake_server() as server:
        server.script = [says(_with_probabilities("a cup", 0.5, 1.0, 0.75))]
        [reply] = server.vlm(1).generate([Request((), "q", confidence=True)], max_new_tokens=4)
    assert isinstance(reply, Reply)
    assert (reply.mean_probability, reply.min_probability) == pytest.approx((0.75, 0.5))
    assert server.bodies[0]["logprobs"] is True and "top_logprobs" not in server.bodies[0]


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, {"content": [{"token": "a"}]}])
def test_a_server_that_gives_none_gives_a_plain_reply(logprobs: object) -> None:
    body = json.loads(completion("a cup"))
    body["choices"][0]["logprobs"] = logprobs
    with fake_server() as server:
        server.script = [says(json.dumps(body).encode())]
        [reply] = server.vlm(1).generate([Request((), "q", confidence=True)], max_new_tokens=4)
    assert reply == "a cup" and type(reply) is str


def test_a_server_that_refuses_logprobs_is_found_out_once() -> None:
    """With them, without, with them alone; then without for ever."""
    with fake_server() as server:
        server.otherwise = refuses("logprobs")
        requests = [Request((), f"q{k}", confidence=True) for k in range(4)]
        replies = server.vlm(1).generate(requests, max_new_tokens=4)
    assert replies == ["a cup"] * 4 and {type(reply) for reply in replies} == {str}
    assert ["logprobs" in body for body in server.bodies] == [True, False, True, False, False, False]


def test_a_request_refused_with_and_without_extras_is_at_fault_itself() -> None:
    def too_large(h: Handler, prompt: str) -> None:
        (status(400) if prompt == "large" else says(_with_probabilities("a cup", exp(-1))))(h)

    with fake_server() as server:
        server.otherwise = too_large
        requests = [Request((), q, confidence=True) for q in ("large", "small", "large")]
        first, second, third = server.vlm(1).generate(requests, max_new_tokens=4)
    assert isinstance(first, Refused) and isinstance(second, Reply) and isinstance(third, Refused)
    assert len(server.bodies) == 4  # once known to be taken, the extras are not tried again


# ---- structured replies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ('{"name": "a cup", "text": "a red cup"}', ("a red cup", "a cup")),
        ('```json\n{"text": "a red cup", "name": ""}\n```', ("a red cup", "")),
        ('Here it is: {"name": "a cup", "text": "a {red} cup"}.', ("a {red} cup", "a cup")),
        ('{"name": "a cup", "text": "a red', None),
        ('{"name": "a cup"}', None),
        ('{"name": ["a cup"], "text": "a red cup"}', None),
        ('{"name": "a cup", "text": "  "}', None),
        ("[1]", None),
        ("a red cup", None),
        ("", None),
        ("}{", None),
        ('{"a":' * 100_000 + "}" * 100_000, None),
        (Refused("no"), None),
    ],
)
def test_a_structured_reply_is_read_or_not(reply: str, answer: tuple[str, str] | None) -> None:
    assert read_structured(reply) == answer


def _describes(form: str) -> Callable[[Handler, str], None]:
    """A server that takes schemas in this form alone; without one it writes plain text, as any model."""

    def answer(h: Handler, prompt: str) -> None:
        body: dict[str, Any] = h.fake.bodies[-1]
        forms = {"response_format", "structured_outputs", "guided_json"} & body.keys()
        if forms - {form}:
            status(400)(h)
        elif forms:
            says(completion('{"name": "A cup.", "text": "a red cup"}'))(h)
        else:
            says(completion("the name" if prompt == NAME else "a plain cup"))(h)

    return answer


@pytest.mark.parametrize("form", ["response_format", "structured_outputs", "guided_json"])
def test_name_and_text_come_in_one_structured_reply_in_the_form_that_the_server_takes(form: str) -> None:
    with fake_server() as server:
        server.otherwise = _describes(form)
        descriptions, _ = describe_shard(_regions(), _pictures(), server.vlm(1), STRUCTURED)
        assert [(d.text, d.name) for d in descriptions] == [("a red cup", "a cup")] * 4
        last = server.bodies[-1][form]
    schema = json.loads(STRUCTURED_SCHEMA)
    expected = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}},
        "structured_outputs": {"json": schema}, "guided_json": schema,
    }  # fmt: skip
    assert last == expected[form]
    assert form in server.bodies[-2] and form in server.bodies[-3]  # what was found out stays


def test_a_server_without_schemas_is_found_out_once_and_asked_plainly() -> None:
    with fake_server() as server:
        server.otherwise = _describes("none of them")
        vlm = server.vlm(1)
        first, _ = describe_shard(_regions(), _pictures(), vlm, STRUCTURED)
        n_bodies = len(server.bodies)
        second, _ = describe_shard(_regions(), _pictures(), vlm, STRUCTURED)
    assert not vlm.takes_schemas
    assert [(d.text, d.name) for d in first] == [("a plain cup", "the name")] * 4 == [(d.text, d.name) for d in second]
    assert len(server.bodies) - n_bodies == 8  # a description and a name of each


def test_a_reply_out_of_form_is_asked_again_in_the_plain_form() -> None:
    def careless(h: Handler, prompt: str) -> None:
        body: dict[str, Any] = h.fake.bodies[-1]
        careful = "response_format" in body and len(h.fake.bodies) % 2
        says(completion('{"name": "a cup", "text": "a red cup"}' if careful else "a plain cup"))(h)

    with fake_server() as server:
        server.otherwise = careless
        descriptions, rejected = describe_shard(_regions(), _pictures(), server.vlm(1), STRUCTURED)
    assert not rejected and sorted(d.text for d in descriptions) == ["a plain cup"] * 2 + ["a red cup"] * 2


def test_a_model_that_takes_no_schema_is_asked_plainly() -> None:
    scripted = ScriptedVLM(lambda r: "a cup")
    describe_shard(_regions(), _pictures(), scripted, STRUCTURED)
    assert len(scripted.asked) == 8 and not any(r.schema for r in scripted.asked)
