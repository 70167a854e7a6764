"""Answers that are whole sentences, and questions by a frame: what is asked of what."""

from __future__ import annotations

import re
from typing import Final

from ouro.annotate.english.chunks import DETERMINERS
from ouro.annotate.english.free_text import read_phrases
from ouro.annotate.english.kinds import same_thing
from ouro.annotate.prose.gaps import COPULA
from ouro.annotate.prose.things import AREAS, CARRIERS, stem

# Nouns by which a question says what it asks for, where they name no thing of the picture.
FRAMES: Final = (CARRIERS | AREAS | frozenset(
    "atmosphere mood style topic theme kind type sort event activity action purpose unit subject season weather "
    "lighting condition state time day setting environment location place position relation feeling impression "
    "emotion expression material brand make name size direction age gender number amount content contents detail "
    "focus occasion category language value role function object item thing person people".split()
)) - {"frame"}  # fmt: skip
_VERBS: Final = frozenset(
    stem(w) for w in "do seem appear describe convey suggest show depict represent indicate say tell find take".split()
)
_PRONOUN = re.compile(r"(?:he|she|it|they|this|these|that|those|there)\s+(?=\w)", re.IGNORECASE)
_ASKED = re.compile(r"(?i:\b(?:is|are|was|were|does|do|did|has|have|can|could)\s+)(?P<rest>.+)")
_POLAR = re.compile(r"(?:is|are|was|were|does|do|did|can|has|have)\s", re.IGNORECASE)
_ACT = re.compile(
    r"(?P<subject>.+)\s+(?:(?:seem|appear|look)s?(?: to be)?\b.*|(?:being )?(?:[a-z]+ing|[a-z]+ed|made|held|worn|built"
    r"|set|hung|written|shown|seen)(?: (?:of|from|out of|in|on|at|with|to|for|by|next to))?"
    r"(?: (?:on|in|at|to|with) (?:his|her|its|their|the) .+)?|like|have|has|say|do|be|visible)"
)
_FRAMED = re.compile(rf"(?:the )?(?:[a-z]+ )?(?:{'|'.join(sorted(FRAMES))}) (?:of|in|on) (?=\w)")
_SEEMS = re.compile(r"\b(?:seems?|appears?|looks?) (?:to be )?(?=\w)")
_RELATED = re.compile(r",? (?:in relation|relative|compared) to .+")


def subject_of(question: str) -> str:
    """What a question is about, as a noun phrase with its complements: "the man in the coat" of "What is the man in
    the coat doing?"; "" where it asks for that."""
    match = _ASKED.search(question.rstrip("?？ "))
    rest = _RELATED.sub("", match["rest"]) if match else ""
    rest = _FRAMED.sub("", rest)
    first = rest.split()[0].lower() if rest else ""
    phrases = read_phrases(rest)
    bare = bool(phrases) and phrases[0].plural and phrases[0].start == 0
    if not phrases or not (first in DETERMINERS or first.endswith(("'s", "’s")) or bare):
        return ""
    if _POLAR.match(question):
        return rest[: phrases[0].end]
    while act := _ACT.fullmatch(rest):
        rest = act["subject"]
    return rest


def as_statement(question: str, answer: str) -> str:
    """What an answer states that is a sentence: its pronoun, or the name that it repeats, is what is asked about.

    "" where it is no sentence, or tells of something else.
    """
    subject = subject_of(question)
    pronoun = _PRONOUN.match(answer)
    if pronoun is not None and pronoun.group().strip().lower() != "there":
        said = _SEEMS.sub("is ", answer[pronoun.end() :])
        named = re.match(r"(?:is|are|was|were) (an?) ", said)
        if named:
            return f"there is {said[named.start(1) :]}"
        return f"{subject} {said}" if subject else ""
    named = next(iter(read_phrases(answer)), None)
    asked = next(iter(read_phrases(subject)), None)
    if pronoun is not None:
        return answer
    if named is None or asked is None or named.start > 4 or not answer[named.end :].strip():
        return ""
    if same_thing(named.noun, asked.noun):
        return f"{subject} {_SEEMS.sub('is ', answer[named.end :].strip())}"
    return answer if COPULA.search(answer) and _shares(question, answer) else ""


def _shares(question: str, answer: str) -> bool:
    nouns = [p.noun for p in read_phrases(question) if p.noun not in FRAMES]
    return any(same_thing(p.noun, n) for p in read_phrases(answer) for n in nouns)


_FRAME_STEMS: Final = frozenset(stem(w) for w in FRAMES)


def is_frame(word: str) -> bool:
    """Whether a word of a question names no thing: "mood", "doing"."""
    return word in FRAMES or stem(word) in _VERBS or stem(word) in _FRAME_STEMS
