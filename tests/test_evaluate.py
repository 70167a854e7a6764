"""The protocol of the benchmark, with answerers whose accuracy is known by construction; models in bounded memory."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from ouro.benchmarks import answering
from ouro.benchmarks.answering import vlm_answerer
from ouro.benchmarks.controls import majority_answers, wrong_images
from ouro.benchmarks.evaluate import Asked, Run, evaluate
from ouro.benchmarks.summary import Comparison, compare, summarise
from ouro.benchmarks.vqa import Question
from ouro.core.params import Benchmark
from ouro.core.records import Box, Image
from ouro.vision.protocols import Request
from ouro.vision.scripted import ScriptedVLM
from tasks import shards

COLORS = ("red", "green", "blue", "black")


def _questions(n: int = 40) -> list[Question]:
    """n images with two questions each; a quarter of the images has each colour, half has a star."""
    made: list[Question] = []
    for k in range(n):
        made.append(Question(2 * k, f"i{k}", "what color ?", (COLORS[k % 4],) * 10, "color"))
        made.append(Question(2 * k + 1, f"i{k}", "a star ?", (("yes", "no")[k % 2],) * 10, "existence"))
    return made


def _seeing(asked: Sequence[Asked]) -> list[str]:
    """Answers from the image that it is given, not from the question's own."""
    return [
        COLORS[int(a.image_id[1:]) % 4] if a.question.question_type == "color"
        else ("yes", "no")[int(a.image_id[1:]) % 2]
        for a in asked
    ]  # fmt: skip


def _blind(asked: Sequence[Asked]) -> list[str]:
    return ["Red." if a.question.question_type == "color" else "yes" for a in asked]


def _run(answer: object, name: str = "m") -> Run:
    questions = _questions()
    wrong = wrong_images((q.image_id for q in questions), np.random.default_rng(0))
    return evaluate(questions, answer, model=name, arm="image", wrong=wrong)  # type: ignore[arg-type]


@given(st.sets(st.text(max_size=3), min_size=2, max_size=30), st.integers(0, 99))
def test_every_image_gets_another_and_each_is_used_once(images: set[str], seed: int) -> None:
    wrong = wrong_images(images, np.random.default_rng(seed))
    assert wrong == wrong_images(sorted(images) * 2, np.random.default_rng(seed))
    assert set(wrong) == set(wrong.values()) == images
    assert all(a != b for a, b in wrong.items())


def test_one_image_cannot_be_shuffled() -> None:
    with pytest.raises(ValueError, match="got 1 image"):
        wrong_images(["i", "i"], np.random.default_rng(0))


def test_majority_is_counted_after_normalisation_and_ties_are_alphabetical() -> None:
    questions = [
        Question(0, "i", "?", ("Two",) * 6 + ("3",) * 4, "count"),
        Question(1, "j", "?", ("2.",) * 4 + ("3",) * 6, "count"),
        Question(2, "k", "?", ("no",) * 9 + ("yes",), "existence"),
    ]
    assert majority_answers(questions) == {"count": "2", "existence": "no"}


def test_a_seeing_model_keeps_its_margin_and_a_blind_one_has_none() -> None:
    seeing = summarise(_run(_seeing), resamples=200, seed=0)
    assert seeing.macro.accuracy.value == 1.0
    assert seeing.macro.margin.value == pytest.approx(1.0 - seeing.macro.shuffled.value)
    assert seeing.macro.margin.low > 0.2
    blind = summarise(_run(_blind), resamples=200, seed=0)
    rows = {row.question_type: row for row in blind.rows}
    assert rows["color"].accuracy.value == rows["color"].majority == 0.25
    assert rows["existence"].accuracy.value == rows["existence"].majority == 0.5
    assert blind.macro.accuracy.value == blind.macro.majority == pytest.approx(0.375)
    assert (blind.macro.margin.value, blind.macro.margin.low, blind.macro.margin.high) == (0.0, 0.0, 0.0)
    assert (blind.n_images, blind.overall.n, rows["color"].n) == (40, 80, 40)


