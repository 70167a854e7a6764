"""What merging settles: contradictions, repeats, readings of text. Expected texts are derived by hand."""

from __future__ import annotations

from ouro.annotate.merging.inscriptions import with_reading
from ouro.annotate.merging.provenance import Piece, plain
from ouro.annotate.merging.region import Joined, join
from ouro.core.records import Decision, Region


def joined(own: str, *children: tuple[str, str]) -> Joined:
    return join(Piece(own, "0"), [((Piece(text, f"0.{i}"),), where) for i, (text, where) in enumerate(children)])


def text_of(own: str, *children: tuple[str, str]) -> str:
    return plain(joined(own, *children).marked)


def contradiction(region: str, text: str, rule: str) -> Decision:
    return Decision("contradiction", region, text, rule)


# ---- contradictions ------------------------------------------------------------------------------------------


def test_the_close_up_tells_the_color_of_its_object() -> None:
    got = joined("a desk with a blue wooden chair", ("a red chair", "left"))
    assert plain(got.marked) == "a desk with a red wooden chair at the left."
    assert got.decisions == [contradiction("0", "blue", "close_up_tells_looks")]


def test_names_keep_their_capitals() -> None:
    got = text_of("A shiny blue Vespa scooter by a wall.", ("A red Vespa scooter", "left"))
    assert got == "A shiny red Vespa scooter at the left by a wall."


def test_a_sentence_that_gives_the_wrong_color_is_put_right() -> None:
    got = joined("The second cup is blue.", ("a white cup", "left"), ("a green cup", "right"))
    assert plain(got.marked) == "The second cup at the right is green. There is a white cup at the left."
    assert got.decisions == [contradiction("0", "blue", "close_up_tells_looks")]


def test_shades_of_one_color_and_colors_of_a_pattern_are_no_contradiction() -> None:
    got = joined("a crimson car and a red and white flag", ("a red car", "left"), ("a white flag", "right"))
    assert got.decisions == [Decision("redundancy", "0.0", "red", "said_before")]
    assert plain(got.marked) == "a crimson car at the left and a red and white flag at the right."


def test_the_whole_tells_sizes() -> None:
    """Everything fills its own close-up."""
    got = joined("a small boat on a lake", ("a large boat with a sail", "center"))
    assert plain(got.marked) == "a small boat in the center on a lake. the boat has a sail."
    assert got.decisions == [contradiction("0.0", "large", "whole_tells_numbers_sizes_places")]


def test_the_whole_tells_how_many_there_are() -> None:
    got = joined("two cups on a tray", ("a red cup", "left"), ("a blue cup", "center"), ("a green cup", "right"))
    assert plain(got.marked) == (
        "two cups on a tray. one of the cups is a red cup at the left. another of the cups is a blue cup in the center."
    )
    assert got.decisions == [contradiction("0.2", "a green cup", "whole_tells_numbers_sizes_places")]


def test_a_group_keeps_the_number_that_the_whole_gives_it() -> None:
    got = joined("three birds on a wire", ("two black birds", "top"))
    assert plain(got.marked) == "three black birds at the top on a wire."
    assert got.decisions == [contradiction("0.0", "two", "whole_tells_numbers_sizes_places")]


def test_the_close_up_tells_what_a_thing_has() -> None:
    """The star contradicts, the ring repeats, the cup only the whole saw."""
    own = "a table. the table has a blue star at the top left, a ring and a cup."
    got = joined(own, ("a table with a red star at the top left and a dotted ring at the right", "left"))
    assert plain(got.marked) == (
        "a table at the left. the table has a cup. the table has a red star at the top left and a dotted ring at the "
        "right."
    )
    assert got.decisions == [
        contradiction("0", "a blue star at the top left", "close_up_tells_looks"),
        Decision("redundancy", "0", "a ring", "said_before"),
    ]


def test_the_close_up_tells_what_is_in_a_bottle() -> None:
    got = joined("a glass of juice on a bar", ("a tall glass of milk", "left"))
    assert plain(got.marked) == "a tall glass of milk at the left on a bar."
    assert got.decisions == [contradiction("0", "juice", "close_up_tells_looks")]


def test_another_place_is_another_thing_and_no_contradiction() -> None:
    got = joined("a red cup on the right", ("a blue cup", "left"))
    assert plain(got.marked) == "a red cup on the right. there is a blue cup at the left."
    assert got.decisions == []


# ---- redundancy ----------------------------------------------------------------------------------------------


