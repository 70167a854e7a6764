"""What is told, as words: which sentences of one region tell all of some words, whatever a reading makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD
from ouro.annotate.english.kinds import is_kind_of, is_known, same_thing
from ouro.annotate.english.phrases import NUMBERS
from ouro.annotate.prose.likeness import same_look
from ouro.annotate.prose.things import Reading, stem, stems


class Passage(NamedTuple):
    """One sentence: its words in order, their stems, and the stems of all that its region tells."""

    words: tuple[str, ...]
    stems: frozenset[str]
    around: frozenset[str]
    nouns: frozenset[str]


class Passages:
    """The sentences of all regions. `readings`: (region's name, reading) each."""

    def __init__(self, regions: Sequence[tuple[str, Reading]]) -> None:
        self._regions = regions

    @cached_property
    def _all(self) -> list[Passage]:
        found: list[Passage] = []
        for name, reading in self._regions:
            around = stems(f"{name} {reading.text}")
            for number, (start, end) in enumerate(reading.sentences):
                words = tuple(w.lower() for w in WORD.findall(reading.text[start:end]))
                nouns = frozenset(t.noun for t in reading.things if t.sentence == number)
                found.append(Passage(words, stems(" ".join(words)), around, nouns))
        return found

    def tell(self, words: Iterable[str], about: Iterable[str]) -> bool:
        """Whether one sentence tells all `words`, each attribute and number of the noun that follows it in `words`,
        and its region, name included, all words of `about`."""
        words, about = list(words), list(about)
        return any(
            all(_tells(p, w) for w in words)
            and all(_tells_around(p, w) for w in about)
            and all(_tells_of(p, a, b) for a, b in zip(words, words[1:], strict=False) if is_value(a) and not is_value(b))
            for p in self._all
        )


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


def _tells_of(passage: Passage, value: str, noun: str) -> bool:
    """Whether a value stands at most three words before a noun."""
    places = [at for at, w in enumerate(passage.words) if same_look(value, w)]
    return any(stem(noun) in {stem(w) for w in passage.words[at + 1 : at + 5]} for at in places)
