"""F1 over pairs of a document, as DUE counts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.benchmarks.scoring.key_values import Counts, Pair, answered, match_pairs

pair = st.builds(Pair, st.sampled_from("kl"), st.sampled_from(["a", "b", "A", "c"]))
reference = st.builds(
    Pair,
    st.sampled_from("kl"),
    st.sampled_from(["a", "b", "d"]),
    st.lists(st.sampled_from("abc"), max_size=2).map(tuple),
)
TRUTH = [Pair("gross_amount", "100.00", ("100", "$100.00")), Pair("advertiser", "Larkspur Trust")]


@pytest.mark.parametrize(
    ("key", "value", "matched"),
    [
        ("gross_amount", "100.00", 1),
        ("gross_amount", "100", 1),  # a variant
        ("gross_amount", "100.0", 0),  # numbers are not read
        ("gross_amount", "1,00.00", 0),
        ("gross_amount", " 100.00", 0),  # nothing is stripped
        ("Gross_amount", "100.00", 0),  # keys keep their case
        ("advertiser", "LARKSPUR trust", 1),
        ("advertiser", "Larkspur Trust.", 0),
        ("advertiser", "Larkspur  Trust", 0),
        ("advertiser", "100.00", 0),  # the value of another key
        ("advertiser", "", 0),
        ("advertiser", "The answer is Larkspur Trust", 0),
    ],
)
def test_a_value_matches_in_any_case_and_otherwise_exactly(key: str, value: str, matched: int) -> None:
    assert match_pairs([Pair(key, value)], TRUTH) == Counts(matched, 1, 2)


def test_upper_case_makes_a_sharp_s_two_letters() -> None:
    assert match_pairs([Pair("k", "Stra\u00dfe")], [Pair("k", "STRASSE")]).matched == 1


def test_a_reference_is_matched_once_and_first_come_first_served() -> None:
    twice = [Pair("k", "a"), Pair("k", "a")]
    assert match_pairs(twice, [Pair("k", "a")]) == Counts(1, 2, 1)
    assert match_pairs(twice, twice) == Counts(2, 2, 2)
    # `x` takes the first reference that it fits, and leaves none to `y`; the other way round both find one
    truth = [Pair("k", "x", ("y",)), Pair("k", "x")]
    assert match_pairs([Pair("k", "x"), Pair("k", "y")], truth).matched == 1
    assert match_pairs([Pair("k", "y"), Pair("k", "x")], truth).matched == 2


def test_f1_is_of_the_sum_of_documents_by_hand() -> None:
    first = match_pairs([Pair("k", "a"), Pair("l", "b")], [Pair("k", "a")])  # 1 of 2, 1 of 1
    second = match_pairs([Pair("k", "z")], [Pair("k", "a"), Pair("l", "c")])  # 0 of 1, 0 of 2
    total = first + second
    assert total == Counts(1, 3, 3)
    assert total.precision == total.recall == total.f1 == 1 / 3
    assert first.f1 == pytest.approx(2 / 3)


def test_nothing_predicted_or_asked_scores_0() -> None:
    for counts in (match_pairs([], TRUTH), match_pairs([Pair("k", "a")], []), match_pairs([], []), Counts()):
        assert (counts.precision, counts.recall, counts.f1) == (0.0, 0.0, 0.0)


def test_only_the_literal_none_is_no_prediction() -> None:
    pairs = [Pair("k", value) for value in ("none", "None.", "", "None ")]
    assert answered([Pair("k", "None"), *pairs, Pair("l", "None")]) == pairs


def _from_the_other_side(predicted: list[Pair], references: list[Pair]) -> int:
    """The second pass of DUE: references in their order, each taking the first prediction that fits."""
    left, matched = list(predicted), 0
    for reference in references:
        values = {value.upper() for value in (reference.value, *reference.variants)}
        fit = next((p for p in left if p.key == reference.key and p.value.upper() in values), None)
        if fit is not None:
            left.remove(fit)
            matched += 1
    return matched


@given(st.lists(pair, max_size=5), st.lists(reference, max_size=5))
def test_both_passes_of_due_match_the_same_number(predicted: list[Pair], references: list[Pair]) -> None:
    counts = match_pairs(predicted, references)
    assert counts.matched == _from_the_other_side(predicted, references)
    assert 0 <= counts.matched <= min(counts.predicted, counts.reference)
    assert 0.0 <= counts.f1 <= 1.0


@given(st.lists(reference, min_size=1, max_size=5))
def test_without_variants_the_reference_predicted_in_any_order_is_perfect(references: list[Pair]) -> None:
    plain = [Pair(r.key, r.value) for r in references]
    assert match_pairs(plain[::-1], plain).f1 == 1.0
