"""ANLS and relaxed accuracy. Expected values by hand: edits counted, divided by the longer raw string."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import pytest
from anls_star import anls_score
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.scoring.anls import anls
from ouro.benchmarks.scoring.relaxed import relaxed_accuracy

words = st.text(alphabet="abAB 1%.ß\n", max_size=12)
# Whitespace is collapsed and case folded the same way on both sides, so here the raw length is the normalised one.
tidy = st.lists(st.text(alphabet="abc1%.", min_size=1, max_size=5), max_size=3).map(" ".join)


@pytest.mark.parametrize(
    ("reply", "references", "expected"),
    [
        ("", ["12.50"], 0.0),
        ("", [""], 1.0),
        ("12.50", ["12.50", "$12.50"], 1.0),
        ("Total", ["TOTAL"], 1.0),
        ("45", ["45%"], 1 - 1 / 3),
        ("ab", ["ac"], 0.5),  # exactly the threshold is kept
        ("abc", ["abd"], 1 - 1 / 3),
        ("abcd", ["axyd"], 0.5),
        ("abcde", ["axyze"], 0.0),  # 0.4
        ("the", ["the cat"], 0.0),  # 4 of 7: no credit for a part
        ("the answer is nine lives", ["nine lives"], 0.0),  # nor for a sentence around it
        ("  nine   lives\n", ["nine lives"], 1.0),  # 0 edits
        ("nine  livez", ["nine lives"], 1 - 1 / 11),  # 1 edit over 11 RAW signs
        ("x  ", ["y"], 1 - 1 / 3),  # raw whitespace only helps
        ("ß", ["x"], 0.5),  # in upper case SS: 1 edit over 2
        ("ß", ["ss"], 0.0),  # 2 edits over 2
        ("cafe", ["caf\u00e9"], 0.75),
        ("cafe\u0301", ["caf\u00e9"], 1 - 2 / 5),  # no Unicode normalisation
        ("1,000", ["1000"], 0.8),
        ("an apple", ["apple"], 1 - 3 / 8),  # articles are not dropped
        ("\u0130", ["x"], 0.0),  # two signs in lower case, one in upper case: below 0 is 0
        ("７", ["7"], 0.0),  # full-width digits are not folded
    ],
)
def test_anls_of_the_rrc_script(reply: str, references: list[str], expected: float) -> None:
    assert anls(reply, references) == pytest.approx(expected, abs=1e-12)


def test_the_threshold_is_a_parameter() -> None:
    assert anls("abcde", ["axyze"], threshold=0.3) == pytest.approx(0.4)
    assert anls("abc", ["abd"], threshold=0.9) == 0.0
    assert anls("abc", ["xyz"], threshold=0.0) == 0.0


@given(words, st.lists(words, min_size=1, max_size=4))
def test_anls_is_in_0_1_and_minds_no_order_of_references(reply: str, references: list[str]) -> None:
    score = anls(reply, references)
    assert score == 0.0 or 0.5 <= score <= 1.0
    assert anls(reply, references[::-1]) == score
    assert anls(references[-1], references) == 1.0
    assert anls(reply.swapcase(), references) == score or "ß" in reply


def _slow_distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        row, above = [i + 1], row
        for j, y in enumerate(b):
            row.append(min(above[j + 1] + 1, row[j] + 1, above[j] + (x != y)))
    return row[-1]


@given(st.text(max_size=70) | words, st.text(max_size=70) | words)
def test_anls_is_exactly_that_of_the_full_matrix(reply: str, reference: str) -> None:
    """Any text, to the last bit: emoji, combining signs, lone surrogates."""
    length = max(len(reply.upper()), len(reference.upper()))
    a, b = (" ".join(text.lower().split()) for text in (reply, reference))
    expected = 1 - _slow_distance(a, b) / length if length else 1.0
    assert anls(reply, [reference]) == (expected if expected >= 0.5 else 0.0)


@given(tidy, st.lists(tidy, min_size=1, max_size=3))
def test_anls_agrees_with_anls_star_where_no_raw_whitespace_counts(reply: str, references: list[str]) -> None:
    assert anls(reply, references) == pytest.approx(_star(reply, references), abs=1e-12)


def _star(reply: str, references: Sequence[str]) -> float:
    return float(anls_score(tuple(references), reply, return_gt=False, return_key_scores=False))


def test_anls_differs_from_anls_star_only_by_raw_length() -> None:
    draw = random.Random(0)
    pairs = [("".join(draw.choices("ab ß", k=6)), "".join(draw.choices("ab ß", k=6))) for _ in range(2000)]
    different = [(a, b) for a, b in pairs if anls(a, [b]) != pytest.approx(_star(a, [b]), abs=1e-12)]
    assert len(different) == 1400
    for a, b in different:
        normal = [" ".join(text.lower().split()) for text in (a, b)]
        assert max(len(a.upper()), len(b.upper())) > max(map(len, normal))
        assert anls(a, [b]) > _star(a, [b])  # a longer divisor only helps


def test_a_megabyte_does_not_take_minutes() -> None:
    start = time.perf_counter()
    assert anls("yes " * 250_000, ["yes"]) == 0.0
    assert anls(" " * 1_000_000 + "yes", ["yes"]) == 1.0
    assert anls("a" * 5_000, ["b" * 5_000, "ab" * 2_500]) == 0.5
    assert time.perf_counter() - start < 20


def test_no_reference_is_an_error() -> None:
    for score in (anls, relaxed_accuracy):
        with pytest.raises(ValueError, match="got no reference"):
            score("x", [])


@pytest.mark.parametrize(
    ("reply", "target", "expected"),
    [
        ("95", "100", 1),  # 0.05 exactly
        ("105", "100", 1),
        ("105.01", "100", 0),
        ("94.99", "100", 0),
        ("95.2", "100", 1),
        ("100", "95", 0),  # relative to the target: 5/95
        ("0.5985", "0.57", 0),  # 0.0500..01 in floating point
        ("1910", "2010", 1),  # years too
        ("0", "0", 1),
        ("0.0", "0", 0),  # a target of 0 is a text
        ("-0", "0", 0),
        ("0.001", "0", 0),
        ("45", "45%", 0),
        ("45%", "45", 0),
        ("45%", "45%", 1),
        ("0.45", "45%", 1),
        ("45 %", "45%", 1),  # float() takes the space
        ("45%%", "45%", 1),
        ("12,500", "12,500", 1),  # as a text
        ("12500", "12,500", 0),
        ("$5", "5", 0),
        ("100 units", "100", 0),
        ("1e2", "100", 1),
        ("1_00", "100", 1),
        ("\uff11\uff10\uff10", "100", 1),
        (" 100 \n", "100", 1),
        ("100.", "100", 1),
        ("yes", "Yes", 1),
        (" Yes ", "Yes", 1),
        ("Yes.", "Yes", 0),
        ("the red bar", "red bar", 0),
        ("ten", "10", 0),
        ("", "Yes", 0),
        ("", "", 1),
        ("%", "%", 1),
        ("-5", "5", 0),
        ("-5", "-5.2", 1),
        ("nan", "5", 0),
        ("nan", "nan", 0),  # equals nothing, itself included
        ("inf", "5", 0),
        ("inf", "inf", 0),
        ("5", "inf", 0),
        ("1e308", "-1e308", 0),
        ("1e308", "5e-324", 0),
        ("\ud800", "5", 0),
        ("Yes", "Yes ", 0),  # only the reply is stripped
    ],
)
def test_relaxed_accuracy_of_pix2struct(reply: str, target: str, expected: int) -> None:
    assert relaxed_accuracy(reply, [target]) == expected


def test_the_best_reference_and_the_tolerance_count() -> None:
    assert relaxed_accuracy("7", ["9", "7"]) == 1.0
    assert relaxed_accuracy("109", ["100"], tolerance=0.1) == 1.0


@given(st.text(max_size=8), st.lists(st.text(max_size=8), min_size=1, max_size=3))
def test_relaxed_accuracy_is_0_or_1_for_any_text(reply: str, references: list[str]) -> None:
    assert relaxed_accuracy(reply, references) in (0.0, 1.0)
    assert relaxed_accuracy(reply, references) == relaxed_accuracy(reply, references[::-1])


@given(
    st.floats(1e-6, 1e6).map(str) | st.from_regex(r"[a-z]{1,5}", fullmatch=True).filter(lambda t: t not in NOT_FINITE)
)
def test_a_finite_number_other_than_0_and_a_word_match_themselves(text: str) -> None:
    assert relaxed_accuracy(f" {text}\n", [text]) == 1.0


NOT_FINITE = ("nan", "inf")
