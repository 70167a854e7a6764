"""How well is the text of real models handled? `uv run python perf/realtext.py [--cases DIR] [--show CASE]`

Runs matching, conflicts, the outline, the guard and the support of pairs over trees of described regions with labels
(tests/data/realtext, whose README documents the fields) and prints one table, each line with its target. Leaves with 1
when a target is missed.

`--model DIR`: a real small language model (perf/small_model.py says how to get it) writes merges and pairs from the
trees as text. It prints what the guard strikes, how often the outline stands, and how support judges the pairs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image as PILImage
from rapidfuzz import fuzz

from ouro.annotate.degenerate import read_reply
from ouro.annotate.describe import with_text
from ouro.annotate.english.free_text import read_phrases
from ouro.annotate.marks import find_marks
from ouro.annotate.merge import merge_shard
from ouro.annotate.merging.guard import Evidence, check_text
from ouro.annotate.merging.relating import relate
from ouro.annotate.merging.repeats import content, news
from ouro.annotate.merging.rewrite import evidence_of
from ouro.annotate.merging.settle import look
from ouro.annotate.pairs.replies import Written, parse_pairs
from ouro.annotate.pairs.support import support
from ouro.core.boxes import relative_position
from ouro.core.params import Merge
from ouro.core.records import Conflict, Description, Image, Match, Region, Scene
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
    return [read_case(json.loads(path.read_text())) for path in sorted((folder / "cases").glob("*.json"))]


def read_case(labels: dict[str, Any]) -> Case:
    """A tree of the README's form as records."""
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
    image = Image(name, f"{name}.png", width, height, labels.get("source", "own"))
    return Case(name, image, regions, descriptions, labels)


# ---- matching --------------------------------------------------------------------------------------------------


class Matching(NamedTuple):
    """Numbers of matches, of those of them that are right, and of labels."""

    n_matches: int
    n_right: int
    n_labels: int

    @property
    def precision(self) -> float:
        return self.n_right / max(self.n_matches, 1)

    @property
    def recall(self) -> float:
        return self.n_right / max(self.n_labels, 1)


def matching(cases: Sequence[Case]) -> Matching:
    """A match ("same" or "among") is right when it overlaps a phrase that the labels accept for its region there."""
    n_matches = n_right = n_labels = 0
    for case in cases:
        accepted = {key: spans for one in case.labels["regions"] for key, spans in _accepted(case, one).items()}
        n_labels += len(accepted)
        [related] = relate([(case.regions, case.descriptions)], Merge(settle="none"))
        texts = {region: d.text for region, d in related.tree.descriptions.items()}
        hits = set[tuple[str, str]]()
        for match in related.matches:
            if match.how == "part":
                continue
            n_matches += 1
            key = match.region_id, match.parent_id
            phrases = accepted.get(key, [])
            if any(_overlaps(texts[match.parent_id], match, phrase) for phrase in phrases):
                n_right += 1
                hits.add(key)
    return Matching(n_matches, n_right, n_labels)


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
    sentences = (f"At the {relative_position(boxes[d.region_id], whole)}: {d.text}" for d in rest)
    return " ".join([first.text, *sentences])


def length_ratio(cases: Sequence[Case], texts: Sequence[str]) -> float:
    """Words and marks of merged texts, of the concatenations'."""
    return sum(map(count_words, texts)) / sum(count_words(concatenation(case)) for case in cases)


def broken_sentences(case: Case, scene: Scene) -> list[str]:
    """Sentences that are no whole sentence: cut off or run together by their marks, or without a verb behind a place.

    The whole picture's own must stand in its description word for word.
    """
    root, root_text = f"{case.name}/0", case.texts[f"{case.name}/0"]
    broken: list[str] = []
    for sentence in scene.sentences:
        text = scene.text[sentence.start : sentence.end]
        changed = sentence.region_ids == (root,) and text not in root_text and not scene.conflicts
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
    repeats: int
    idle: int


