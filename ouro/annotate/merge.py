"""Merge (eq. 4): the descriptions of an image's regions become one, by object-name matching and relative positions.

    whole:    The image shows a garage with metal shelves.
    region:   The image shows a set of gray metal shelves with boxes. (top right, "metal shelves")
    merged:   The image shows a garage with metal shelves. At the top right is the set of gray metal shelves with boxes.

In order: text that OCR read stands once; marks (what a crop alone suggests) are found; each region's object is matched
with what the regions above it name; what two regions tell differently is a conflict and settled; a writer composes.
`merge.writer`: "outline" (merging/outline.py), "vlm" (merging/rewrite.py: the annotator writes, a guard checks) or
"template" (the caller's own writer for texts of one template language; any other text is outlined).

Source: OURO section 3.1, eq. 4, and the limits of section 4.4. The paper gives no rules for matching and composing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ouro.annotate.merging.budget import Count, Line, join_lines, lines_of
from ouro.annotate.merging.outline import outline
from ouro.annotate.merging.provenance import Composed, Marked, Piece, plain
from ouro.annotate.merging.relating import Related, relate
from ouro.annotate.merging.rewrite import Rewriting, rewrite_trees
from ouro.annotate.merging.scenes import Composition, Task, make_scene
from ouro.annotate.merging.tree import build_tree
from ouro.core.boxes import relative_position
from ouro.core.control_tokens import count_broken_tokens, tokens_meta
from ouro.core.params import Merge
from ouro.core.records import Description, Image, Region, Rejected, Scene, training_images
from ouro.core.tokens import count_words

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.vision.protocols import VisionLM

UNREAD = 0.25  # share of an image's descriptions that may be no texts of the template's language
KINDS = ("contradiction", "redundancy", "budget")  # of decisions


class Template(Protocol):
    """Merge(d, {d_j}) for a template language; None where a text is not in it.

    `children`: (merged description, place in the parent such as "top left") in reading order.
    """

    def __call__(self, piece: Piece, children: Sequence[tuple[Marked, str]]) -> Composed | None: ...


class Merged(NamedTuple):
    """The scenes of a shard; in `cut` of them a description was shortened to the budget of tokens. `written` counts
    scenes by who wrote them: "template", "vlm", "outline", or "outline: REASON" where the outline stands for another.
    """

    scenes: list[Scene]
    rejected: list[Rejected]
    cut: int
    written: Counter[str]

    def meta(self) -> dict[str, Any]:
        """For the sidecar: scenes that were shortened, words, decisions by kind, matches, conflicts, writers."""
        kinds = Counter(d.kind for scene in self.scenes for d in scene.decisions)
        conflicts = [c for scene in self.scenes for c in scene.conflicts]
        return {
            "cut": self.cut,
            "words": sum(len(scene.text.split()) for scene in self.scenes),
            **{kind: kinds[kind] for kind in KINDS},
            "matches": sum(len(scene.matches) for scene in self.scenes),
            "conflicts": len(conflicts),
            "settled": sum(bool(c.rule) for c in conflicts),
            "written": dict(sorted(self.written.items())),
            **tokens_meta(sum(count_broken_tokens(scene.text) for scene in self.scenes)),
        }


def merge_images(
    images: Sequence[Image],
    regions: Sequence[Region],
    descriptions: Sequence[Description],
    params: Merge,
    count: Count,
    *,
    vlm: VisionLM | None = None,
    pictures: Mapping[str, PILImage.Image] | None = None,
    template: Template | None = None,
) -> Merged:
    """As `merge_shard`, of the training images."""
    train = training_images(images)
    return merge_shard(train, regions, descriptions, params, count, vlm=vlm, pictures=pictures, template=template)


def merge_shard(
    images: Sequence[Image],
    regions: Sequence[Region],
    descriptions: Sequence[Description],
    params: Merge,
    count: Count = count_words,
    *,
    vlm: VisionLM | None = None,
    pictures: Mapping[str, PILImage.Image] | None = None,
    template: Template | None = None,
) -> Merged:
    """One Scene an image; an image whose root was not described is rejected ("not_described").

    `count`: how many tokens a text has for the model that will read it. `vlm`: the annotator, asked by the writer
    "vlm", the matcher "asked" and settling by "look"; `pictures`: image id -> picture, for "look". `template`: the
    writer of that name; without one, or for texts that it does not read, the outline stands.
    """
    tasks, rejected = _tasks(images, regions, descriptions)
    compositions: dict[int, Composition] = {}
    if params.writer == "template" and template is not None:
        attempts = ((at, _by_template(task, template, params)) for at, task in enumerate(tasks))
        compositions = {at: composition for at, composition in attempts if composition is not None}
    rest = [at for at in range(len(tasks)) if at not in compositions]
    composed = _compose([tasks[at] for at in rest], params, count, vlm, pictures)
    compositions |= dict(zip(rest, composed, strict=True))
    scenes = [make_scene(task, compositions[at], params, count) for at, task in enumerate(tasks)]
    return Merged(
        [scene for scene, _ in scenes], rejected, sum(cut for _, cut in scenes),
        Counter(compositions[at].writer for at in range(len(tasks))),
    )  # fmt: skip


def merge_region(
    image: Image,
    root: Region,
    below: Sequence[Region],
    descriptions: Sequence[Description],
    params: Merge,
    template: Template | None = None,
) -> str:
    """Merge(d, D) of one described region, line 15 of Algorithm 1: its text, of no length. `below`: all regions under
    it, parents first. No model is asked."""
    task = Task(image, root, [root, *below], list(descriptions))
    composition = _by_template(task, template, params) if params.writer == "template" and template else None
    composition = composition or _compose([task], params, count_words, None, None)[0]
    return plain(join_lines(composition.lines[root.region_id], root.region_id))


def _tasks(
    images: Sequence[Image], regions: Sequence[Region], descriptions: Sequence[Description]
) -> tuple[list[Task], list[Rejected]]:
    by_region = {d.region_id: d for d in descriptions if any(c.isalnum() for c in d.text)}
    by_image: dict[str, list[Region]] = defaultdict(list)
    for region in regions:
        by_image[region.image_id].append(region)
    tasks: list[Task] = []
    rejected: list[Rejected] = []
    for image in images:
        image_regions = by_image[image.image_id]
        root = next((r for r in image_regions if r.parent_id is None), None)
        if root is None or root.region_id not in by_region:
            rejected.append(Rejected("merge", image.image_id, "not_described", "no description of the whole image"))
        else:
            tasks.append(
                Task(
                    image,
                    root,
                    image_regions,
                    [by_region[r.region_id] for r in image_regions if r.region_id in by_region],
                )
            )
    return tasks, rejected


# ---- composing -------------------------------------------------------------------------------------------------


def _by_template(task: Task, template: Template, params: Merge) -> Composition | None:
    """Bottom-up; None where the texts are not in the template's language: the root's, any with others below it, or
    more than UNREAD of all. A single one may be a slip."""
    tree = build_tree(task.regions, task.descriptions)
    composed: dict[str, Composed] = {}
    n_unread = 0
    for region in reversed(list(tree.subtree(task.root.region_id))):
        piece = Piece(" ".join(tree.descriptions[region.region_id].text.split()), region.region_id)
        children = [
            (composed[child.region_id].marked, relative_position(child.box, region.box))
            for child in tree.children(region.region_id)
        ]
        branch = template(piece, children)
        if branch is None:
            n_unread += 1
            if children or region is task.root or n_unread > UNREAD * len(task.descriptions):
                return None
        composed[region.region_id] = branch or Composed((piece,), [])
    lines = {region: lines_of(branch.marked) for region, branch in composed.items()}
    lines[task.root.region_id] = _captions(task, params) + lines[task.root.region_id]
    decisions = [decision for branch in composed.values() for decision in branch.decisions]
    return Composition("template", lines, decisions)


def _compose(
    tasks: Sequence[Task],
    params: Merge,
    count: Count,
    vlm: VisionLM | None,
    pictures: Mapping[str, PILImage.Image] | None,
) -> list[Composition]:
    """Match, settle and write the given images."""
    related = relate([(task.regions, task.descriptions) for task in tasks], params, vlm, pictures)
    outlines = [_write_outline(task, one, params) for task, one in zip(tasks, related, strict=True)]
    if params.writer == "template":
        return [w._replace(writer="outline: not_the_template") for w in outlines]
    if params.writer == "outline" or not tasks:
        return outlines
    if vlm is None:
        raise ValueError("merge.writer vlm: got no annotator; give merge_shard one, or set merge.writer to outline")
    roots = [task.root.region_id for task in tasks]
    rewritings = rewrite_trees([one.tree for one in related], roots, vlm, params, count)
    return [
        _use_rewriting(task, w, rewriting, params)
        for task, w, rewriting in zip(tasks, outlines, rewritings, strict=True)
    ]


def _write_outline(task: Task, related: Related, params: Merge) -> Composition:
    """The outline of every region of an image."""
    root = task.root.region_id
    whole = outline(related.tree, root, [plain(line.marked) for line in _captions(task, params)])
    lines = {root: whole.lines}
    for region in list(related.tree.subtree(root))[1:]:
        lines[region.region_id] = outline(related.tree, region.region_id).lines
    decisions = [*related.decisions, *whole.decisions]
    return Composition("outline", lines, decisions, related.matches, related.conflicts)


def _use_rewriting(task: Task, outlined: Composition, rewriting: Rewriting, params: Merge) -> Composition:
    """What the annotator wrote in place of the outline, which stands where it wrote nothing that can be used."""
    lines = outlined.lines | dict(rewriting.branches)
    if rewriting.reason:
        return outlined._replace(writer=f"outline: {rewriting.reason}", lines=lines)
    lines[task.root.region_id] = _captions(task, params) + rewriting.lines
    return outlined._replace(writer="vlm", lines=lines, decisions=[*outlined.decisions, *rewriting.decisions])


def _captions(task: Task, params: Merge) -> list[Line]:
    """The collection's captions, before the description (VILA^2 section 2.1, "concatenated")."""
    if params.captions != "concatenated":
        return []
    captions = [" ".join(c.split()).rstrip(" .") for c in task.image.captions if any(x.isalnum() for x in c)]
    root = task.root.region_id
    return [Line((Piece(f"{caption}.", root),), (root,)) for caption in dict.fromkeys(captions)]