def test_every_prediction_is_kept_with_both_images() -> None:
    run = _run(_seeing)
    wrong = wrong_images((f"i{k}" for k in range(40)), np.random.default_rng(0))
    for p in run.predictions:
        assert p.wrong_image_id == wrong[p.image_id] != p.image_id
        assert p.score == 1.0 and p.answer == p.truth
        assert p.wrong_score == float(p.wrong_answer == p.truth)
    assert [p.question_id for p in run.predictions] == list(range(80))
    assert run.rows()[3]["arm"] == "image" and len(run.rows()) == 80


def test_comparison_is_paired_and_survives_json() -> None:
    made = compare(_run(_blind, "base"), _run(_seeing, "boot"), resamples=200, seed=0)
    gain = made.macro.accuracy_gain
    assert gain.value == pytest.approx(1 - 0.375)
    assert 0 < gain.low <= gain.value <= gain.high
    assert made.macro.margin_gain.value == pytest.approx(made.macro.boot_margin.value)
    same = compare(_run(_seeing, "base"), _run(_seeing, "boot"), resamples=200, seed=0)
    assert same.overall.accuracy_gain.low == same.overall.accuracy_gain.high == 0.0
    assert Comparison.from_json(json.loads(json.dumps(made.to_json()))) == made
    json.dumps(summarise(_run(_blind), resamples=100, seed=0).to_json(), allow_nan=False)


def test_runs_on_other_wrong_images_are_not_compared() -> None:
    questions = _questions()
    wrong = wrong_images((q.image_id for q in questions), np.random.default_rng(9))
    other = evaluate(questions, _seeing, model="boot", arm="image", wrong=wrong)
    with pytest.raises(ValueError, match="same questions and wrong images"):
        compare(_run(_seeing), other, resamples=100, seed=0)
    regions = Run("boot", "image+regions", other.predictions)
    with pytest.raises(ValueError, match="expected the same"):
        compare(other, regions, resamples=100, seed=0)


def test_unscorable_questions_are_refused_before_anything_is_generated() -> None:
    def never(asked: Sequence[Asked]) -> list[str]:
        raise AssertionError(f"asked {len(asked)} questions")

    short = [Question(3, "i", "?", ("yes",), "t")]
    with pytest.raises(ValueError, match="question_id 3: got 1 answers, expected 10"):
        evaluate(short, never, model="m", arm="image", wrong={"i": "j"})
    with pytest.raises(ValueError, match="no other image assigned to image 'i0'"):
        evaluate(_questions(1), never, model="m", arm="image", wrong={"i0": "i0"})
    with pytest.raises(ValueError, match="no questions"):
        evaluate([], never, model="m", arm="image", wrong={})


def test_a_missing_answer_is_an_error_not_a_shift() -> None:
    with pytest.raises(ValueError, match="m gave 79 answers to 80 questions"):
        _run(lambda asked: _blind(asked)[1:])


# ---- a model's answers, chunk by chunk ---------------------------------------------------------------------------

BOXES: dict[str, list[Box]] = {f"i{k}": [(0.0, 0.0, 8.0, 5.0), (2.0, 2.0, 6.0, 7.0)] for k in range(6)}
VIEWS = 10 * 10 + 8 * 5 + 4 * 5  # pixels of one image of _Fresh with its two crops


class _Fresh(Mapping[str, PILImage.Image]):
    """10 x 10 pictures, decoded anew whenever asked for; `n_open` of them are still held by somebody."""

    def __init__(self) -> None:
        self._given: list[weakref.ref[PILImage.Image]] = []

    def __getitem__(self, image_id: str) -> PILImage.Image:
        picture = PILImage.new("RGB", (10, 10), (int(image_id[1:]), 0, 0))
        self._given.append(weakref.ref(picture))
        return picture

    def __iter__(self) -> Iterator[str]:
        return iter(BOXES)

    def __len__(self) -> int:
        return len(BOXES)

    @property
    def n_open(self) -> int:
        return sum(ref() is not None for ref in self._given)

    @property
    def n_decoded(self) -> int:
        return len(self._given)


