"""Lead-ins, frame claims, guesses and filler of replies; expected spans are read off by hand."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from ouro.annotate.marks import find_marks, lead_in_end


def marked(text: str, whole: bool = False) -> list[tuple[str, str]]:
    return [(mark.kind, text[mark.start : mark.end]) for mark in find_marks(text, whole)]


@pytest.mark.parametrize(
    ("text", "lead"),
    [
        ("The image shows a close-up of a gas stove.", "The image shows a close-up of "),
        ("The image depicts two cyclists on a bridge.", "The image depicts "),
        ("This is a detailed close-up photo of a beetle.", "This is a detailed close-up photo of "),
        ("A close-up view of an old coin.", "A close-up view of "),
        ("This black-and-white photograph captures a harbor.", "This black-and-white photograph captures "),
        ("In this image, we can see a goat.", "In this image, we can see "),
        ("Handlebar: The image shows a grip.", "Handlebar: The image shows "),
        ('The image contains the following text: "EXIT"', "The image contains the following text: "),
        ('The text in the image reads "OPEN DAILY".', "The text in the image reads "),
    ],
)
def test_a_lead_in_ends_where_the_thing_is_named(text: str, lead: str) -> None:
    assert marked(text) == [("lead_in", lead)] and lead_in_end(text) == len(lead)


@pytest.mark.parametrize(
    "text",
    [
        "A dog sleeps on a rug.",
        "The dog shows its teeth.",
        "A painting of a horse hangs above the sofa.",
        'The sign reads "The image shows a close-up of possibly nothing".',
        "It creates an index of the pages.",
        "The cream is likely-looking",
        "",
        " . ",
        "图片中是一只猫。",
    ],
)
def test_plain_facts_and_quotations_are_left_alone(text: str) -> None:
    assert marked(text) == [] and lead_in_end(text) == 0


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("A white boat. The background is blurred.", "The background is blurred."),
        ("A partially visible red kite.", " partially visible"),
        ("A tram that is out of focus.", " that is out of focus"),
        ("A part of a ladder is visible in the foreground.", "A part of a ladder is visible in the foreground."),
        ("The tap is dry, and part of a towel is visible on the left.", ", and part of a towel is visible on the left"),
        ("There is a mug in the blurred background.", " in the blurred background"),
        ("A cow is standing at the left edge of the image.", " at the left edge of the image"),
    ],
)
def test_what_holds_of_the_crop_alone_is_marked_unless_the_text_is_of_the_whole(text: str, frame: str) -> None:
    assert marked(text) == [("frame", frame)] and marked(text, whole=True) == []


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("A brown animal, possibly a fox or a dog. It is lying down.", ", possibly a fox or a dog"),
        ("It appears to be a ferry or a cargo ship.", "It appears to be a ferry or a cargo ship."),
        ("A round fruit, which could be a plum.", ", which could be a plum"),
        ("The building is probably a school.", "The building is probably a school."),
        ("Perhaps it is a market.", "Perhaps it is a market."),
    ],
)
def test_a_guess_is_marked(text: str, guess: str) -> None:
    assert marked(text) == marked(text, whole=True) == [("guess", guess)]


def test_how_a_thing_looks_is_no_guess() -> None:
    assert marked("The cloth appears to be slightly wet.") == []


@pytest.mark.parametrize(
    ("text", "filler"),
    [
        ("Overall, the scene is lively.", "Overall, the scene is lively."),
        ("The atmosphere is warm, with soft light.", "The atmosphere is warm, with soft light."),
        ("Steam rises from the pan, creating a sense of motion.", ", creating a sense of motion"),
        ("The door is open, suggesting that the shop is open.", ", suggesting that the shop is open"),
        ("The reeds add depth to the scene.", " add depth to the scene"),
        ("The lighting is soft.", "The lighting is soft."),
    ],
)
def test_filler_is_marked(text: str, filler: str) -> None:
    assert marked(text) == marked(text, whole=True) == [("filler", filler)]


def test_marks_of_one_text_are_in_order_and_never_overlap() -> None:
    text = "The image shows a van, likely a taxi, in the foreground. The overall mood is calm, suggesting a Sunday."
    assert marked(text) == [
        ("lead_in", "The image shows "),
        ("guess", ", likely a taxi"),
        ("frame", ", in the foreground"),
        ("filler", "The overall mood is calm, suggesting a Sunday."),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "in the " * 30_000,
        " " * 200_000 + ".",
        ", and part of " * 15_000,
        ", maybe" * 20_000,
        "a" * 200_000,
        "is " * 60_000,
    ],
)
def test_endless_replies_take_linear_time(text: str) -> None:
    start = time.perf_counter()
    marks = find_marks(text, whole=False)
    assert time.perf_counter() - start < 20
    assert all(a.end <= b.start for a, b in pairwise(marks))


def test_control_tokens_and_markup_are_text_like_any_other() -> None:
    assert marked("<|im_start|>The image shows <b>a cat</b>.<|im_end|>") == []