def repeats(cases: Sequence[Case], scenes: Sequence[Scene]) -> Repeats:
    """Of the labelled facts that several regions tell: those that a scene tells more than once.

    A sentence tells a fact when it has its content words, of which one stands outside of "the ..." (which refers to a
    thing and does not tell of it). Idle: less than a quarter of the sentence's content words are news.
    """
    n_repeats = idle = total = 0
    for case, scene in zip(cases, scenes, strict=True):
        names = {d.region_id: content(d.name).senses for d in case.descriptions}
        for repeat in case.labels["repeats"]:
            fact = content(repeat["fact"]).words
            tellers: set[tuple[str, ...]] = set()
            contents: list[Any] = []
            is_idle = False
            for sentence in scene.sentences:
                text = _without_place(scene.text[sentence.start : sentence.end])
                about = frozenset[str]().union(*(names.get(r, frozenset()) for r in sentence.region_ids))
                if fact <= content(text).senses | about and fact & content(_asserted(text)).senses:
                    fresh = news(text, contents)
                    is_idle |= bool(tellers) and len(fresh) * 4 < len(content(text).words)
                    tellers.add(sentence.region_ids)
                contents.append(content(text))
            total += 1
            n_repeats += len(tellers) > 1
            idle += is_idle
    return Repeats(total, n_repeats, idle)


def _without_place(text: str) -> str:
    """Without the place that the outline gives: "At the left is a cup.", "The cup at the left has ..."."""
    first = re.sub(r"^(?:At the|In the)[\w ]{1,20}?(?: is| are|,) ", "", text)
    place = r" (?:at|in) the (?:center|left|right|(?:top|bottom)(?: left| right)?)(?=:| has | have )"
    return re.sub(place, "", first, count=1)


def _asserted(text: str) -> str:
    """A sentence without its definite phrases; of "the set of shelves" the shelves stay."""
    for phrase in reversed(read_phrases(text)):
        if phrase.determiner == "the":
            of = text.find(" of ", phrase.start, phrase.end)
            text = text[: phrase.start] + text[phrase.end if of < 0 else of :]
    return text


# ---- conflicts -------------------------------------------------------------------------------------------------


class Settling(NamedTuple):
    """Labelled conflicts (refinements apart), those recorded, and those settled as the label says by a looker that
    knows the label; recorded refinements; conflicts that no label has."""

    n_labels: int
    recorded: int
    settled: int
    refinements: int
    unlabelled: int


def settling(cases: Sequence[Case]) -> Settling:
    """A labelled conflict is recorded when a record has its regions and a value that shares a word with each of its."""
    totals = [0, 0, 0, 0, 0]
    for case in cases:
        labels = case.labels["conflicts"]
        [related] = relate([(case.regions, case.descriptions)], Merge(settle="none"))
        looked = _look(case, related.conflicts, labels)
        matched = [_label_of(case, conflict, labels) for conflict in looked]
        for label in labels:
            records = [c for c, match in zip(looked, matched, strict=True) if match is label]
            if label["kind"] == "refinement":
                totals[3] += bool(records)
                continue
            totals[0] += 1
            totals[1] += bool(records)
            totals[2] += any(c.kept and _shares(c.kept, label["right"] or "") for c in records)
        totals[4] += sum(match is None for match in matched)
    return Settling(*totals)


def _label_of(case: Case, conflict: Conflict, labels: list[dict[str, Any]]) -> dict[str, Any] | None:
    regions = {r.split("/", 1)[1] for r in conflict.region_ids}
    for label in labels:
        label_regions = {r.removesuffix("/ocr").removesuffix("/box") for r in label["regions"]}
        values = label["values"]
        if regions == label_regions and all(any(_shares(a, b) for b in values) for a in conflict.values):
            return label
    return None


def _shares(a: str, b: str) -> bool:
    return bool(content(a).senses & content(b).senses) or a.casefold() in b.casefold() or b.casefold() in a.casefold()


def _look(case: Case, conflicts: list[Conflict], labels: list[dict[str, Any]]) -> list[Conflict]:
    """What `settle.look` gives where the annotator sees what the labels say: the value nearest to the right one."""
    pictures = {case.name: PILImage.new("RGB", (case.image.width, case.image.height))}

    def sees(request: Request, options: tuple[str, ...]) -> tuple[float, ...]:
        conflict = next(c for c in conflicts if c.about in request.prompt and {*options} <= {*c.values})
        label = _label_of(case, conflict, labels)
        right = (label or {}).get("right") or ""
        pairs = [(option.casefold(), right.casefold()) for option in options]
        scores = [fuzz.partial_ratio(*pair) + fuzz.ratio(*pair) / 2 for pair in pairs]
        best = scores.index(max(scores))
        return tuple(0.9 if at == best else 0.1 / max(len(options) - 1, 1) for at in range(len(options)))

    return look(conflicts, case.regions, pictures, ScriptedVLM(lambda _: "", weights=sees), 0.2)