class _Looking(ScriptedVLM):
    """Replies with the question, the image's number and its views; notes the calls and what is open in each."""

    def __init__(self, pictures: _Fresh) -> None:
        super().__init__(lambda r: f"{r.prompt}/{r.images[0].getpixel((0, 0))[0]}/{[im.size for im in r.images]}")  # type: ignore[index]
        self.pictures, self.n_open, self.n_views, self.sizes = pictures, list[int](), list[int](), list[int]()

    def generate(self, requests: Sequence[Request], **settings: object) -> list[str]:  # type: ignore[override]
        self.n_open.append(self.pictures.n_open)
        self.n_views.append(len({id(view) for r in requests for view in r.images}))
        self.sizes.append(len(requests))
        replies = super().generate(requests, max_new_tokens=99)
        self.asked.clear()  # or they would hold the pictures
        return replies


def _rounds() -> list[Asked]:
    """Three questions about each of six images, the images taking turns."""
    return [
        Asked(Question(6 * n + k, f"i{k}", f"q{n}", ("yes",) * 10, "t"), f"i{k}") for n in range(3) for k in range(6)
    ]


@pytest.mark.parametrize(
    ("chunk_pixels", "sizes"), [(6 * VIEWS, [18]), (6 * VIEWS - 1, [15, 3]), (2 * VIEWS, [6, 6, 6]), (1, [3] * 6)]
)
def test_replies_come_in_order_and_only_one_chunk_of_images_is_open(chunk_pixels: int, sizes: list[int]) -> None:
    pictures = _Fresh()
    vlm = _Looking(pictures)
    said = vlm_answerer(vlm, pictures, BOXES, Benchmark(), chunk_pixels=chunk_pixels)(_rounds())
    views = [(10, 10), (8, 5), (4, 5)]
    assert said == [f"q{n}/{k}/{views}" for n in range(3) for k in range(6)]
    assert vlm.sizes == sizes
    assert max(vlm.n_open) <= max(sizes) // 3 + 1  # the chunk's, and the one that the next begins with
    assert pictures.n_decoded == 6


def test_crops_are_cut_once_an_image_and_shared_by_its_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[Box] = []

    def counted(picture: PILImage.Image, box: Box, context: float) -> PILImage.Image:
        cut.append(box)
        return picture.crop(tuple(map(int, box)))  # type: ignore[arg-type]

    monkeypatch.setattr(answering, "crop", counted)
    vlm = _Looking(_Fresh())
    vlm_answerer(vlm, vlm.pictures, BOXES, Benchmark(), chunk_pixels=3 * VIEWS)(_rounds())
    assert len(cut) == 6 * 2
    assert (vlm.sizes, vlm.n_views) == ([9, 9], [3 * 3, 3 * 3])


def test_in_one_chunk_the_model_is_asked_in_the_order_of_the_questions() -> None:
    vlm = ScriptedVLM(lambda r: "yes")
    vlm_answerer(vlm, _Fresh(), {}, Benchmark())(_rounds())
    assert [r.prompt for r in vlm.asked] == [f"q{n}" for n in range(3) for _ in range(6)]


def test_pictures_forget_the_least_recently_used_and_keep_the_one_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = {"a": 10, "b": 10, "c": 10, "big": 40}
    for name, side in sides.items():
        PILImage.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    images = [Image(name, f"{name}.png", side, side, name) for name, side in sides.items()]
    monkeypatch.setattr(shards, "CHUNK_PIXELS", 200)
    pictures = shards.Pictures(images, tmp_path, 10_000)
    a, b = pictures["a"], pictures["b"]
    assert pictures["a"] is a and pictures["b"] is b  # both fit: 200 pixels
    assert pictures["a"] is a  # now b is the one used longest ago
    c = pictures["c"]
    assert pictures["a"] is a and pictures["c"] is c and pictures["b"] is not b
    big = pictures["big"]  # 1,600 pixels: alone over the limit
    assert pictures["big"] is big and pictures["a"] is not a
