"""The writer `vlm`: the annotator itself makes one description of an image's descriptions; a guard holds it to them.

One text request a scene: the whole's description, every region's name, place and description without what is marked,
and what was settled. A tree that is deep, or does not fit the budget of a request, is written bottom-up: each branch
becomes one description first. Every sentence of a reply must be borne out by what was described (guard.py); those
that are not are asked for again once, with what was wrong, and else struck. If too much is struck or left out, or the
reply is no description at all, there is no rewriting: the outline stands. Regions below the whole that are no such
branch keep their outlines.

Source: ours; the paper (OURO section 3.1, eq. 4) does not say how the model's descriptions are merged. Holding a
rewriting to its inputs is what VILA^2 (appendix) lacks, whose hallucinations grow over its rounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ouro.annotate.cleaning import plain_text
from ouro.annotate.degenerate import may_be_cut, read_reply, whole_sentences
from ouro.annotate.marks import find_marks
from ouro.annotate.merging.budget import Line
from ouro.annotate.merging.guard import Evidence, SentenceCheck, check_text
from ouro.annotate.merging.outline import at_place
from ouro.annotate.merging.provenance import Piece, plain
from ouro.annotate.merging.repeats import content
from ouro.annotate.merging.tree import Tree
from ouro.annotate.merging.trimming import trim
from ouro.core.boxes import relative_position
from ouro.core.control_tokens import break_control_tokens
from ouro.core.records import Conflict, Decision, Description, Region
from ouro.vision.protocols import Refused, Request, VisionLM

if TYPE_CHECKING:
    from ouro.core.params import Merge

STRUCK = "not_borne_out"
DEEPEST = 2  # levels below the root of one request
LONGEST = 4  # times max_tokens: the longest request
LONGEST_NAME = 80  # characters of a name in a request
LEAST = 0.4  # share of the outline's content words that a rewriting has to keep

PROMPT = (
    "Somebody looked at a picture, and then at regions of it one by one, and said this.\n\n"
    "The whole picture: {whole}\n\nRegions:\n{regions}\n{settled}\n"
    "Write one description of the picture that says all of this. Write plain sentences in one paragraph, at most "
    "{words} words. Say each thing once: a region shows a thing of the picture closer, it is no second one. Say where "
    "things are. Keep words in quotation marks as they are. Add nothing that is not said above: no thing, colour, "
    "number, place or mood. Do not speak of regions or of what was said."
)
CORRECTION = (
    "{prompt}\n\nThese sentences of a first attempt say what is not said above:\n{wrong}\n"
    "Write each of them again so that it says only what is said above, one a line, with its number. Leave out those "
    "that cannot be put right."
)
_NUMBERED = re.compile(r"\s*(\d{1,3})[.):]\s+(\S.*)")
_PREFACE = re.compile(r"\s*(?:sure|certainly|of course|here (?:is|'s))\b[^\n.]{0,120}?(?::\s*|!\s+|\n+)", re.IGNORECASE)
_PRONOUN = re.compile(r"(?:it|its|they|their|he|his|she|her|this|these)\b", re.IGNORECASE)

Asking = Generator[str, str, "Rewriting"]


class Rewriting(NamedTuple):
    """A rewritten description, or why there is none ("empty_reply", "cut_off", "degenerate", "other_script",
    "refused", "too_long", "too_much_struck", "too_little"); sentences written, asked for again and struck.

    `branches`: those of regions below, by region, where the tree was written bottom-up.
    """

    lines: list[Line]
    decisions: list[Decision]
    reason: str = ""
    n_sentences: int = 0
    n_wrong: int = 0
    n_struck: int = 0
    branches: Mapping[str, list[Line]] = {}


def rewrite_trees(
    trees: Sequence[Tree], roots: Sequence[str], vlm: VisionLM, params: Merge, count: Callable[[str], int]
) -> list[Rewriting]:
    """The rewriting of each tree, in waves: the n-th requests of all trees are one batch."""
    asking = [_rewrite(tree, root, params, count) for tree, root in zip(trees, roots, strict=True)]
    done: dict[int, Rewriting] = {}
    prompts = {at: prompt for at, one in enumerate(asking) if (prompt := _step(one, None, at, done)) is not None}
    while prompts:
        order = sorted(prompts)
        requests = [Request((), prompts[at]) for at in order]
        replies = vlm.generate(requests, max_new_tokens=params.max_tokens)
        answers = dict(zip(order, replies, strict=True))
        prompts = {at: prompt for at in order if (prompt := _step(asking[at], answers[at], at, done)) is not None}
    return [done[at] for at in range(len(asking))]


def _step(one: Asking, reply: str | None, at: int, done: dict[int, Rewriting]) -> str | None:
    """The next prompt; None when it is done."""
    try:
        return next(one) if reply is None else one.send(reply)
    except StopIteration as end:
        done[at] = end.value
        return None


def _rewrite(tree: Tree, root: str, params: Merge, count: Callable[[str], int]) -> Asking:
    """Asks for the description of a region and all below it."""
    branches: dict[str, Rewriting] = {}
    prompt = _prompt(tree, root, branches, params)
    if _depth(tree, root) > DEEPEST or count(prompt) > LONGEST * params.max_tokens:
        for child in tree.children(root):
            if tree.children(child.region_id):
                branches[child.region_id] = yield from _rewrite(tree, child.region_id, params, count)
        prompt = _prompt(tree, root, branches, params)
    lines = {region: rewriting.lines for region, rewriting in branches.items() if rewriting.lines}
    lines |= {region: below for rewriting in branches.values() for region, below in rewriting.branches.items()}
    if count(prompt) > LONGEST * params.max_tokens:
        return _fail("too_long", lines)
    reply = yield prompt
    text, reason = _read(reply, prompt, params.max_tokens)
    if reason:
        return _fail(reason, lines)
    evidence = evidence_of(tree, root)
    checks = check_text(text, evidence)
    wrong = [check for check in checks if check.missing]
    corrected: dict[int, list[Line]] = {}
    if wrong:
        reply = yield CORRECTION.format(prompt=prompt, wrong=_number(text, wrong))
        corrected = _read_corrections(reply, wrong, evidence, root)
    return _apply_checks(text, checks, corrected, tree, root, params)._replace(branches=lines)


def _fail(reason: str, branches: Mapping[str, list[Line]]) -> Rewriting:
    return Rewriting([], [], reason, branches=branches)


# ---- asking ----------------------------------------------------------------------------------------------------


def _prompt(tree: Tree, root: str, branches: Mapping[str, Rewriting], params: Merge) -> str:
    regions = "\n".join(_region_lines(tree, root, branches)) or "(none)"
    settled = [line for conflict in tree.conflicts if (line := _conflict_line(conflict))]
    parts = f"\nSettled:\n{chr(10).join(settled)}\n" if settled else ""
    whole = tree.descriptions[root].text
    prompt = PROMPT.format(whole=whole, regions=regions, settled=parts, words=max(1, params.max_tokens * 3 // 4))
    return break_control_tokens(prompt).text


def _region_lines(tree: Tree, root: str, branches: Mapping[str, Rewriting]) -> list[str]:
    """A line a region, indented below its parent; a branch that was written is one line."""
    frame = tree.regions[root].box
    lines: list[str] = []

    def tell(region: Region, indent: str) -> None:
        written = branches.get(region.region_id)
        is_written = written is not None and bool(written.lines)
        text = _text(written.lines) if written and is_written else _strip_marks(tree.descriptions[region.region_id])
        name = tree.descriptions[region.region_id].name.strip()[:LONGEST_NAME]
        place = at_place(relative_position(region.box, frame))
        lines.append(f"{indent}- {f'{name}, ' if name else ''}{place}: {text}")
        for child in () if is_written else tree.children(region.region_id):
            tell(child, indent + "  ")

    for child in tree.children(root):
        tell(child, "")
    return lines


def _text(lines: Sequence[Line]) -> str:
    return " ".join(plain(line.marked) for line in lines)


def _strip_marks(description: Description) -> str:
    return " ".join(sentence.text for sentence in trim(description) if not sentence.reason) or description.text


def _conflict_line(conflict: Conflict) -> str:
    others = [value for value in conflict.values if value != conflict.kept]
    if conflict.kept and others:
        return f"- {conflict.about}: {conflict.kept}, not {' or '.join(others)}"
    return f"- {conflict.about}: not sure ({' or '.join(conflict.values)}); leave it out" if conflict.rule else ""


def _depth(tree: Tree, root: str) -> int:
    below = [_depth(tree, child.region_id) for child in tree.children(root)]
    return 1 + max(below) if below else 0


def _number(text: str, wrong: Sequence[SentenceCheck]) -> str:
    """The wrong sentences with their numbers, each with the words that nobody said ("reason: words")."""
    lines: list[str] = []
    for at, check in enumerate(wrong, start=1):
        words = "; ".join(missing.partition(": ")[2] for missing in check.missing)
        lines.append(f"{at}. {text[check.start : check.end]} (not said above: {words})")
    return "\n".join(lines)


# ---- reading ---------------------------------------------------------------------------------------------------


def _read(reply: str, prompt: str, max_tokens: int) -> tuple[str, str]:
    """The description in a reply, or why it holds none."""
    if isinstance(reply, Refused):
        return "", "refused"
    body = _PREFACE.sub("", reply, count=1) if _PREFACE.match(reply) else reply
    text, reason = read_reply(body, max_tokens, expected=prompt)
    if reason:
        return "", reason
    visible_text = plain_text(body)
    if len(text) * 2 < len(visible_text):
        return "", "degenerate"
    return (
        ("", "cut_off")
        if may_be_cut(body, max_tokens) and whole_sentences(visible_text) != visible_text
        else (text, "")
    )


def _read_corrections(
    reply: str, wrong: Sequence[SentenceCheck], evidence: Evidence, root: str
) -> dict[int, list[Line]]:
    """By where the wrong sentence starts: what stands in its place, if that is borne out."""
    corrected: dict[int, list[Line]] = {}
    numbered = [match for line in reply.splitlines() if (match := _NUMBERED.match(line))]
    for match in numbered:
        number, text = int(match[1]), plain_text(match[2])
        if 0 < number <= len(wrong) and text:
            checks = check_text(text, evidence)
            if checks and not any(check.missing for check in checks):
                corrected[wrong[number - 1].start] = [_line(text, check, root) for check in checks]
    return corrected


def _line(text: str, check: SentenceCheck, root: str) -> Line:
    """A sentence as a line. Its characters count as said by the region deepest in the tree that bears it out, by the
    whole where none does."""
    sentence = text[check.start : check.end]
    return Line((Piece(sentence, _deepest(check.region_ids or (root,))),), check.region_ids, _is_filler(sentence))


def _deepest(region_ids: Sequence[str]) -> str:
    return max(region_ids, key=lambda region: region.count("."))


def _is_filler(text: str) -> bool:
    return any(mark.kind == "filler" for mark in find_marks(text, True))


def evidence_of(tree: Tree, root: str) -> Evidence:
    regions = list(tree.subtree(root))
    inside = {region.region_id for region in regions}
    return Evidence.of(
        regions,
        [tree.descriptions[region.region_id] for region in regions],
        [match for region in regions for match in tree.matches.get(region.region_id, ()) if match.parent_id in inside],
        [conflict for conflict in tree.conflicts if set(conflict.region_ids) & inside],
    )


def _apply_checks(
    text: str,
    checks: Sequence[SentenceCheck],
    corrected: Mapping[int, list[Line]],
    tree: Tree,
    root: str,
    params: Merge,
) -> Rewriting:
    """The sentences that are borne out, and whether enough of them are left."""
    lines: list[Line] = []
    struck: list[Decision] = []
    for check in checks:
        if not check.missing:
            lines.append(_line(text, check, root))
        elif check.start in corrected:
            lines += corrected[check.start]
        else:
            struck.append(Decision("contradiction", root, text[check.start : check.end], STRUCK))
    wrong = sum(bool(check.missing) for check in checks)
    rewriting = Rewriting(_link_lines(lines), struck, "", len(checks), wrong, len(struck))
    if len(struck) > params.max_struck * len(checks):
        return rewriting._replace(lines=[], reason="too_much_struck")
    input_words = frozenset[str]().union(
        *(content(tree.descriptions[r.region_id].text).words for r in tree.subtree(root))
    )
    output_words = frozenset[str]().union(*(content(line.marked[0].text).words for line in lines))
    if len(output_words & input_words) < LEAST * len(input_words):
        return rewriting._replace(lines=[], reason="too_little")
    return rewriting


def _link_lines(lines: Sequence[Line]) -> list[Line]:
    """Each line with the one that it speaks on from: a pronoun's is the one before, else the first of its region."""
    first: dict[str, int] = {}
    out: list[Line] = []
    for at, line in enumerate(lines):
        text, region = line.marked[0].text, line.marked[0].region_id
        leans = at - 1 if _PRONOUN.match(text) else first.get(region, -1)
        out.append(line._replace(leans_on=leans))
        first.setdefault(region, at)
    return out