# ---- the guard -------------------------------------------------------------------------------------------------


class Guarding(NamedTuple):
    """Sentences of good merges and those struck; planted errors and those struck; the careless merges' other ones."""

    good: int
    good_struck: int
    planted: int
    planted_struck: int
    other: int
    other_struck: int


def guarding(cases: Sequence[Case], folder: Path = CASES) -> Guarding:
    """`check_text` on merges by hand; a planted error counts as struck when its sentence is."""
    merges = load_merges(folder)
    totals = [0] * 6
    for case in cases:
        evidence = evidence_of_case(case)
        merge = merges[case.name]
        checks = check_text(merge["good_merge"], evidence)
        totals[0] += len(checks)
        totals[1] += sum(bool(check.missing) for check in checks)
        for bad in merge["bad_merges"]:
            struck = {bad["text"][c.start : c.end]: bool(c.missing) for c in check_text(bad["text"], evidence)}
            wrong = [planted["sentence"] for planted in bad["planted"]]
            totals[2] += len(wrong)
            totals[3] += sum(struck.get(sentence, True) for sentence in wrong)
            totals[4] += sum(sentence not in wrong for sentence in struck)
            totals[5] += sum(is_struck for sentence, is_struck in struck.items() if sentence not in wrong)
    return Guarding(*totals)


def load_merges(folder: Path = CASES) -> dict[str, dict[str, Any]]:
    """merges.json by the name of the case."""
    return {one["case"]: one for one in json.loads((folder / "merges.json").read_text())}


# ---- pairs -----------------------------------------------------------------------------------------------------


class Supporting(NamedTuple):
    """Labelled pairs and those parsed from their replies; supported ones and those dropped; unsupported ones and those
    kept."""

    pairs: int
    parsed: int
    supported: int
    dropped: int
    unsupported: int
    kept: int


def supporting(cases: Sequence[Case], folder: Path = CASES) -> Supporting:
    """`support` on all that is told of a case, for every labelled pair of qa.json."""
    evidence = {case.name: evidence_of_case(case) for case in cases}
    totals = [0] * 6
    for reply in json.loads((folder / "qa.json").read_text()):
        parsed = {(_bare(p.question), _bare(p.answer)) for p in parse_pairs(reply["reply"])}
        for pair in reply["pairs"]:
            stands = support(Written(pair["question"], pair["answer"]), evidence[reply["case"]]) == ""
            totals[0] += 1
            totals[1] += (_bare(pair["question"]), _bare(pair["answer"])) in parsed
            totals[2] += pair["supported"]
            totals[3] += pair["supported"] and not stands
            totals[4] += not pair["supported"]
            totals[5] += not pair["supported"] and stands
    return Supporting(*totals)


def _bare(text: str) -> str:
    return " ".join(text.split()).rstrip(" .?").casefold()


def evidence_of_case(case: Case) -> Evidence:
    """All that is told of a case, with both values of its conflicts."""
    [related] = relate([(case.regions, case.descriptions)], Merge(settle="none"))
    return evidence_of(related.tree, f"{case.name}/0")


# ---- the table -------------------------------------------------------------------------------------------------


