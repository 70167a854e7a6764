"""What is told, as words: which sentences of one region tell all of some words, whatever a reading makes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD, is_adjective
from ouro.annotate.english.kinds import is_kind_of, is_known, same_thing
from ouro.annotate.english.phrases import NUMBERS
from ouro.annotate.prose.likeness import opposed, readings, same_look
from ouro.annotate.prose.things import Reading, Thing, stem, stems


class Passage(NamedTuple):
    """One sentence: its words in order, their stems, and the stems of all that its region tells."""

    source: int
    words: tuple[str, ...]
    stems: frozenset[str]
    around: frozenset[str]
    things: tuple[Thing, ...]
    names: tuple[str, ...]  # of its region and the whole

    @property
    def topic(self) -> frozenset[str]:
        return stems(" ".join(self.names))

    @property
    def nouns(self) -> frozenset[str]:
        return frozenset(t.noun for t in self.things)


class Passages:
    """The sentences of all regions. `readings`: (region's name, reading) each."""

    def __init__(self, regions: Sequence[tuple[str, Reading]]) -> None:
        self._regions = regions

    @cached_property
    def _all(self) -> list[Passage]:
        found: list[Passage] = []
        for source, (name, reading) in enumerate(self._regions):
            around = stems(f"{name} {reading.text}")
            for number, (start, end) in enumerate(reading.sentences):
                words = tuple(w.lower() for w in WORD.findall(reading.text[start:end]))
                things = tuple(t for t in reading.things if t.sentence == number)
                found.append(
                    Passage(source, words, stems(" ".join(words)), around, things, (name, self._regions[0][0]))
                )
        return found

    def tell(self, words: Iterable[str], about: Iterable[str], near: bool = False) -> bool:
        """Whether one sentence tells all `words`, each attribute and number of the noun that follows it in `words`,
        and its region, name included, all words of `about`; `near`: the sentence itself, with what the region is of."""
        words, about = list(words), list(about)
        return any(
            all(_tells(p, w) for w in words)
            and all(_tells_near(p, w) if near else _tells_around(p, w) for w in about)
            and all(_tells_of(p, a, b) for a, b in pairwise(words) if is_value(a) and not is_value(b))
            for p in self._all
        )

    def may_tell(self, look: str, thing: Thing) -> bool:
        """Whether a sentence that names the thing has the attribute, and gives it to no other thing right behind it."""
        last = thing.noun.split()[-1]
        alike = ([t for t in p.things if same_thing(t.noun, thing.noun)] for p in self._all)
        near = (
            p
            for p, same in zip(self._all, alike, strict=True)
            if (stem(last) in p.stems or same) and not (same and all(opposed(thing, t) for t in same))
        )
        return any(_has_free(p, look, last) for p in near)

    def tell_of(self, look: str, noun: str, sources: Collection[int]) -> bool:
        """Whether a sentence of one of the regions, by number, puts an attribute right before a noun, or behind it
        with "is": whatever is read there."""
        near = (p for p in self._all if p.source in sources and stem(noun) in p.stems)
        return any(_stands_by(p.words, look, noun) for p in near)


def _has_free(passage: Passage, look: str, noun: str) -> bool:
    if not any(same_look(look, w) for w in passage.words):
        return False
    owners = [t for t in passage.things if any(same_look(look, w) for w in t.modifiers)]
    return not is_value(look) or not owners or any(noun in t.words for t in owners)


def _stands_by(words: Sequence[str], look: str, noun: str) -> bool:
    for at in (n for n, w in enumerate(words) if same_look(look, w)):
        behind = next((w for w in words[at + 1 : at + 4] if not is_value(w) and not is_adjective(w) and w != "and"), "")
        before = list(words[max(0, at - 4) : at])
        if stem(behind) == stem(noun):
            return True
        if any(stem(w) == stem(noun) and set(before[n:]) & {"is", "are"} for n, w in enumerate(before)):
            return True
    return False


def is_value(word: str) -> bool:
    """Whether a word is an attribute that excludes others of its kind, or a number."""
    return bool(readings(word)) or word in NUMBERS or word.isdecimal()


def content_words(text: str) -> list[str]:
    """The words of a text that say something by themselves, in lower case; numbers are among them."""
    words = (w.lower() for w in WORD.findall(text))
    return [w for w in words if w not in STOP and (w not in DETERMINERS or (w in NUMBERS and NUMBERS[w] > 1))]


def _tells(passage: Passage, word: str) -> bool:
    """Whether a sentence tells a word, in any form, or a kind of what it names, or the same attribute."""
    if stem(word) in passage.stems or any(same_look(word, w) for w in passage.words):
        return True
    return is_known(word) and any(same_thing(n, word) or is_kind_of(n, word) for n in passage.nouns)


def _tells_around(passage: Passage, word: str) -> bool:
    return stem(word) in passage.around or _tells(passage, word)


def _tells_near(passage: Passage, word: str) -> bool:
    kinds = is_known(word) and any(is_kind_of(name, word) for name in passage.names)
    return stem(word) in passage.topic or kinds or _tells(passage, word)


def _tells_of(passage: Passage, value: str, noun: str) -> bool:
    """Whether a value stands at most three words before a noun."""
    places = [at for at, w in enumerate(passage.words) if same_look(value, w)]
    return any(stem(noun) in {stem(w) for w in passage.words[at + 1 : at + 5]} for at in places)
