"""Synthesize (eq. 5): QA = VLM(I, P, d0), over five aspects; parsed, deduplicated, checked for support.

The model writes; this module keeps only what the merged description bears out. The check knows no topic: an
answer must be found in the description (words, or the number of matching phrases), in a sentence that shares
the question's objects; "yes" must hold for a phrase with all the question's words, "no" for none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from PIL import Image as PILImage

from ouro.annotate.merge import Phrase, noun_phrases, singular
from ouro.annotate.prompts import synthesis_prompt
from ouro.params import Synthesize
from ouro.records import QAPair, Rejected, Scene
from ouro.vision.protocols import Request, VisionLM

_PAIR = re.compile(
    r"(?:Q\s*\d*\s*:\s*)?([^?\n]{4,300}\?)\s*(?:A\s*\d*\s*:\s*)?([^.?\n]{1,120})(?:[.\n]|$)", re.IGNORECASE
)
_NUMBERS = {w: n for n, w in enumerate(("zero one two three four five six seven eight nine ten").split())}
_QUESTION_WORDS = frozenset(
    (
        "what which who where when how many much is are was were there do does did the a an of in on at to color "
        "colour pattern shape kind type object objects thing things say says read it this that holds hold floor "
        "left right above below next image scene picture word text written sign has have"
    ).split()
)


class Written(NamedTuple):
    """A parsed pair."""

    question: str
    answer: str


def parse_pairs(reply: str) -> list[Written]:
    """Question-answer pairs of a reply, as 'Q: ...? A: ....' lines or as 'question? answer.' sentences."""
    pairs = [Written(" ".join(q.split()), " ".join(a.split())) for q, a in _PAIR.findall(reply)]
    return [p for p in pairs if p.question != "?" and p.answer]


def support(pair: Written, description: str) -> str:
    """ "" when the description bears the pair out, else the reason it does not."""
    answer = pair.answer.lower().strip(" .")
    text = description.lower()
    phrases = noun_phrases(description)
    named = _content(pair.question)
    known = set(re.findall(r"[a-z0-9'-]+", text))
    if answer in ("yes", "no"):
        holds = any(named <= {*p.words, p.head} for p in phrases)
        if not pair.question.lower().startswith(("is there a", "are there")):
            holds = holds or any(named <= _stems(s) for s in _sentences(text))
        return "" if holds == (answer == "yes") else "contradicts_description"
    if answer in _NUMBERS or answer.isdigit():
        n = _NUMBERS.get(answer, int(answer) if answer.isdigit() else -1)
        return "" if n in _counts(pair.question, text, named) else "count_not_supported"
    words = re.findall(r"[a-z0-9'-]+", answer)
    if not words or not all(w in known for w in words):
        return "answer_not_in_description"
    if named - _stems(text):
        return "question_names_unknown_object"
    return _attribute(pair.question.lower(), answer, phrases)


def _content(question: str) -> set[str]:
    """What a question names: its words less function words, in the singular."""
    words = set(re.findall(r"[a-z0-9'-]+", question.lower())) - _QUESTION_WORDS
    return {singular(w) for w in words}


def _stems(text: str) -> set[str]:
    words = set(re.findall(r"[a-z0-9'-]+", text))
    return words | {singular(w) for w in words}


def _sentences(text: str) -> list[str]:
    return [s for s in re.split(r"\.\s+|\.$", text) if s]


def _counts(question: str, text: str, named: set[str]) -> set[int]:
    """Numbers the description supports: phrases of the named kind, or the parts of the one sentence named."""
    heads = [p.head for p in noun_phrases(text)]
    out = {sum(h == n for h in heads) for n in named}
    for sentence in _sentences(text):
        phrases = noun_phrases(sentence)
        if phrases and phrases[0].head in named:
            inside = [p for p in phrases[1:] if p.head not in ("sign", "center", "top", "bottom", "left", "right")]
            out.add(len([p for p in inside if not set(p.words) <= _PLACES]))
    return out - {0}


_PLACES = frozenset(["the", "a", "top", "bottom", "left", "right", "center", "middle"])


def _attribute(question: str, answer: str, phrases: Sequence[Phrase]) -> str:
    """For 'what colour / pattern is the X': the answer must stand in a phrase about X."""
    match = re.match(
        r"what (?:color|colour|pattern|material|size) (?:is|are) the ([a-z' -]+?)(?: (?:on|in|at|near) .*)?\?", question
    )
    if match is None:
        return ""
    head = match.group(1).split()[-1]
    about = [p for p in phrases if p.head == head]
    return "" if any(answer in p.words for p in about) else "attribute_of_another_object"


def synthesize_shard(
    pictures: Mapping[str, PILImage.Image],
    scenes: Sequence[Scene],
    vlm: VisionLM,
    params: Synthesize,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[QAPair], list[Rejected], int]:
    """Kept pairs, rejected ones with reasons, and how many the model wrote (a reply without a pair counts one)."""
    asked = [(scene, aspect) for scene in scenes for aspect in params.aspects]
    requests = [
        Request(
            (pictures[scene.image_id],),
            synthesis_prompt(params.template, aspect, scene.text),
            (params.max_pixels,),
        )
        for scene, aspect in asked
    ]
    replies = vlm.generate(requests, max_new_tokens=params.max_new_tokens, progress=progress)
    kept: list[QAPair] = []
    rejected: list[Rejected] = []
    seen: dict[str, set[str]] = {s.image_id: set() for s in scenes}
    for (scene, aspect), reply in zip(asked, replies, strict=True):
        pairs = parse_pairs(reply)
        if not pairs:
            rejected.append(Rejected("synthesize", f"{scene.image_id}/{aspect}", "unparsable", reply[:200]))
        for number, pair in enumerate(pairs):
            reason = _keep(pair, scene, seen[scene.image_id], params)
            if reason:
                detail = f"{pair.question} {pair.answer}"
                rejected.append(Rejected("synthesize", f"{scene.image_id}/{aspect}/{number}", reason, detail))
                continue
            seen[scene.image_id].add(pair.question.lower())
            qa_id = hashlib.sha256(f"{scene.image_id}\0{pair.question}".encode()).hexdigest()[:16]
            kept.append(QAPair(qa_id, scene.image_id, aspect, pair.question, pair.answer))
    return kept, rejected, len(kept) + len(rejected)


def _keep(pair: Written, scene: Scene, seen: set[str], params: Synthesize) -> str:
    if pair.question.lower() in seen:
        return "duplicate_question"
    if len(seen) >= params.max_pairs:
        return "too_many_pairs"
    return support(pair, scene.text)