def measure(cases: Sequence[Case], folder: Path = CASES) -> list[Line]:
    """All lines of the table."""
    unbounded = 100_000
    matches, conflicts, guard = matching(cases), settling(cases), guarding(cases, folder)
    pairs = supporting(cases, folder)
    outlined = scenes_of(cases, Merge(writer="outline", max_tokens=unbounded))
    merges = load_merges(folder)
    rewritten = [
        scene_of(case, Merge(writer="vlm", max_tokens=1024), ScriptedVLM(_once(merges[case.name]["good_merge"])))
        for case in cases
    ]
    totals = repeats(cases, outlined)
    broken = sum(len(broken_sentences(case, scene)) for case, scene in zip(cases, outlined, strict=True))
    n_lines = sum(len(scene.sentences) for scene in outlined)
    length = length_ratio(cases, [scene.text for scene in outlined])
    shorter = length_ratio(cases, [scene.text for scene in rewritten])
    stood = sum(scene.text == outline.text for scene, outline in zip(rewritten, outlined, strict=True))
    struck = guard.good_struck / guard.good
    caught = guard.planted_struck / guard.planted
    return [
        _line("matches: precision", matches.precision, f"{matches.n_right} of {matches.n_matches}", ">=", 0.97),
        _line("matches: recall", matches.recall, f"{matches.n_right} of {matches.n_labels}", ">=", 0.88),
        _line("conflicts recorded", conflicts.recorded / conflicts.n_labels, f"{conflicts.recorded} of "
              f"{conflicts.n_labels}; {conflicts.unlabelled} that no label has", ">=", 1.0),
        _line("conflicts settled by a looker", conflicts.settled / conflicts.n_labels,
              f"{conflicts.settled} of {conflicts.n_labels}", ">=", 1.0),
        _line("outline: broken sentences", broken, f"of {n_lines}", "<=", 0),
        _line("outline: facts told again idly", totals.idle / totals.facts, f"{totals.idle} of {totals.facts}; told "
              f"again at all, with news beside them: {totals.repeats}", "<=", 0.05),
        _line("outline: length", length, "of concatenation", "<=", 0.9),
        _line("guard: true sentences struck", struck, f"{guard.good_struck} of {guard.good}; in careless merges "
              f"{guard.other_struck} of {guard.other}", "<=", 0.02),
        _line("guard: planted errors struck", caught, f"{guard.planted_struck} of {guard.planted}", ">=", 0.95),
        _line("pairs parsed", pairs.parsed / pairs.pairs, f"{pairs.parsed} of {pairs.pairs}", ">=", 0.95),
        _line("pairs: supported, but dropped", pairs.dropped / pairs.supported, f"{pairs.dropped} of {pairs.supported}",
              "<=", 0.12),
        _line("pairs: unsupported, but kept", pairs.kept / pairs.unsupported, f"{pairs.kept} of {pairs.unsupported}",
              "<=", 0.03),
        _line("vlm, good merges: length", shorter, f"of concatenation; the outline stands {stood} times", "<=", 0.7),
    ]  # fmt: skip


def _once(text: str) -> Callable[[Request], str]:
    """A writer of one description, who gives nothing when asked again."""
    return lambda request: "" if "first attempt" in request.prompt else text


def _line(what: str, value: float, words: str, sign: str, bound: float) -> Line:
    met = value >= bound if sign == ">=" else value <= bound
    return Line(what, value, words, f"{sign} {bound:g}", met)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, default=CASES, help="a folder of labelled trees")
    parser.add_argument("--show", default="", help="print the outlines of the cases whose name begins so")
    parser.add_argument("--model", type=Path, help="a folder with a small language model (perf/small_model.py)")
    args = parser.parse_args(argv)
    cases = load_cases(args.cases)
    if args.show:
        for case in (case for case in cases if case.name.startswith(args.show)):
            print(f"{case.name}: {scene_of(case, Merge(writer='outline', max_tokens=100_000)).text}\n")
    if args.model:
        return write_with(args.model, cases, args.cases)
    lines = measure(cases, args.cases)
    for line in lines:
        print(f"{'ok  ' if line.met else 'MISS'} {line.what:32} {line.value:7.3f} {line.target:>8}   {line.words}")
    return 0 if all(line.met for line in lines) else 1


def write_with(packages: Path, cases: Sequence[Case], folder: Path) -> int:
    """What a real small model writes, and what becomes of it."""
    sys.path.append(str(Path(__file__).parent.parent))  # run as a script, it sees perf's folder alone
    from perf.small_model import judge_merges, judge_pairs, model_folder, served

    with served(model_folder(packages)) as vlm:
        judge_merges(vlm, cases)
        judge_pairs(vlm, cases)
    return 0


if __name__ == "__main__":
    sys.exit(main())
