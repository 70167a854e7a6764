"""The writer `outline`: the whole picture's own sentences as they are, then every region under its place, once.

    The image shows a red motorcycle parked in a garage. There are metal shelves filled with boxes. At the top right is
    the set of gray metal shelves with cardboard boxes. The wheel at the left: it is silver and has a black tire.

Prose in one paragraph and no list, since it is what a model is trained to say of a picture: cleaning would take a
list's marks away from what that model says in the next round. No word inside a sentence is written anew. A child's
lead-in ("The image shows a close-up of") gives way to its place, what is marked as true of a crop alone, as a guess or
as filler is left out where a whole sentence remains, and a sentence that says nothing new is left out and recorded.
So is a clause or an end of one that was told (tails.py), and a thing that is named above gets only what it lacks: "The
cup at the top has a layer of crema."
A child that its parent names is "the helmet", so that nobody counts two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.chunks import DETERMINERS, PARTICIPLES
from ouro.annotate.english.free_text import read_name
from ouro.annotate.english.kinds import is_known, noun
from ouro.annotate.english.phrases import BOUNDARY, NUMBERS, WORD, is_plural, sentences, words_of
from ouro.annotate.merging.budget import Line
from ouro.annotate.merging.provenance import Marked, Piece, told_by
from ouro.annotate.merging.repeats import content, news
from ouro.annotate.merging.tails import (
    Context,
    drop_repeated_end,
    drop_repeated_start,
    is_of_another,
    short_name,
    what_it_has,
)
from ouro.annotate.merging.tree import Tree
from ouro.annotate.merging.trimming import Trimmed, main_verb, trim
from ouro.core.boxes import relative_position
from ouro.core.records import Decision, Description, Match, Region

REPEATED = "said_before"
ASIDE = 3  # of a sentence about another region's object more than every third word has to be news
LONGEST_NAME = 60  # characters; what is longer is a sentence and no name
_INDEFINITE = re.compile(r"an? ", re.IGNORECASE)
_STARTS_INDEFINITE = re.compile(rf"(?:an?|some|several|many|{'|'.join(sorted(set(NUMBERS) - {'a', 'an'}))})\s", re.I)
_ENDS = re.compile(r"[.!?…][\"”’)]*$")
_PRONOUN = re.compile(r"(?:it|they|he|she|its|their|his|her|this|these)\b", re.IGNORECASE)


class Outline(NamedTuple):
    """The lines of a composed description, and what was left out."""

    lines: list[Line]
    decisions: list[Decision]


def outline(tree: Tree, root: str, captions: Sequence[str] = ()) -> Outline:
    """The outline of a region and all below it; places are those in the region's own frame.

    `captions`: sentences that come first.
    """
    return _Writer(tree, root).write(captions)


class _Entry(NamedTuple):
    """A child while it is written: its ancestors, root first, and where it is named in one of them."""

    region: Region
    description: Description
    ancestors: tuple[str, ...]
    match: Match | None
    place: str


class _Writer:
    def __init__(self, tree: Tree, root: str) -> None:
        self.tree, self.root = tree, root
        self.lines: list[Line] = []
        self.decisions: list[Decision] = []
        self.texts: dict[str, list[str]] = {}
        named = (d.name for d in tree.descriptions.values())
        self._others = frozenset[str]().union(*(content(noun(name)).words for name in named))  # what regions show
        self.starts: dict[str, list[tuple[int, int]]] = {}  # region -> (character of its text, line) of its sentences

    def write(self, captions: Sequence[str]) -> Outline:
        for caption in captions:
            self._tell(self.root, caption, (Piece(caption, self.root),))
        description = self.tree.descriptions[self.root]
        for start, end in sentences(description.text):
            text = description.text[start:end]
            if captions and not news(text, map(content, self.texts[self.root])):
                self.decisions.append(Decision("redundancy", self.root, text, REPEATED))
                continue
            filler = any(m.kind == "filler" and m.start < end and start < m.end for m in description.marks)
            self._tell(self.root, text, (Piece(text, self.root),), filler=filler, at=start)
        for child in self.tree.children(self.root):
            self._child(child, (self.root,))
        return Outline(self.lines, self.decisions)

    def _tell(
        self, region: str, text: str, marked: Marked, *, filler: bool = False, at: int = 0, leans_on: int = -1
    ) -> None:
        self.starts.setdefault(region, []).append((at, len(self.lines)))
        self.texts.setdefault(region, []).append(text)
        self.lines.append(Line(marked, told_by(marked), filler, leans_on))

    def _child(self, region: Region, ancestors: tuple[str, ...]) -> None:
        frame = self.tree.regions[self.root].box
        match = self.tree.match_in(region.region_id, ancestors)
        description = self.tree.descriptions[region.region_id]
        entry = _Entry(region, description, ancestors, match, relative_position(region.box, frame))
        first = -1
        for sentence in trim(description):
            reason = self._objection(entry, sentence, first)
            if reason:
                self.decisions.append(Decision("redundancy", region.region_id, sentence.sentence, reason))
            else:
                sentence = self._drop_repeats(entry, sentence)
                marked = (
                    self._open_sentence(entry, sentence)
                    if first < 0
                    else (Piece(_complete_sentence(sentence), region.region_id),)
                )
                leans = self._introduction(match) if first < 0 else first
                first = len(self.lines) if first < 0 else first
                self._tell(region.region_id, sentence.text, marked, at=sentence.start, leans_on=leans)
        for child in self.tree.children(region.region_id):
            self._child(child, (*ancestors, region.region_id))

    def _objection(self, entry: _Entry, sentence: Trimmed, first: int) -> str:
        """Why a sentence is left out; "" where it stays."""
        if sentence.reason:
            return sentence.reason
        object_words = self._own_words(entry)
        words = content(sentence.text).words
        about = not object_words or _PRONOUN.match(sentence.text) is not None or bool(object_words & words)
        context = self._context(entry)
        all_texts = (text for region in self.texts.values() for text in region)
        contents = [content(text) for text in (context.sentences if about else all_texts)]
        is_same = entry.match is not None and entry.match.how == "same"
        fresh = news(sentence.text, contents, content(noun(entry.description.name) if is_same else "").words)
        aside = not about and bool(words & self._others)
        enough = len(words) // ASIDE if aside else 0
        return "" if len(fresh) > enough or (about and is_of_another(sentence.text, context)) else REPEATED

    def _drop_repeats(self, entry: _Entry, sentence: Trimmed) -> Trimmed:
        """The sentence without a clause or an end that its region or those above it have told."""
        context = self._context(entry)
        later = drop_repeated_start(sentence.text, context)
        shorter = drop_repeated_end(later.text, context)
        for part in filter(None, (later.cut, shorter.cut)):
            self.decisions.append(Decision("redundancy", entry.region.region_id, part, REPEATED))
        return sentence._replace(text=shorter.text)

    def _open_sentence(self, entry: _Entry, sentence: Trimmed) -> Marked:
        """The first sentence of a child with its place; of a thing that is named above only what that lacks."""
        context, name = self._context(entry), _label(entry)
        is_phrase = sentence.lead_in or _STARTS_INDEFINITE.match(sentence.text)
        named = context._replace(sentences=[*context.sentences, name])
        part = what_it_has(sentence.text, named) if name and is_phrase and entry.match else ""
        if not part:
            return _open_sentence(entry, sentence)
        name = short_name(name, context)
        verb = "have" if _opens_plural(name) else "has"
        return (Piece(f"{_upper(name)} {at_place(entry.place)} {verb} {part}", entry.region.region_id),)

    def _context(self, entry: _Entry) -> Context:
        texts = [text for region in (*entry.ancestors, entry.region.region_id) for text in self.texts.get(region, ())]
        above = [self.tree.descriptions[ancestor].name for ancestor in entry.ancestors]
        return Context(texts, _nouns(self._names(entry)), _nouns(above))

    def _own_words(self, entry: _Entry) -> frozenset[str]:
        """What a child's own object is called, by itself and by those that name it."""
        return frozenset[str]().union(*(content(name).senses for name in self._names(entry)))

    def _names(self, entry: _Entry) -> list[str]:
        names = [entry.description.name]
        if entry.match is not None:
            text = self.tree.descriptions[entry.match.parent_id].text
            names.append(text[entry.match.start : entry.match.end])
        return names

    def _introduction(self, match: Match | None) -> int:
        """The line in which the region's object is named before; -1 without one."""
        if match is None:
            return -1
        return max((line for at, line in self.starts.get(match.parent_id, ()) if at <= match.start), default=-1)