def test_a_sentence_that_repeats_goes() -> None:
    got = joined("A dog. It barks. A dog. It barks.")
    assert plain(got.marked) == "A dog. It barks"
    assert got.decisions == [
        Decision("redundancy", "0", "A dog", "said_before"), Decision("redundancy", "0", "It barks", "said_before"),
    ]  # fmt: skip


def test_the_less_detailed_of_two_sentences_about_one_thing_goes() -> None:
    got = joined("a room", ("a cup", "left"), ("a red cup", "left"), ("a red cup", "right"))
    assert plain(got.marked) == "a room. there is a red cup at the left. there is a red cup at the right."
    assert got.decisions == [Decision("redundancy", "0.0", "there is a cup at the left", "said_before")]


def test_what_is_said_of_two_holders_is_no_repetition() -> None:
    text = "the table has a cup at the left. the shelf has a cup at the left"
    assert text_of(text) == text


def test_the_same_words_in_another_order_are_no_repetition() -> None:
    text = "the cat chases the dog. the dog chases the cat"
    assert text_of(text) == text


def test_a_denial_covers_nothing() -> None:
    text = "a room without a red cup. there is a red cup"
    assert text_of(text) == text


def test_an_attribute_that_the_phrase_has_is_not_said_again() -> None:
    assert text_of("a red ceramic mug on a shelf. the mug is red") == "a red ceramic mug on a shelf"


def test_what_the_parent_says_of_a_child_is_not_said_again() -> None:
    got = joined("A car parked on the street next to a bus.", ("A red car parked on the street", "left"))
    assert plain(got.marked) == "A red car at the left parked on the street next to a bus."
    assert got.decisions == [Decision("redundancy", "0.0", "The car is parked on the street", "said_before")]


def test_a_parent_as_detailed_as_its_children_is_merged_into_itself() -> None:
    """A trained annotator describes the whole scene in detail; merging once doubled such texts."""
    whole = "a table at the left. the table has a red star at the top and a blue ring at the bottom."
    table = ("a table with a red star at the top and a blue ring at the bottom.", "left")
    assert text_of(whole, table) == whole
    assert text_of(text_of(whole, table), table) == whole


def test_a_vague_mention_goes_and_is_recorded() -> None:
    got = joined("a shelf with some objects", ("a red star", "left"))
    assert plain(got.marked) == "a shelf. there is a red star at the left."
    assert got.decisions == [Decision("redundancy", "0", "with some objects", "vague_mention")]


# ---- text ----------------------------------------------------------------------------------------------------


def region(text: str, kind: str = "text") -> Region:
    return Region("r", "i", "p", 1, (0.0, 0.0, 9.0, 9.0), 0.9, "ocr", text, kind)


def test_text_of_several_words_is_quoted() -> None:
    line = region("FIRST PERIOD ENDING OCTOBER 7, 1963")
    quoted = 'a line of print that says "FIRST PERIOD ENDING OCTOBER 7, 1963"'
    assert with_reading("a line of print that says FIRST PERIOD ENDING OCTOBER 7, 1963", line) == (quoted, [])
    assert with_reading("a line of print.", line) == (quoted, [])
    assert with_reading(quoted, line) == (quoted, [])


def test_one_word_stays_as_nano_says_it() -> None:
    assert with_reading("a sign that says milk", region("milk")) == ("a sign that says milk", [])


def test_text_with_quotation_marks_of_its_own_is_quoted_in_others() -> None:
    assert with_reading("a page", region('the "best" film'))[0] == 'a page that says “the "best" film”'


def test_ocr_tells_text() -> None:
    got, decisions = with_reading('a sign that says "STPO HERE"', region("STOP HERE"))
    assert got == 'a sign that says "STOP HERE"'
    assert decisions == [contradiction("r", "STPO HERE", "ocr_tells_text")]
    got, decisions = with_reading("a sign that says mlik that says milk", region("milk"))
    assert (got, decisions) == ("a sign that says milk", [contradiction("r", "mlik", "ocr_tells_text")])


def test_another_text_in_the_same_region_is_no_misreading() -> None:
    got, decisions = with_reading('a poster that says "GRAND OPENING"', region("50% off"))
    assert (got, decisions) == ('a poster that says "GRAND OPENING" that says "50% off"', [])


def test_the_childs_reading_of_a_sign_replaces_the_parents() -> None:
    got = joined('A man holds a sign that says "STPO".', ('a sign that says "STOP HERE"', "top"))
    assert plain(got.marked) == 'A man holds a sign that says "STOP HERE" at the top.'
    assert got.decisions == [contradiction("0", '"STPO"', "close_up_tells_looks")]
