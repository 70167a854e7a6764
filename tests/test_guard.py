"""The guard: what it strikes with which reason, what it lets pass, and which regions bear a sentence out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ouro.annotate.merging.guard import Evidence, check_text
from ouro.annotate.merging.rewrite import evidence_of
from ouro.core.records import Conflict, Description, Region
from perf.realtext import evidence_of_case, read_case
from tests.helpers.trees import Said, records_of, tree_of

CAFE = {
    "0": Said("", "The image shows a cafe terrace with three round tables. A waiter is carrying a tray.", "a terrace"),
    "0.0": Said("top left", 'The image shows a green sign with a white border. It reads "CAFE ROMA".', "a sign"),
    "0.1": Said(
        "bottom right", "The image shows a brown dog lying under a wooden table. The dog has a red collar.", "a dog"
    ),
}
CAFE_TREE = evidence_of(tree_of(CAFE), "0")


def reasons(text: str, evidence: Evidence = CAFE_TREE) -> tuple[str, ...]:
    return tuple(reason for check in check_text(text, evidence) for reason in check.reasons)


@pytest.mark.parametrize(
    "text",
    [
        "A brown dog with a red collar lies beneath a table made of wood.",
        "The dog, which is brown, wears a collar that is red.",
        'At the top left is a green sign that says "Cafe Roma".',  # case is no other reading
        "A green, white-bordered sign hangs there.",
        "There are three round tables on the terrace.",
        "The terrace comprises three tables.",  # how lifeless things are put together is said in many ways
        "",
    ],
)
def test_what_is_told_passes_in_other_words(text: str) -> None:
    assert reasons(text) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A bicycle leans on the table.", "unknown_object"),
        ("The waiter is singing with a tray.", "unknown_word"),  # what people do is a fact
        ("The dog is black.", "attribute"),
        ("The dog has a green collar.", "attribute"),  # green is the sign
        ("There are four round tables.", "number"),
        ("The sign is at the bottom right.", "place"),
        ("A dog is lying on a wooden table.", "relation"),  # under it
        ('The sign reads "CAFE MILANO".', "quotation"),
        ('The dog wears the words "CAFE ROMA".', "quotation"),  # that is the sign's
    ],
)
def test_what_is_told_otherwise_or_by_nobody_has_its_reason(text: str, reason: str) -> None:
    assert reason in reasons(text)


KITCHEN = {
    "0": Said(
        "",
        "The image shows a kitchen. A woman is standing at the stove. On the left, there is a shelf with jars, and on "
        "the right, there's a door. A broom is leaning against the door. A stool stands beside the shelf.",
        "a kitchen",
    ),
    "0.0": Said("left", 'The image shows a blue jar with a lid. The label reads "SALT". It is on the shelf.', "a jar"),
    "0.1": Said("bottom left", 'The image shows a red jar. The label reads "TEA".', "a jar"),
    "0.2": Said("center", "A woman with glasses. She's stirring soup in a pot. Her coat is green.", "a woman"),
}
KITCHEN_TREE = evidence_of(tree_of(KITCHEN), "0")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The woman is sitting at the stove.", "attribute"),  # who stands does not sit
        ("A broom is leaning against the shelf.", "relation"),  # it leans against something else
        ('The red jar is labeled "SALT".', "quotation"),  # that is the blue one's
        ("The door is on the left.", "place"),  # the shelf is: each place is that of what follows it
        ("The lid is made of rubber.", "unknown_object"),
        ("A cleaner is wiping the floor near the car.", "unknown_object"),
    ],
)
def test_what_excludes_what_is_told_is_struck(text: str, reason: str) -> None:
    assert reason in reasons(text, KITCHEN_TREE)


@pytest.mark.parametrize(
    "text",
    [
        "She wears a green coat, and the atmosphere suggests that somebody is getting ready for a moment of calm.",
        "The woman is at the stove, stirring soup in a pot that is placed there.",
        'A blue jar, which carries the word "SALT", and a red one stand on the shelf on the left.',
    ],
)
def test_words_that_show_nothing_and_other_readings_pass(text: str) -> None:
    assert "unknown_word" not in reasons(text, KITCHEN_TREE)
    assert "relation" not in reasons(text, KITCHEN_TREE)


def test_each_sentence_has_its_span_and_the_regions_that_bear_it_out_in_order() -> None:
    text = 'A waiter carries a tray. The sign reads "CAFE ROMA". The dog has a red collar. A car is parked.'
    checks = check_text(text, CAFE_TREE)
    assert " ".join(text[c.start : c.end] for c in checks) == text
    assert [c.region_ids for c in checks] == [("0",), ("0.0",), ("0.1",), ()]
    assert checks[3].missing == ("unknown_object: car", "unknown_word: parked")


def test_of_a_conflict_settled_by_looking_only_what_was_kept_is_borne_out() -> None:
    said = {"0": Said("", "The image shows a black car."), "0.0": Said("left", "The image shows a blue car.", "a car")}
    regions, descriptions = records_of(said)
    values = {"black": Evidence.of(regions, descriptions, (), [_conflict("look")]), "open": _open(said)}
    assert reasons("The car is black.", values["black"]) == ("attribute",)
    assert reasons("The car is black.", values["open"]) == reasons("The car is blue.", values["black"]) == ()


def _conflict(rule: str) -> Conflict:
    return Conflict("colour", "car", ("0", "0.0"), ("black", "blue"), "blue", rule)


def _open(said: dict[str, Said]) -> Evidence:
    return Evidence.of(*records_of(said), (), [_conflict("")])


# ---- floors ----------------------------------------------------------------------------------------------------

TREES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "guard_trees.json").read_text("utf-8"))


def checked() -> Iterator[tuple[bool, bool]]:
    """(a planted error?, struck?) of the sentences of tests/data/guard_trees.json: forty-six trees in the form of
    realtext's cases, `true`: sentences of one rewriting, `planted`: sentences with one error each, `pairs`."""
    for tree in TREES:
        evidence = evidence_of_case(read_case(tree))
        yield from ((False, bool(c.missing)) for c in check_text(" ".join(tree["true"]), evidence))
        yield from ((True, bool(reasons(p["sentence"], evidence))) for p in tree["planted"])


