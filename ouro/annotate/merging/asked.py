"""Matches that words alone do not give: the annotator is asked which phrase of the parent's text a name means.

"a military uniform" and "a navy jacket" share no word and stand in no table. The options are the parent's noun phrases
that no other region has, and none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ouro.annotate.english.free_text import NounPhrase, read_phrases
from ouro.annotate.prompts import NONE_OF_THEM, which_phrase_prompt
from ouro.core.records import Description, Match, Region
from ouro.vision.protocols import Request, Scoring

LEAST = 0.5  # probability of a phrase that is a match
MOST_PHRASES = 40  # of a parent that are offered
EVIDENCE = "asked"


class _Question(NamedTuple):
    """A region without a match, its parent's description, and the phrases that may mean it."""

    region_id: str
    name: str
    parent: Description
    phrases: tuple[NounPhrase, ...]

    def options(self) -> tuple[str, ...]:
        return (*(self.parent.text[p.start : p.end] for p in self.phrases), NONE_OF_THEM)


def ask_matches(
    regions: Sequence[Region], descriptions: Sequence[Description], matches: Sequence[Match], vlm: Scoring
) -> list[Match]:
    """Further matches for the regions of a shard that have a name and none yet, in the order of `regions`.

    A region is looked for in the description of the nearest region above it that has one. A phrase that several
    regions choose is the likeliest one's; equally likely ones leave it to none. A plural phrase is a group: "among",
    which several regions may share. Raises ScoringUnavailable.
    """
    questions = list(_questions(regions, descriptions, matches))
    requests = [Request((), which_phrase_prompt(q.name, q.parent.text, q.options())) for q in questions]
    shares = vlm.choose(requests, [q.options() for q in questions]) if questions else []
    candidates = [
        match for q, probabilities in zip(questions, shares, strict=True) if (match := _match(q, probabilities))
    ]
    return [match for match in candidates if match.how == "among" or _is_likeliest(match, candidates)]


def _questions(
    regions: Sequence[Region], descriptions: Sequence[Description], matches: Sequence[Match]
) -> Iterator[_Question]:
    by_id = {region.region_id: region for region in regions}
    by_region = {d.region_id: d for d in descriptions}
    matched_ids = {match.region_id for match in matches}
    for region in regions:
        description = by_region.get(region.region_id)
        parent = _nearest_described(region, by_id, by_region)
        if description is None or not description.name or parent is None or region.region_id in matched_ids:
            continue
        phrases = _free_phrases(parent, [m for m in matches if m.parent_id == parent.region_id])
        if phrases:
            yield _Question(region.region_id, description.name, parent, phrases)


def _nearest_described(
    region: Region, by_id: dict[str, Region], by_region: dict[str, Description]
) -> Description | None:
    above = by_id.get(region.parent_id or "")
    while above is not None and above.region_id not in by_region:
        above = by_id.get(above.parent_id or "")
    return by_region[above.region_id] if above else None


def _free_phrases(parent: Description, matches: Sequence[Match]) -> tuple[NounPhrase, ...]:
    """The parent's noun phrases that may mean one more thing, each wording once: none negated, marked, or matched as
    "same"."""
    spans = [(m.start, m.end) for m in matches if m.how == "same"] + [(m.start, m.end) for m in parent.marks]
    by_wording: dict[str, NounPhrase] = {}
    for phrase in read_phrases(parent.text):
        if not phrase.negated and all(phrase.end <= start or end <= phrase.start for start, end in spans):
            by_wording.setdefault(parent.text[phrase.start : phrase.end].casefold(), phrase)
    return tuple(by_wording.values())[:MOST_PHRASES]


def _match(question: _Question, shares: Sequence[float]) -> Match | None:
    best = max(range(len(shares)), key=lambda n: shares[n])
    if best == len(question.phrases) or shares[best] < LEAST or list(shares).count(shares[best]) > 1:
        return None
    phrase = question.phrases[best]
    how = "among" if phrase.plural else "same"
    return Match(
        question.region_id, question.parent.region_id, phrase.start, phrase.end, how, EVIDENCE, round(shares[best], 4)
    )


def _is_likeliest(match: Match, matches: Sequence[Match]) -> bool:
    place = (match.parent_id, match.start)
    rivals = [m for m in matches if m is not match and (m.parent_id, m.start) == place]
    return all(match.score > rival.score for rival in rivals)
