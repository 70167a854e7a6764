"""Who judges the support of a pair (rules, asked, none), what the thresholds do, and that the confidence is kept."""

from __future__ import annotations

import pytest
from PIL import Image as PILImage

from ouro.annotate.pairs.judging import NOT_SUPPORTED, ask_support, judge_by_asking, judge_by_rules, judge_nothing
from ouro.annotate.pairs.replies import Written, parse_pairs
from ouro.annotate.synthesize import Synthesized, synthesize_shard
from ouro.core.params import Synthesize
from ouro.core.records import Scene
from ouro.vision.protocols import Request, ScoringUnavailable
from ouro.vision.scripted import ScriptedVLM

TEXT = "A red cup stands on a table."
SCENE = Scene("i", TEXT, (), ())
PAIRS = {"What color is the cup?": "red", "What color is the table?": "brown", "What is on the table?": "a cup"}
SHARES = {"red": 0.9, "brown": 0.1, "a cup": 0.5}
RED, BROWN, CUP = (Written(q, a) for q, a in PAIRS.items())


def shares(request: Request, options: tuple[str, ...]) -> tuple[float, float]:
    """Of yes and no, by the answer that stands in the request."""
    assert not request.images and options == ("yes", "no") and TEXT in request.prompt
    yes = next(
        share for pair, share in zip((RED, BROWN, CUP), SHARES.values(), strict=True) if pair[0] in request.prompt
    )
    return yes, 1 - yes


def made(params: Synthesize, alone: dict[str, str] | None = None) -> tuple[Synthesized, list[str]]:
    """What comes out, and the questions that were put to the image."""
    writer = ScriptedVLM(lambda _: " ".join(f"Q: {q} A: {a}." for q, a in PAIRS.items()))
    answers = alone or {}
    answerer = ScriptedVLM(lambda r: next(a for q, a in answers.items() if q in r.prompt), weights=shares)
    pictures = {"i": PILImage.new("RGB", (8, 8))}
    out = synthesize_shard(pictures, [SCENE], writer, params, answerer=answerer if params.asks else None)
    assert out.n_in == len(out.pairs) + len(out.rejected) == 3
    return out, [q for r in answerer.asked if r.images for q in PAIRS if q in r.prompt]


def test_rules_give_one_or_a_reason() -> None:
    judge = judge_by_rules(SCENE)
    assert (judge(RED).reason, judge(RED).support) == ("", 1.0)
    assert (judge(BROWN).reason != "", judge(BROWN).support) == (True, 0.0)
    assert judge_by_rules(SCENE, lambda pair, text: pair.answer + text)(RED).reason == f"red{TEXT}"


def test_none_keeps_all_without_a_confidence() -> None:
    assert judge_nothing(BROWN) == ("", None, False)
    out, _ = made(Synthesize(aspects=("style",), support="none"))
    assert [(p.answer, p.support) for p in out.pairs] == [("red", None), ("brown", None), ("a cup", None)]


@pytest.mark.parametrize(
    ("share", "reason", "unsure"),
    [(0.29, NOT_SUPPORTED, False), (0.3, "", True), (0.69, "", True), (0.7, "", False), (1.0, "", False)],
)
def test_below_drop_it_goes_and_below_keep_the_picture_decides(share: float, reason: str, unsure: bool) -> None:
    judgement = judge_by_asking({RED: share}, Synthesize(support_drop=0.3, support_keep=0.7))(RED)
    assert judgement == (reason, share, unsure)


def test_asked_only_the_borderline_pair_goes_to_the_image_and_the_confidence_stays() -> None:
    out, asked = made(Synthesize(aspects=("style",), support="asked"), {CUP.question: "a cup"})
    assert asked == [CUP.question]
    assert [(p.answer, p.support, p.confidence) for p in out.pairs] == [("red", 0.9, None), ("a cup", 0.5, 1.0)]
    assert [r.reason for r in out.rejected] == [NOT_SUPPORTED]


def test_a_borderline_pair_that_the_image_denies_goes() -> None:
    out, _ = made(Synthesize(aspects=("style",), support="asked"), {CUP.question: "nothing"})
    assert [p.answer for p in out.pairs] == ["red"]
    assert [r.reason for r in out.rejected] == [NOT_SUPPORTED, "disagrees_with_image"]


def test_a_model_without_probabilities_cannot_be_asked() -> None:
    with pytest.raises(ScoringUnavailable, match="weights"):
        ask_support({"i": [RED]}, [SCENE], ScriptedVLM({}))


def test_a_pair_written_twice_is_asked_about_once() -> None:
    vlm = ScriptedVLM({}, weights=shares)
    assert ask_support({"i": [RED, RED]}, [SCENE], vlm) == {"i": {RED: pytest.approx(0.9)}}
    assert len(vlm.asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        "问：杯子是什么颜色的？ 答：红色。\n问：桌上有什么？ 答：一只杯子。",
        "问题：杯子是什么颜色的？\n答案：红色。\n问题：桌上有什么？\n答案：一只杯子。",
        "Ｑ：杯子是什么颜色的？　Ａ：红色。\nＱ：桌上有什么？　Ａ：一只杯子。",
        "【问：杯子是什么颜色的？答：红色】\n【问：桌上有什么？答：一只杯子】",
    ],
)
def test_full_width_marks_and_chinese_words_mark_pairs_too(reply: str) -> None:
    assert parse_pairs(reply) == [("杯子是什么颜色的？", "红色"), ("桌上有什么？", "一只杯子")]