def test_true_sentences_pass_and_planted_errors_are_struck() -> None:
    struck = list(checked())
    good = [is_struck for is_planted, is_struck in struck if not is_planted]
    planted = [is_struck for is_planted, is_struck in struck if is_planted]
    assert (len(good), len(planted)) == (383, 436)
    assert sum(good) <= 0.01 * len(good)
    assert sum(planted) >= 0.96 * len(planted)


# ---- hostile input ---------------------------------------------------------------------------------------------

HOSTILE = {
    "nothing": "",
    "one word": "Table",
    "3,000 characters": "bus " * 750,
    "one word of 3,000 letters": "b" * 3000,
    "another script": "桌子下面有一只棕色的狗。",
    "markup": "<b>A brown</b> **dog**",
    "control tokens": "<|im_start|>system You are<|im_end|>",
    "marks": '"“”`~.,;:!?',
    "a quotation that never ends": 'The sign reads "CAFE',
    "endless": "The dog has a red collar and a collar and " * 500,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_any_text_is_checked_and_any_description_is_evidence(text: str) -> None:
    for checks, of in (check_text(text, CAFE_TREE), text), (check_text("A dog.", Evidence.of_text(text)), "A dog."):
        assert all(0 <= c.start < c.end <= len(of) for c in checks)
        assert [c.start for c in checks] == sorted({c.start for c in checks})


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_any_name_leaves_what_is_told(name: str) -> None:
    said = {**CAFE, "0.1": CAFE["0.1"]._replace(name=name)}
    evidence = evidence_of(tree_of(said), "0")
    assert reasons("A brown dog has a red collar.", evidence) == ()
    assert "attribute" in reasons("The dog is black.", evidence)


@pytest.mark.timeout(120)  # a hang guard
def test_four_hundred_children_are_checked_soon() -> None:
    boxes = [(9.0 * (k % 20), 9.0 * (k // 20), 9.0 * (k % 20) + 8, 9.0 * (k // 20) + 8) for k in range(400)]
    regions = [Region("0", "i", None, 0, (0.0, 0.0, 180.0, 180.0), 1.0, "image", "", "scene")]
    regions += [Region(f"0.{k}", "i", "0", 1, box, 0.9, "rpn") for k, box in enumerate(boxes)]
    said = [Description("0", "i", "The image shows a shelf with many jars.", "v", name="a shelf")]
    said += [Description(f"0.{k}", "i", f'A red jar with the label "w{k}".', "v", name="a jar") for k in range(400)]
    evidence = Evidence.of(regions, said)
    text = " ".join(f'A red jar has the label "w{k}".' for k in range(400))
    assert not any(c.missing for c in check_text(text, evidence))
    assert "attribute" in reasons("A green jar is on the shelf.", evidence)
