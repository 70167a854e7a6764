"""The table of synonyms and kinds: what it says of everyday things, and that it is the code's own."""

from __future__ import annotations

import pytest

from ouro.annotate.english import kinds
from ouro.annotate.english.kinds import TableError, is_kind_of, kinds_of, names_in, noun, same_thing, table


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("sofa", "couches"), ("an old sofa", "leather couch"), ("traffic lights", "stoplight"), ("bicycle", "bike"),
        ("fridge", "Refrigerator"), ("backpack", "rucksack"), ("T-shirt", "tee shirts"), ("wug", "wugs"),
        ("trash can", "dustbin"), ("knives", "knife"),
    ],
)  # fmt: skip
def test_these_are_one_thing(a: str, b: str) -> None:
    assert same_thing(a, b) and same_thing(b, a) and not is_kind_of(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("dog", "cat"), ("traffic light", "light"), ("man", "woman"), ("cup", "saucer"), ("", ""), ("a", ""),
        ("hot dog", "dog"), ("字", "山"), ("fire truck", "fire"),
    ],
)  # fmt: skip
def test_these_are_not(a: str, b: str) -> None:
    assert not same_thing(a, b)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dog", "animal"), ("kittens", "cat"), ("alarm clock", "clock"), ("traffic light", "light"),
        ("oven", "appliance"),
        ("teaspoon", "spoon"), ("skyscraper", "building"), ("nurse", "person"), ("table", "surface"),
        ("lake", "body of water"),
        ("heading", "text"), ("tulip", "flower"), ("sparrow", "bird"), ("violin", "musical instrument"),
    ],
)  # fmt: skip
def test_this_is_a_kind_of_that_and_not_the_other_way_round(name: str, kind: str) -> None:
    assert is_kind_of(name, kind) and not is_kind_of(kind, name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("dog", "dog"), ("couch", "sofa"), ("hot dog", "dog"), ("cup", "ship"), ("", "animal"), ("dog", "")],
)
def test_this_is_no_kind_of_that(name: str, kind: str) -> None:
    assert not is_kind_of(name, kind)


def test_a_noun_is_the_longest_name_of_the_table() -> None:
    assert [noun(n) for n in ("two old Traffic-Lights", "a big wug", "wugs", "")] == ["traffic light", "wug", "wug", ""]


def test_names_that_are_no_names_have_one_outcome() -> None:
    endless = "x" * 3000
    assert same_thing(endless, endless) and not is_kind_of(endless, "thing") and kinds_of(endless) == frozenset()
    sentence = "it seems that there is a dog " * 300 + "dog"
    assert noun(sentence) == "dog" and same_thing(sentence, "dog")


def test_every_line_of_the_table_holds_several_names_and_each_group_is_there_once() -> None:
    groups = [names_in(line) for part in table()["names"].values() for line in part]
    assert len(groups) > 500 and all(len(set(group)) == len(group) > 1 for group in groups)
    everyday = [name for line in table()["names"]["everyday"] for name in names_in(line)]
    assert len(set(everyday)) == len(everyday)
    assert set(table()["names"]) | set(table()["kinds"]) <= set(table()["sources"])


def test_a_changed_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "SHA256", "0" * 64)
    table.cache_clear()
    with pytest.raises(TableError, match=r"kinds\.json: its SHA-256 is .*expected 0000"):
        table()
    monkeypatch.undo()
    assert table()
