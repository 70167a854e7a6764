"""CIDEr-D against pycocoevalcap, and the two tokenizers."""

from __future__ import annotations

import math
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from ouro.benchmarks.scoring import ptb
from ouro.benchmarks.scoring.captions import cider, plain_tokens
from ouro.benchmarks.scoring.cider_d import cider_d

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="the PTB tokenizer is a Java program")
caption = st.lists(st.sampled_from(["a", "cat", "sits", "on", "mat", "dog"]), max_size=9)

ODD = [
    "A man's dog can't run.",
    "A black-and-white t-shirt, worn by a boy!",
    'It is $5.00 or £3 (50% off) at 10:30 a.m. !!! "STOP"',
    "visit www.example.com/shop now ?!",
    "gonna go; they've left",
    "",
    "etc. and u.s.a. flags",
    "[UNK] {a} 1 1/2 \u00bd cups",
    "don\u2019t \u201cquote\u201d caf\u00e9 \u4e2d\u6587 \U0001f600",
    "a\u00a0b _c_ e-mail me@x.org #tag",
    "call (555) 123-4567",
    "",
]
LINE_ENDS = ["a\nb", "a\rb", "a\r\nb", "a\u2028b", "a\u2029b", "a\x0bb", "a\x0cb", "a\x1cb", "a\x85b", "\n"]


def _made_up(seed: int, images: int) -> tuple[dict[str, str], dict[str, list[str]]]:
    draw = random.Random(seed)

    def sentence() -> str:
        who = draw.choice(["a man", "two dogs", "the woman's cat", "a red double-decker bus", "a boy"])
        does = draw.choice(["rides", "is standing on", "sits next to", "doesn't look at", "walks along"])
        what = draw.choice(["a street", "the beach", "a t-shirt", "an old clock tower", "a man's hand"])
        return f"{who} {does} {what} {draw.choice(['', 'near a tree', ', at night'])}".strip().capitalize() + "."

    references = {f"image {i}": [sentence() for _ in range(draw.randint(1, 5))] for i in range(images)}
    replies = {i: sentence() if draw.random() < 0.5 else references[i][0] for i in references}
    return replies, references


def test_two_images_by_hand() -> None:
    # Every n-gram has df 1 of 2 images, so all weights are log 2 and equal captions have cosine 1 for n = 1, 2, 3;
    # three words have no 4-gram: 10 * 3 / 4. The second caption shares no word.
    scores = cider({"x": "cat on mat", "y": "bus"}, {"x": ["cat on mat"], "y": ["dog runs off"]}, tokenizer="plain")
    assert scores.by_id == {"x": pytest.approx(7.5), "y": 0.0}
    assert scores.corpus == pytest.approx(3.75)


def test_another_length_costs_by_the_difference_of_bigrams() -> None:
    # "a b" against "a b c d", other image "e": weights all log 2. n=1: 2 / (sqrt 2 * sqrt 4), n=2: 1 / (1 * sqrt 3),
    # n=3 and 4: 0. One bigram against three: exp(-4 / 72).
    (score, _) = cider_d([(["a", "b"], [["a", "b", "c", "d"]]), (["e"], [["e"]])])
    expected = 10 / 4 * (2 / math.sqrt(8) + 1 / math.sqrt(3)) * math.exp(-4 / 72)
    assert score == pytest.approx(expected, abs=1e-12)


def test_a_single_image_scores_0_and_a_part_is_another_score() -> None:
    replies, references = _made_up(1, 30)
    one = cider({"image 0": references["image 0"][0]}, {"image 0": references["image 0"]}, tokenizer="plain")
    assert one == (0.0, {"image 0": 0.0})
    half = {i: references[i] for i in list(references)[:15]}
    part = cider({i: replies[i] for i in half}, half, tokenizer="plain")
    whole = cider(replies, references, tokenizer="plain")
    assert part.by_id["image 3"] != pytest.approx(whole.by_id["image 3"], rel=0.01)


@given(st.lists(st.tuples(caption, st.lists(caption, min_size=1, max_size=3)), min_size=1, max_size=5))
def test_the_arithmetic_is_that_of_pycocoevalcap(images: list[tuple[list[str], list[list[str]]]]) -> None:
    ours = cider_d(images)
    assert all(0.0 <= score <= 10.0 + 1e-9 for score in ours)
    if any(any(references) for _, references in images):  # without a word in any reference theirs stops with an error
        _, theirs = Cider().compute_score(
            {i: [" ".join(r) for r in references] for i, (_, references) in enumerate(images)},
            {i: [" ".join(reply)] for i, (reply, _) in enumerate(images)},
        )
        assert ours == pytest.approx(list(theirs), abs=1e-9)


@given(st.lists(st.tuples(caption, st.lists(caption, min_size=1, max_size=3)), min_size=2, max_size=4))
def test_references_and_images_may_come_in_any_order(images: list[tuple[list[str], list[list[str]]]]) -> None:
    turned = [(reply, references[::-1]) for reply, references in images[::-1]]
    assert cider_d(turned)[::-1] == pytest.approx(cider_d(images))


def test_references_without_a_word_score_0() -> None:
    assert cider({"x": "cat", "y": ""}, {"x": [""], "y": ["."]}, tokenizer="plain").corpus == 0.0


