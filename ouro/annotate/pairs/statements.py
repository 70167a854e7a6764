"""A question with its answer as the statement that they make.

"What is behind the woman?", "a flag" is "a flag is behind the woman". By the question's form, as English makes
questions of statements; None where the form is none of these.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ouro.annotate.english.attributes import readings
from ouro.annotate.english.chunks import DETERMINERS, STOP, WORD, is_adjective
from ouro.annotate.english.free_text import read_phrases
from ouro.annotate.english.kinds import is_known
from ouro.annotate.english.phrases import NUMBERS
from ouro.annotate.prose.things import AREAS, CARRIERS, WRITINGS

_BE = r"(?:is|are|was|were)"
_DO = r"(?:does|do|did)"
_WH = r"(?:what|which|who)"
_PREPOSITION = (
    r"(?:in|on|at|under|behind|above|below|beside|near|next|to|by|inside|along|against|between|over|around|with|from"
    r"|through|across|beneath|within|outside|down|up|the)"
)
_CATEGORY = re.compile(  # "what animal is shown?", "what kind of room is this?"
    rf"{_WH} (?:kind of |type of |sort of )?([\w-]+) {_BE}(?: (?:this|it|that)|(?: being)? (?:shown|depicted|seen"
    rf"|pictured|displayed|featured|visible)(?: here| in (?:the|this) (?:image|picture|photo|photograph|scene))?)"
)
_SCENE = r"(?:weather|mood|lighting|season|atmosphere)"  # of the whole picture, not of a thing in it
_WRITTEN = re.compile(
    rf"(?:{_WH}|how)(?: \w+)? (?:{_BE} (?:written|printed|displayed|shown|engraved)(?: on| in)"
    rf"|{_DO} (?P<says>the .+?) (?:say|read|spell)$"
    rf"|{_BE} the (?:text|word|words|inscription|lettering|title|heading|headline|caption|label)"
    r" (?:on|of|in)) ?(?P<on>.*)"
)


class Statement(NamedTuple):
    """`text`: what a question and its answer state; `polar`: whether it is affirmed, None for an open question;
    `rest`: what a yes or no goes on to state."""

    text: str
    polar: bool | None = None
    rest: str = ""


def state(question: str, answer: str) -> Statement | None:
    """The statement of a pair."""
    q = " ".join(question.rstrip("?？ ").split())
    q = re.sub(r"^(?:in|on) (?:the|this) (?:image|picture|photo|photograph|scene),? ", "", q, flags=re.IGNORECASE)
    q = q[:1].lower() + q[1:]
    q = re.sub(r",? (?:in relation|relative|compared) to .+", "", q)
    q = q.replace("the outside of", "the exterior of").replace("the inside of", "the interior of")
    a = " ".join(answer.split()).strip(" .")
    polar = re.match(r"(yes|no)\b[\s,.;:!-]*", a, re.IGNORECASE)
    if polar and (text := _polar(q)):
        return Statement(text, polar[1].lower() == "yes", a[polar.end() :])
    if not a or (polar and (len(a) == polar.end() or not a.isupper())):
        return None
    text = _open(q, a)
    return Statement(text) if text else None


def _polar(q: str) -> str:
    if match := re.fullmatch(rf"{_BE} there (?:any |some )?(.+)", q):
        return f"there is {_with_article(match[1])}"
    if match := re.fullmatch(rf"{_BE} (?:this|that|it|the scene|the image) (an? .+)", q):
        return f"there is {match[1]}"
    if match := re.fullmatch(rf"{_BE} the {_SCENE} (.+)", q):
        return f"it is {match[1]}"
    if match := re.fullmatch(rf"(?:{_DO}|can|could) (.+)", q):
        return match[1]
    if match := re.fullmatch(rf"(?:{_BE}|has|have) (.+)", q):
        subject, rest = _subject(match[1])
        return f"{subject} {q.split()[0]} {rest}" if rest else ""
    return ""


def _open(q: str, a: str) -> str:
    first = q.split()[0] if q else ""
    if match := re.fullmatch(r"how many (.+)", q):
        return _count(match[1], a)
    if (match := _CATEGORY.fullmatch(q)) and match[1] not in WRITINGS:
        return f"there is {_with_article(a)}"
    if match := _WRITTEN.fullmatch(q):
        return f'{_owner(match["says"] or match["on"])} reads "{a.strip(chr(34))}"'
    if match := re.fullmatch(rf"where {_BE} (.+)", q):
        subject, rest = _subject(match[1])
        return f"{_joined(subject, rest)} {_located(a, rest)}"
    if match := re.fullmatch(rf"where {_DO} (.+) (\w+)", q):
        return f"{match[1]} {match[2]} {_located(a, '')}"
    if re.fullmatch(rf"(?:what|how) {_BE} the {_SCENE}(?: like)?", q):
        return f"it is {a}"
    if match := re.fullmatch(r"what shape (?:is|does) (.+?)(?: have)?", q):
        return (
            f"{match[1]} is {a}"
            if is_adjective(a.split()[-1].lower())
            else f"{match[1]} is in the shape of {_with_article(a)}"
        )
    if match := re.fullmatch(rf"(?:how) {_BE} (.+)", q):
        subject, rest = _subject(match[1])
        return f"{subject} is {rest} {a}"
    if match := re.fullmatch(rf"(in|on|at|from) (?:which|what) (?:\w+ )?(?:of the \w+ )?{_BE} (.+)", q):
        subject, rest = _subject(match[2])
        return f"{subject} is {rest} {match[1]} {a}"
    return _asked_thing(q, a) if first in ("what", "which", "who", "whose") else ""


def _asked_thing(q: str, a: str) -> str:
    """Of what, which and who: the gap is the object before a determiner, else the subject."""
    match = re.fullmatch(rf"{_WH}(?P<noun>(?: [\w'-]+)*?) (?P<verb>{_BE}|{_DO}|has|have|can) (?P<rest>.+)", q)
    if match is None:
        match = re.fullmatch(rf"{_WH}(?P<noun> [\w'-]+)?? (?P<rest>[\w-]+s .+)", q)
        return f"{_with_article(a)} {match['rest']}" if match else ""
    noun, verb, rest = match["noun"].strip(), match["verb"], match["rest"]
    if re.fullmatch(_DO, verb):
        subject, act = _subject(rest)
        act = re.sub(r"^have\b", "has", act)
        return f"{subject} {act or 'has'} {_qualified(a, noun)}"
    if verb in ("has", "have"):
        return f"{_with_article(a)} {verb} {rest}"
    if owned := re.fullmatch(
        r"(?:the )(?P<property>[\w-]+(?: [\w-]+)?) of (?P<thing>.+)|(?P<owner>.+?['’]s?) (?P<own>\w+)", rest
    ):
        asked = (owned["property"] or owned["own"]).split()[-1]
        if asked in ("material", "kind", "type", "subject", "name", "brand", "make", "sort"):
            return (
                f"{owned['thing'] or owned['owner'][:-2]} is {a}"
                if asked != "subject"
                else f"there is {_with_article(a)}"
            )
        return f"{rest} is {a}"
    if rest.split()[0] in DETERMINERS or "'s" in rest.split()[0]:
        subject, act = _subject(rest)
        act = "" if act == "doing" else act
        if act and noun in CARRIERS and len(a.split()) == 1:  # "the towel on the rack", "red": the red towel is on it
            return _joined(_modified(subject, a), act)
        return f"{_joined(subject, act)} {a}"
    a = f'"{a}"' if noun in ("letter", "letters", "word", "words", "number", "text") and '"' not in a else a
    if re.match(rf"{_PREPOSITION}\b", rest) or noun or not is_known(rest.split()[0]):
        gone = {"visible", "shown", "depicted", "seen", "pictured", "present", "there"}
        told = " ".join(w for w in rest.split() if w not in gone)
        return f"{_with_article(a)} is {told}" if told else f"there is {_with_article(a)}"
    return f"{rest} is {a}"


def _count(rest: str, a: str) -> str:
    """ "how many wheels does the bike have", "two": the bike has two wheels."""
    words = a.split()
    number = next((w for w in words if w.lower() in NUMBERS or w.isdecimal()), words[0] if words else "")
    if match := re.fullmatch(rf"(?P<what>.+?) {_DO} (?P<who>.+?) (?:have|has|hold|contain|wear)", rest):
        return f"{match['who']} has {number} {match['what']}"
    rest = re.sub(rf" (?:(?:{_BE}|can be|do you)(?: there)?(?: seen| see| visible)?)(?: in total)?$", "", rest)
    rest = re.sub(rf" {_BE} there ", " ", rest)
    match = re.fullmatch(rf"(?P<what>.+?) {_BE} (?P<where>.+)", rest)
    return f"{number} {match['what']} are {match['where']}" if match else f"there are {number} {rest}"


def _subject(text: str) -> tuple[str, str]:
    """The noun phrase that a text begins with, its complements, and the rest: ("the ring", "made of")."""
    end = 0
    for phrase in read_phrases(text):
        if text[end : phrase.start].strip() != "of" if end else phrase.start > 4:
            break
        end = phrase.end
    if not end:
        found = WORD.search(text)
        end = found.end() if found else len(text)
    words = list(WORD.finditer(text, 0, end))
    while (
        len(words) > 2
        and is_known(words[-2].group().lower())
        and text[end:].strip() == ""
        and (words[-1].group().lower().endswith("ing") or _is_said(words[-1].group().lower()))
    ):
        words.pop()
        end = words[-1].end()
    return text[:end].strip(), text[end:].strip()


def _joined(subject: str, rest: str) -> str:
    """ "the ring", "made of": the ring is made of; "the cup", "on the shelf": the cup on the shelf is."""
    act = re.fullmatch(rf"(?P<inner>{_PREPOSITION} .+) (?P<act>[a-z]+ing|[a-z]+ed|made of|made from|worn|held)", rest)
    if act:  # "the woman", "on the left holding"
        return f"{subject} {act['inner']} is {act['act'].removesuffix('doing')}".strip()
    inner = re.match(rf"{_PREPOSITION}\b", rest) and not re.search(rf"\b{_PREPOSITION}$", rest)
    return f"{subject} {rest} is" if inner else f"{subject} is {rest}".strip()


def _modified(subject: str, look: str) -> str:
    """A noun phrase with an attribute before its noun."""
    phrase = read_phrases(subject)[:1]
    words = subject[: phrase[0].end].split() if phrase else subject.split()[:1]
    at = max(0, len(words) - len(phrase[0].noun.split())) if phrase else 0
    rest = subject[phrase[0].end :] if phrase else ""
    return f"{' '.join([*words[:at], look.lower(), *words[at:]])}{rest}"


def _is_said(word: str) -> bool:
    if is_known(word) and not readings(word):
        return False
    return is_adjective(word) or word.endswith(("ing", "ed")) or word in STOP


def _located(a: str, rest: str) -> str:
    """An answer to "where" with its preposition."""
    if re.match(rf"{_PREPOSITION}\b", a, re.IGNORECASE) and not a.lower().startswith("the "):
        return a[:1].lower() + a[1:]
    if rest and re.search(rf"\b{_PREPOSITION}$", rest):
        return a
    words = re.sub(r"^(?:the|a|an) ", "", a.lower())
    return f"at the {words}" if set(words.split()) & (AREAS | {"upper", "lower"}) else f"on the {words}"


def _qualified(a: str, noun: str) -> str:
    """ "what appearance does it have", "rustic": a rustic appearance."""
    if noun and noun not in a.lower():
        return f"a {a} {noun}"
    return _with_article(a)


def _with_article(a: str) -> str:
    words = a.split()
    last = words[-1].lower() if words else ""
    bare = words and words[0].lower() not in DETERMINERS | {"the", "its", "his", "her"} and not words[0][:1].isupper()
    return f"a {a}" if bare and not last.endswith("s") else a


def _owner(text: str) -> str:
    """Of "the text on the bottle" the bottle, as what bears the text."""
    match = re.fullmatch(r"the (?:text|word|words|writing|inscription|label|lettering) (?:on|of|in) (.+)", text)
    return match[1] if match else text or "it"
