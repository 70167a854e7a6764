"""Text of real models: the floors of perf/realtext.py on the labelled trees (tests/data/realtext)."""

from __future__ import annotations

import pytest

from ouro.core.params import Merge
from ouro.core.records import Scene
from perf import realtext
from perf.realtext import Case


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return realtext.load_cases()


@pytest.fixture(scope="module")
def outlines(cases: list[Case]) -> list[Scene]:
    return realtext.scenes_of(cases, Merge(writer="outline", max_tokens=100_000))


def test_every_reply_but_the_one_in_another_script_is_a_description(cases: list[Case]) -> None:
    described = {d.region_id for case in cases for d in case.descriptions}
    assert {r.region_id for case in cases for r in case.regions} - described == {"08_china/0.2.0"}


def test_children_are_found_in_their_parents_text(cases: list[Case]) -> None:
    matching = realtext.matching(cases)
    assert (matching.precision >= 0.97, matching.recall >= 0.88) == (True, True), matching


def test_all_conflicts_are_recorded_and_settled_by_a_looker_as_the_labels_say(cases: list[Case]) -> None:
    settling = realtext.settling(cases)
    assert (settling.recorded, settling.settled, settling.n_labels) == (14, 14, 14)
    assert settling.unlabelled <= 1, settling


def test_an_outline_breaks_no_sentence_and_is_shorter_than_concatenation(
    cases: list[Case], outlines: list[Scene]
) -> None:
    broken = [realtext.broken_sentences(case, scene) for case, scene in zip(cases, outlines, strict=True)]
    assert broken == [[]] * len(cases)
    assert realtext.length_ratio(cases, [scene.text for scene in outlines]) <= 0.9


def test_an_outline_seldom_tells_a_fact_again(cases: list[Case], outlines: list[Scene]) -> None:
    """A sentence with news in it may touch on a fact again; one with next to none (a quarter of its words) rarely."""
    totals = realtext.repeats(cases, outlines)
    assert totals.facts == 64 and totals.idle <= 3 and totals.repeats <= 14, totals


def test_an_outline_keeps_what_only_one_region_tells(cases: list[Case], outlines: list[Scene]) -> None:
    """Of the labelled facts that one region alone tells, most words stand in the outline of their case."""
    n_present = n_words = 0
    for case, scene in zip(cases, outlines, strict=True):
        words = realtext.content(scene.text).senses
        for fact in case.labels["facts"]:
            if len(fact["regions"]) == 1:
                region_words = realtext.content(case.texts.get(f"{case.name}/{fact['regions'][0]}", "")).senses
                mine = realtext.content(fact["text"]).words & region_words
                n_words += len(mine)
                n_present += len(mine & words)
    assert n_present / n_words >= 0.97, (n_present, n_words)


def test_no_statement_that_must_not_appear_is_a_sentence_of_an_outline(
    cases: list[Case], outlines: list[Scene]
) -> None:
    for case, scene in zip(cases, outlines, strict=True):
        sentences = {scene.text[s.start : s.end].strip(" .").casefold() for s in scene.sentences}
        assert not sentences & {one["text"].casefold() for one in case.labels["not"]}


def test_the_table_of_broken_sentences_knows_a_broken_one() -> None:
    broken = ["the cup is red.", "A cup and.", "A cup , red.", 'It says "NO.', "A cup is is red.", "At the left: "]
    assert all(realtext._is_broken(text) for text in broken)  # pyright: ignore[reportPrivateUsage]


def test_the_guard_lets_good_merges_pass_and_strikes_planted_errors(cases: list[Case]) -> None:
    guarding = realtext.guarding(cases)
    assert guarding.good_struck <= 0.02 * guarding.good, guarding
    assert guarding.planted_struck >= 0.95 * guarding.planted, guarding


def test_good_merges_as_replies_are_the_scenes_and_short(cases: list[Case]) -> None:
    merges = realtext.load_merges()
    params = Merge(writer="vlm", max_tokens=1024)
    texts = [
        realtext.scene_of(case, params, realtext.ScriptedVLM(realtext._once(merges[case.name]["good_merge"]))).text  # pyright: ignore[reportPrivateUsage]
        for case in cases
    ]
    assert realtext.length_ratio(cases, texts) <= 0.7