# ---- how an entry begins ---------------------------------------------------------------------------------------


def _open_sentence(entry: _Entry, sentence: Trimmed) -> Marked:
    """The first sentence of a child with its place, and with its name where it does not open with it."""
    region, where = entry.region.region_id, at_place(entry.place)
    text = sentence.text
    if (sentence.lead_in and not text.startswith(('"', "“"))) or _STARTS_INDEFINITE.match(text):
        is_phrase = main_verb(text) is None
        if is_phrase and _names(entry, text):
            verb = "are" if _opens_plural(text) else "is"
            return (Piece(f"{_upper(where)} {verb} {_definite(entry, text)}", region),)
        if not is_phrase and _STARTS_INDEFINITE.match(text):
            return (Piece(f"{_upper(where)}, {_lower(text)}", region),)
    name = _label(entry)
    return (Piece(f"{_upper(f'{name} {where}' if name else where)}: {_lower(text)}", region),)


def _complete_sentence(sentence: Trimmed) -> str:
    """A later sentence of a child's; a bare phrase ("A round cover with a label.", of a list) is said to be there."""
    text = sentence.text if _ENDS.search(sentence.text) else f"{sentence.text}."
    if main_verb(text) is None and (sentence.lead_in or _STARTS_INDEFINITE.match(text) or text != sentence.text):
        return f"There {'are' if _opens_plural(text) else 'is'} {_lower(text)}"
    return text


