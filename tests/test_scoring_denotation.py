"""WTQ: when a reply denotes the targets."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.scoring.denotation import Value, normalise, read_value, same_denotation, split_items

item = st.text(alphabet='aB1. ,[]()"*|-x', max_size=8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Caf\u00e9", "cafe"),
        ("cafe\u0301", "cafe"),
        ("\uff11\uff12 \u00bd", "12 1\u20442"),  # compatibility forms are decomposed
        ("\u2018a\u2019 \u201cb\u201d c", "'a' \"b\" c"),
        ("1990\u20131995", "1990-1995"),
        ("Rome[1]", "rome"),
        ("Rome[a][note 2]*", "rome"),
        ("Rome\u2020", "rome"),
        ("[1]", ""),  # a number in brackets is a citation even alone
        ("[a]", "[a]"),
        ("[a][b]", "[a]"),
        ("Rome[1] (Italy)", "rome"),
        ("Rome (Italy) (old)", "rome"),
        ("(Italy)", "(italy)"),
        ("Rome(Italy)", "rome(italy)"),  # without a space it stays
        ('"Rome"', "rome"),
        ('"Rome" (Italy)', "rome"),
        ('"a" and "b"', '"a" and "b"'),
        ('""', ""),
        ("Rome.", "rome"),
        ("Rome..", "rome."),  # one period only
        ("Rome[1].", "rome[1]"),  # citations go first
        ("Rome.[1]", "rome"),
        ("  a \t b\n", "a b"),
        ("C#", "c"),  # sic: the sign of a footnote
        ("1,000", "1,000"),
        ("the cat", "the cat"),
        ("x]", "x]"),
        ("x[a]]", "x[a]]"),
        ("x[a[b]", "x"),
        ("", ""),
    ],
)
def test_normalise_follows_the_official_evaluator(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "canon", "expected"),
    [
        ("12", "", Value("12", 12)),
        ("12.0", "", Value("12.0", 12)),
        ("1e3", "", Value("1e3", 1000)),
        ("-0.5", "", Value("-0.5", -0.5)),
        ("2.9999999", "", Value("2.9999999", 2)),  # cut, not rounded
        ("1,000", "", Value("1,000")),
        ("1,000", "1000.0", Value("1,000", 1000)),
        ("12 goals", "", Value("12 goals")),
        ("50%", "", Value("50%")),
        ("nan", "", Value("nan")),
        ("inf", "", Value("inf")),
        ("2004-03-01", "", Value("2004-03-01", None, (2004, 3, 1))),
        ("March 1", "xx-03-01", Value("march 1", None, (-1, 3, 1))),
        ("2004-xx-xx", "", Value("2004-xx-xx", 2004)),  # a year alone is a number
        ("xx-xx-xx", "", Value("xx-xx-xx")),
        ("2004-13-01", "", Value("2004-13-01")),
        ("2004-02-31", "", Value("2004-02-31", None, (2004, 2, 31))),  # days are not checked by month
        ("1-2", "", Value("1-2")),
        ("9" * 5000, "", Value("9" * 5000)),  # too long for int(), infinite for float()
    ],
)
def test_items_are_numbers_dates_or_texts(text: str, canon: str, expected: Value) -> None:
    assert read_value(text, canon) == expected


@pytest.mark.parametrize(
    ("reply", "targets", "canon", "right"),
    [
        ("12", ["12"], [], True),
        ("12.0", ["12"], [], True),
        ("12.0000005", ["12"], [], True),
        ("12.00001", ["12"], [], False),
        ("12 goals", ["12"], [], False),
        ("twelve", ["12"], [], False),
        ("12500", ["12,500"], [], False),
        ("12500", ["12,500"], ["12500.0"], True),
        ("12,500", ["12,500"], ["12500.0"], True),  # the text also matches
        ("12,500", ["12500"], [], False),
        ("March 1, 2004", ["March 1, 2004"], ["2004-03-01"], True),
        ("2004-03-01", ["March 1, 2004"], ["2004-03-01"], True),
        ("2004-3-1", ["March 1, 2004"], ["2004-03-01"], True),
        ("xx-03-01", ["March 1, 2004"], ["2004-03-01"], False),  # all three parts
        ("2004", ["2004-xx-xx"], [], True),
        ("Rome", ["ROME (Italy)"], [], True),
        ("Rome.", ["Rome"], [], True),
        ("the answer is Rome", ["Rome"], [], False),
        ("Rome | Paris", ["Paris", "Rome"], [], True),
        ("Rome|Paris", ["Rome", "Paris"], [], True),
        ("Rome, Paris", ["Rome", "Paris"], [], False),  # never split at commas
        ("Rome, Paris", ["Rome, Paris"], [], True),
        ("Rome", ["Rome", "Paris"], [], False),
        ("Rome | Paris | Oslo", ["Rome", "Paris"], [], False),
        ("Rome | rome", ["Rome"], [], True),  # duplicates count once
        ("1 | 1.0", ["1"], [], True),
        ("1 | one", ["1"], [], False),
        ("", ["Rome"], [], False),
        ("", [""], [], True),
        ("Rome |", ["Rome"], [], False),  # an empty item is an item
        ("1" * 400, ["0.5"], [], False),  # too large for a float: no error
    ],
)
def test_denotations_by_hand(reply: str, targets: list[str], canon: list[str], right: bool) -> None:
    assert same_denotation(split_items(reply), targets, canon) is right


@pytest.mark.parametrize(
    ("reply", "targets", "right"),
    [
        ("A|B", ["A|B"], True),
        ("a | b", ["A|B"], True),
        (r"A\pB", ["A|B"], True),
        (r"A\pB | C", ["C", "A|B"], True),
        ("A|B|C", ["A|B", "C"], True),
        ("C|A|B", ["A|B", "C"], True),
        ("A|A|B", ["A", "A|B"], True),
        ("A|B|A|B|C", ["A|B|C", "A|B"], True),
        ("A", ["A|B"], False),
        ("B|A", ["A|B"], False),
        ("A|B|C", ["A|B"], False),
        ("A B", ["A|B"], False),
        ("A|B", ["A", "B"], True),
        (r"A\pB", ["A", "B"], False),
        ("A|", ["A|"], True),
        ("C|D", ["C", "D", "A|B"], False),
    ],
)
def test_a_target_may_hold_the_sign_between_items(reply: str, targets: list[str], right: bool) -> None:
    r"""A\pB in WTQ's files."""
    assert same_denotation(split_items(reply, targets), targets) is right