@needs_java
def test_scores_are_those_of_pycocoevalcap_with_its_tokenizer(capfd: pytest.CaptureFixture[str]) -> None:
    replies, references = _made_up(2, 60)
    for i, text in enumerate(ODD):
        replies[f"odd {i}"], references[f"odd {i}"] = text, [text, *ODD[i : i + 3]]
    replies["no words"] = ""
    references["no words"] = ["a cat"]
    ours = cider(replies, references)
    assert capfd.readouterr() == ("", "")
    cut = PTBTokenizer().tokenize
    truth = cut({i: [{"caption": text} for text in texts] for i, texts in references.items()})
    tokens = cut({i: [{"caption": replies[i]}] for i in references})
    corpus, by_id = Cider().compute_score(truth, tokens)
    assert ours.corpus == pytest.approx(corpus, abs=1e-9)
    assert len(by_id) == 73
    assert list(ours.by_id.values()) == pytest.approx(list(by_id), abs=1e-9)
    assert list(ours.by_id) == list(references)


@needs_java
def test_ptb_tokens_by_hand() -> None:
    assert ptb.ptb_tokens(["A man's dog can't run.", "", "Gonna (go) £5!", "well - done -- ok ...", ""]) == [
        ["a", "man", "'s", "dog", "ca", "n't", "run"],
        [],
        ["gon", "na", "-lrb-", "go", "-rrb-", "#", "5"],
        ["well", "done", "ok"],
        [],
    ]


@needs_java
def test_no_line_end_shifts_a_caption_to_another_image() -> None:
    references = {f"{i}": [f"word{i} stands here now"] for i in range(len(LINE_ENDS) + 1)}
    replies = {i: texts[0] for i, texts in references.items()}
    plain = cider(replies, references)
    for i, text in enumerate(LINE_ENDS):
        replies[f"{i}"] = text
    assert cider(replies, references).by_id["10"] == plain.by_id["10"] > 9
    with pytest.raises(RuntimeError, match="expected 1: is there a line end"):
        ptb.ptb_tokens(["a\rb"])


@needs_java
def test_the_tokenizer_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ptb.ptb_tokens(["a cat", "\ud800 lone"])
    assert list(tmp_path.iterdir()) == []


@needs_java
def test_plain_is_equal_on_clean_captions_and_not_on_others() -> None:
    replies, references = _made_up(3, 80)
    assert cider(replies, references, tokenizer="plain") == cider(replies, references)
    for i in list(references)[::2]:
        references[i] = [f'{text} The sign says "u.s.a. {i} (1/2) £3"' for text in references[i]]
        replies[i] = references[i][0]
    gap = cider(replies, references, tokenizer="plain").corpus - cider(replies, references).corpus
    assert 0.001 < abs(gap) < 0.3  # CIDEr x 100: up to 30 points


@pytest.mark.parametrize("missing", ["java", "package"])
def test_what_is_missing_is_said_once_with_the_way_without(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing == "java":
        monkeypatch.setenv("PATH", "")
        match = "needs Java .*default-jre-headless.*install that, or choose the tokenizer `plain`"
    else:
        monkeypatch.setitem(sys.modules, "pycocoevalcap.tokenizer", None)
        match = r"needs .*pycocoevalcap \(`uv sync --extra captions`\); install that, or choose the tokenizer `plain`"
    with pytest.raises(ptb.MissingTokenizerError, match=match):
        cider({"x": "a"}, {"x": ["a"]})
    assert cider({"x": "a"}, {"x": ["a"]}, tokenizer="plain").corpus == 0.0


def test_a_failure_of_java_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho out of memory >&2\nexit 3\n")
    java.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(java))
    with pytest.raises(RuntimeError, match="java ended with 3: out of memory"):
        ptb.ptb_tokens(["a"])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A man's dog can't run.", ["a", "man", "'s", "dog", "ca", "n't", "run"]),
        ("black-and-white - T-SHIRT!", ["black-and-white", "t-shirt"]),
        ("$1,000.50 at 10:30, 50%", ["$", "1,000.50", "at", "10:30", "50", "%"]),
        ("they\u2019ve", ["they", "'ve"]),
        ("boys' toys", ["boys", "toys"]),
        ("cannot gonna", ["cannot", "gonna"]),  # ptb: can not gon na
        ("(a) u.s.a.", ["a", "u", "s", "a"]),  # ptb: -lrb- a -rrb- u.s.a.
        ("", []),
    ],
)
def test_plain_tokens(text: str, tokens: list[str]) -> None:
    assert plain_tokens(text) == tokens


@pytest.mark.parametrize(
    ("replies", "references", "message"),
    [
        ({}, {}, "got no image"),
        ({"x": "a"}, {"x": ["a"], "y": ["b"]}, "image 'y' and 0 more have a reply or references, expected both"),
        ({"x": "a", "z": "a"}, {"x": ["a"]}, "image 'z'"),
        ({"x": "a"}, {"x": []}, "image 'x' and 0 more have no reference"),
    ],
)
def test_replies_and_references_must_be_of_the_same_images(
    replies: dict[str, str], references: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cider(replies, references, tokenizer="plain")
