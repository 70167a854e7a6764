"""What was composed of an image as its Scene record, every description within its budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ouro.annotate.merging.budget import Count, Line, confirmations, join_lines, within_budget
from ouro.annotate.merging.provenance import break_tokens, insertions, plain
from ouro.annotate.merging.tree import tree_json
from ouro.core.params import Merge
from ouro.core.records import Conflict, Decision, Description, Image, Match, Region, Scene, Sentence


class Task(NamedTuple):
    """One image to merge: its root, all its regions, and its descriptions."""

    image: Image
    root: Region
    regions: list[Region]
    descriptions: list[Description]


class Composition(NamedTuple):
    """The composed lines of every described region, and what composing decided."""

    writer: str
    lines: dict[str, list[Line]]
    decisions: list[Decision]
    matches: Sequence[Match] = ()
    conflicts: Sequence[Conflict] = ()


def make_scene(task: Task, composition: Composition, params: Merge, count: Count) -> tuple[Scene, bool]:
    """The scene, its texts without control tokens; and whether one of its descriptions was shortened."""
    root = task.root.region_id
    composition = _break_tokens(composition)
    confirmed = confirmations(d.text for d in task.descriptions) if _is_long(composition, params, count) else {}
    short = {
        region: within_budget(lines, region, params.max_tokens, count, confirmed)
        for region, lines in composition.lines.items()
    }
    root_lines = short[root].lines
    text = join_lines(root_lines, root)
    scene = Scene(
        task.image.image_id,
        plain(text),
        insertions(text, root),
        tuple((r, plain(join_lines(short[r].lines, r))) for d in task.descriptions if (r := d.region_id) in short),
        _sentences(root_lines),
        (*composition.decisions, *short[root].lost),
        tree_json(task.root, task.regions, task.descriptions),
        tuple(composition.matches),
        tuple(composition.conflicts),
    )
    return scene, any(one.lost for one in short.values())


def _break_tokens(composition: Composition) -> Composition:
    """Lines with their control tokens broken: captions may hold them, and cutting may join their halves."""
    lines = {
        region: [line._replace(marked=break_tokens(line.marked)) for line in region_lines]
        for region, region_lines in composition.lines.items()
    }
    return composition._replace(lines=lines)


def _is_long(composition: Composition, params: Merge, count: Count) -> bool:
    return any(count(plain(join_lines(lines, ""))) > params.max_tokens for lines in composition.lines.values())


def _sentences(lines: Sequence[Line]) -> tuple[Sentence, ...]:
    """Where each line stands in the joined text."""
    sentences: list[Sentence] = []
    at = 0
    for line in lines:
        end = at + len(plain(line.marked))
        sentences.append(Sentence(at, end, line.region_ids))
        at = end + 1
    return tuple(sentences)