def test_word_for_word_is_wrong_only_where_targets_share_a_canonical_form() -> None:
    assert not same_denotation(["12,500", "12500"], ["12,500", "12500"], ["12500", "12500"])


def test_each_target_needs_its_canonical_form() -> None:
    with pytest.raises(ValueError, match="got 1 canonical forms, expected one for each of 2 targets"):
        same_denotation(["a"], ["a", "b"], ["a"])


@given(st.lists(item, min_size=1, max_size=4), st.lists(item, min_size=1, max_size=4))
def test_order_and_duplicates_do_not_matter(predicted: list[str], targets: list[str]) -> None:
    right = same_denotation(predicted, targets)
    assert same_denotation(predicted[::-1], targets[::-1]) is right
    assert same_denotation(predicted + predicted, targets + targets[:1]) is right
    assert same_denotation(targets, targets)


@given(item)
def test_case_and_accents_of_a_text_do_not_matter(text: str) -> None:
    assert normalise(text.upper()) == normalise(text)
    assert normalise("".join(f"{c}\u0301" for c in text)) == normalise(text)


def test_a_megabyte_does_not_take_minutes() -> None:
    start = time.perf_counter()
    for text in ("[" * 1_000_000 + "]", "[1]" * 300_000, " (a)" * 250_000, "*" * 1_000_000, '"' * 1_000_000):
        normalise(text)
        same_denotation(split_items(text), ["a"])
    assert time.perf_counter() - start < 60