def at_place(place: str) -> str:
    """ "top left" -> "at the top left"; "center" -> "in the center"."""
    return "in the center" if place == "center" else f"at the {place}"


def _label(entry: _Entry) -> str:
    """What an entry is called: its name, definite where its parent named it; "" without one that is a name."""
    name = entry.description.name.strip().rstrip(".")
    if not WORD.search(name) or len(name) > LONGEST_NAME or re.search(r"[.!?:;\n]", name):
        return ""
    return _definite(entry, _lower(name))


def _definite(entry: _Entry, phrase: str) -> str:
    """ "a helmet" is "the helmet" where the text has named it before."""
    phrase = _lower(phrase)
    is_same = entry.match is not None and entry.match.how == "same"
    return _INDEFINITE.sub("the ", phrase, count=1) if is_same and _INDEFINITE.match(phrase) else phrase


def _names(entry: _Entry, text: str) -> bool:
    """Whether the phrase that a text opens with says what the region's name says."""
    name = content(entry.description.name).words
    return not name or bool(name & content(" ".join(_leading(text))).words)


def _nouns(names: Sequence[str]) -> frozenset[str]:
    """The canonical nouns of names, with their synonyms."""
    phrases = filter(None, map(read_name, names))
    return frozenset[str]().union(*(content(phrase.noun).senses for phrase in phrases))


def _leading(text: str) -> list[str]:
    """The words of the noun phrase that a text opens with; "a set of shelves" is all of them."""
    words: list[str] = []
    for word in words_of(text)[:12]:
        if words and word in BOUNDARY and word not in ("of", "and") and words[-1] not in DETERMINERS:
            break
        words.append(word)
    return words


def _opens_plural(text: str) -> bool:
    first = words_of(text)[:1]
    if first and first[0] in ("a", "an", "one", "the", "another", "this"):
        return first[0] == "the" and bool(head := _head(text)) and is_plural(head)
    return bool(head := _head(text)) and (is_plural(head) or NUMBERS.get(first[0], 1) > 1)


def _head(text: str) -> str:
    words = _leading(text)
    end = words.index("of") if "of" in words else len(words)
    return words[end - 1] if end else ""


def _lower(text: str) -> str:
    """With a small first letter, unless the first word is a name."""
    first, second = [*words_of(text)[:2], "", ""][:2]
    is_look = (
        bool(readings(first)) or first.endswith("ed") or first in PARTICIPLES or (is_plural(first) and is_known(first))
    )
    is_common = first in _COMMON or (is_look and second in text)  # no "United Airlines"
    return text[:1].lower() + text[1:] if is_common else text


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


_COMMON = frozenset(
    (
        "a an the one two three four five six seven eight nine ten some several many another each both this these "
        "there it its they their he his she her in on at inside behind below above under next near around to"
    ).split()
)
