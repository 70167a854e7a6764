"""What models write: judged, mended, taken apart into pairs. Any text is taken, nothing is lost."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.annotate.degenerate import Reading, read_reply, without_repeats
from ouro.annotate.pairs.replies import Leftover, Written, parse_pairs, parse_reply

ANY = st.text(st.characters(), max_size=300)  # lone surrogates, too, as "\ud800" in a JSON string makes them
MARKS = ["a cat", "9", " ", "\n", "# ", "- ", "1. ", "**", "*", "_", "`", "```", "|", "~~", "[", "](", ")", "."]
TAGS = ["<b>", "</b", "<", ">", "<|im_end|>", "<|im_start|>", "user", "<think>", "</think>", "</s>", "\u200b", "\x00"]
MARKUP = st.lists(st.sampled_from(MARKS + TAGS), max_size=40).map("".join)

# ---- replies that went wrong ---------------------------------------------------------------------------------

LIMIT = 20  # tokens; 15 words or marks may have used them up


@pytest.mark.parametrize(
    ("reply", "reading"),
    [
        ("", Reading("", "empty_reply")),
        ("<|im_end|>", Reading("", "empty_reply")),
        ("...", Reading("", "empty_reply")),
        ("a star", Reading("a star")),
        # endless
        (
            "The room is small. There is a table by the window and on it there is a lamp with",
            Reading("The room is small."),
        ),
        ("there is a table by the window and on it there is a lamp with a green", Reading("", "cut_off")),
        ("The room is small. There is a table by the", Reading("The room is small. There is a table by the")),
        ("a table with a star, a circle, a ring", Reading("a table with a star, a circle, a ring")),  # too short
        (
            "The room is small. There is a table by the window and on it there is a lamp.",
            Reading("The room is small. There is a table by the window and on it there is a lamp."),
        ),
        ("She met Dr. Smith by the window and on the table there is a lamp with a", Reading("", "cut_off")),
        # repeating
        (
            "The cat is black. It sleeps here. The cat is black. It sleeps here.",
            Reading("The cat is black. It sleeps here."),
        ),
        ("The cat is black. It sleeps here. The cat is black. It sle", Reading("The cat is black. It sleeps here.")),
        (
            "a table with a dog and a dog and a dog and a dog and a dog and a dog and a do",
            Reading("a table with a dog"),
        ),
        ("red " * 30, Reading("", "degenerate")),
        ("h" + "a" * 400, Reading("", "degenerate")),
        ("a red star. " * 20, Reading("", "degenerate")),
        # five stars in a list are a list
        ("a star, a star, a star, a star and a star", Reading("a star, a star, a star, a star and a star")),
        ("a long, long, long road", Reading("a long, long, long road")),
        # another script
        ("一只黑猫坐在椅子上", Reading("", "other_script")),
        ("кот сидит на стуле", Reading("", "other_script")),
        ("a shop called кот", Reading("a shop called кот")),
        ("12:30", Reading("12:30")),
        ("ein Café in Łódź", Reading("ein Café in Łódź")),
    ],
)
def test_replies_that_went_wrong_are_mended_or_have_a_reason(reply: str, reading: Reading) -> None:
    assert read_reply(reply, LIMIT) == reading


def test_a_script_is_welcome_where_the_prompt_or_the_picture_has_it() -> None:
    assert read_reply("кот сидит на стуле", LIMIT, expected="describe the image. КОТ") == Reading("кот сидит на стуле")
    assert read_reply("кот сидит на стуле", LIMIT, expected="describe the image. 猫").reason == "other_script"


def test_a_loop_explains_the_length_of_a_reply_without_a_sentence() -> None:
    reply = "a wooden table that holds a red cup next to " + "a blue cup and " * 12
    assert read_reply(reply, LIMIT) == Reading("a wooden table that holds a red cup next to a blue cup")


@settings(deadline=None)
@given(ANY | MARKUP, st.integers(1, 60), ANY)
def test_every_reply_has_a_text_or_a_reason(reply: str, limit: int, expected: str) -> None:
    reading = read_reply(reply, limit, expected)
    assert bool(reading.text) != bool(reading.reason)
    assert reading.reason in ("", "empty_reply", "cut_off", "degenerate", "other_script")


LOOPS = st.lists(
    st.tuples(st.sampled_from(["a", "a b", "a b c.", "the cat sat. ", "x, ", "and"]), st.integers(1, 9)), max_size=6
).map(lambda parts: " ".join(f"{text} " * times for text, times in parts))


@settings(deadline=None)
@given(LOOPS)
def test_taking_repetitions_out_twice_changes_nothing_more_and_invents_no_word(text: str) -> None:
    once = without_repeats(text)
    assert without_repeats(once) == once
    assert set(re.findall(r"\w+", once)) <= set(re.findall(r"\w+", text))


# ---- pairs ---------------------------------------------------------------------------------------------------

RED, TWO = Written("What color is it?", "red"), Written("How many are there?", "two")
PAIRS = [{"question": RED.question, "answer": RED.answer}, {"question": TWO.question, "answer": TWO.answer}]
DUMPED = json.dumps(PAIRS, indent=1)


@pytest.mark.parametrize(
    "reply",
    [
        DUMPED,
        json.dumps({"qa": PAIRS}),
        json.dumps({"image": {"pairs": PAIRS}}),
        f"```json\n{DUMPED}\n```",
        DUMPED.replace("}", ",}").replace("\n]", ",\n]"),  # trailing commas
        "\n".join(json.dumps(pair) for pair in PAIRS),  # JSON lines
        repr(PAIRS),  # Python's quotes
        DUMPED.replace('"question"', '"Q"').replace('"answer"', '"A"'),
        DUMPED[:-4],  # cut off behind the last string
        json.dumps({RED.question: RED.answer, TWO.question: TWO.answer}),
        json.dumps({"questions": [RED.question, TWO.question], "answers": [RED.answer, TWO.answer]}),
        DUMPED.replace("?", ""),
        DUMPED.replace('",\n', '"\n'),  # no commas
        '{"q_1": "What color is it?", "a_1": "red", "q_2": "How many are there?", "a_2": "two"}',
        "Q: What color is it? A: red\nQ: How many are there? A: two",
        "Q1. What color is it?\nA1. red\nQ2. How many are there?\nA2. two",
        "1. What color is it? - Red\n2. How many are there? - Two".lower()
        .replace("what", "What")
        .replace("how", "How"),
        "1) **What color is it?** (Answer: red)\n2) **How many are there?** (Answer: two)",
        "| Question | Answer |\n|---|---|\n| What color is it? | red |\n| How many are there? | two |",
        'User: What color is it?\nAssistant: "red".\nUser: How many are there?\nAssistant: *two*',
        "<p>Q: What color is it?<br>A: red</p><p>Q: How many are there?<br>A: two</p><|im_end|>",
        "Q：<What color is it?> A：<red>.\nQ：<How many are there?> A：<two>.",
        "What color is it? red. How many are there? two.",
        "<think>What may they want?</think>What color is it? red. How many are there? two.",
    ],
)
def test_pairs_are_found_in_every_form_that_models_write(reply: str) -> None:
    assert parse_pairs(reply) == [RED, TWO]


def test_json_says_itself_where_it_was_cut_off() -> None:
    cut = DUMPED[: DUMPED.index("two") + 1]
    assert parse_reply(cut) == [RED, Leftover("How many are there? t", "cut_off")]
    assert parse_reply(DUMPED[: DUMPED.index("many")]) == [RED, Leftover("How", "cut_off")]
    assert parse_reply('[{"question": "How many are there?", "answer": 1') == [
        Leftover("How many are there? 1", "cut_off")
    ]


def test_other_fields_and_the_prose_around_json_are_left_over() -> None:
    reply = 'Sure: [{"id": 7, "aspect": "style", "question": "Is it red?", "answer": true, "why": "I see it."}] Done!'
    assert parse_reply(reply) == [
        Leftover("Sure: [", "unparsable"),
        Written("Is it red?", "yes"),
        Leftover("id 7", "other_field"),
        Leftover("aspect style", "other_field"),
        Leftover("why I see it", "other_field"),
        Leftover("] Done!", "unparsable"),
    ]


def test_quotes_and_escapes_inside_json_strings_are_kept() -> None:
    reply = r'{"question": "What does the sign "open" say?", "answer": "caf\u00e9 \ud83d\ude00 \ud800\n\"x\""}'
    assert parse_reply(reply) == [Written('What does the sign "open" say?', 'café 😀 "x"')]


def test_thinking_is_no_pair_but_is_accounted_for() -> None:
    got = parse_reply("<think>What is it? A cat.</think>Q: What is it? A: dog")
    assert got == [Leftover("What is it? A cat.", "thinking"), Written("What is it?", "dog")]


WORDS = ["red", "blue", "star", "dog", "milk", "tea"]
PHRASE = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
ASKED = st.lists(st.tuples(PHRASE.map(lambda text: f"what {text}?"), PHRASE), min_size=1, max_size=4)


def _words(text: str) -> list[str]:
    return sorted(re.findall("|".join(WORDS), text))


def _told(reply: str, limit: int = 0) -> str:
    return " ".join(" ".join(p) if isinstance(p, Written) else p.text for p in parse_reply(reply, limit))


@settings(deadline=None)
@given(ASKED, st.sampled_from(["json", "qa", "lines", "repr", "prose"]))
def test_valid_replies_are_read_whole(pairs: list[tuple[str, str]], form: str) -> None:
    rows = [{"question": q, "answer": a} for q, a in pairs]
    reply = {
        "json": json.dumps(rows),
        "qa": json.dumps({"qa": rows}),
        "lines": "\n".join(f"Q: {q}\nA: {a}" for q, a in pairs),
        "repr": repr(rows),
        "prose": " ".join(f"{q} {a}." for q, a in pairs),
    }[form]
    assert parse_reply(reply) == [Written(q, a) for q, a in pairs]


DAMAGE = st.lists(st.tuples(st.integers(0, 400), st.sampled_from([*"\"'{}[],:?. \n<|*-", ""])))


@settings(deadline=None)
@given(ASKED, DAMAGE, st.data())
def test_no_word_of_a_damaged_json_reply_is_lost(
    pairs: list[tuple[str, str]], damage: list[tuple[int, str]], data: st.DataObject
) -> None:
    """A mark put in anywhere between words, a mark taken out anywhere, an end broken off: the words stay.

    No backslash: in JSON the word behind it is another one ("\\red" is a line break and "ed").
    """
    reply = json.dumps([{"question": q, "answer": a} for q, a in pairs])
    for at, mark in damage:
        gaps = [m.start() for m in re.finditer(r"\b|(?<=\W)(?=\W)", reply)] or [0]
        gap = gaps[at % len(gaps)]
        out = gap < len(reply) and not reply[gap].isalnum() and not mark
        reply = reply[:gap] + mark + reply[gap + out :]
    reply = reply[: data.draw(st.integers(0, len(reply)))]
    assert _words(_told(reply)) == _words(reply), reply


@settings(deadline=None)
@given(ANY | MARKUP | st.text("qa{}[]\"':?.,\\ \n-*|<>12", max_size=200), st.integers(0, 50))
def test_any_text_is_taken_apart_without_failing(reply: str, limit: int) -> None:
    for piece in parse_reply(reply, limit):
        if isinstance(piece, Written):
            assert piece.question.endswith("?") and 4 <= len(piece.question) <= 300
            assert re.search(r"\w", piece.answer) and len(piece.answer) <= 120
            " ".join(piece).encode()
        else:
            assert piece.reason in ("unparsable", "cut_off", "thinking", "other_field")


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "reply",
    [unit * (MEGABYTE // len(unit)) for unit in ("q ", '"', '?":', "<b", '\\"', "[](", "a b c ")]
    + [head + tail * MEGABYTE for head in ("q", '{"question": "', "Q: what?") for tail in (" ", "\\", "{")],
    ids=lambda reply: f"{reply[:16]}...{reply[-2:]}",
)
def test_a_megabyte_of_anything_is_read(reply: str) -> None:
    """What took time by the square of its length would run for hours, and into the time limit of the tests."""
    pieces = parse_reply(reply, 280)
    assert sum(len(" ".join(p) if isinstance(p, Written) else p.text) for p in pieces) <= 2 * len(reply)
    assert read_reply(reply, 48).reason in ("", "empty_reply", "cut_off", "degenerate")
