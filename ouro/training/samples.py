"""Training samples (OURO section 3.2): an image, its sub-regions, its description and its question-answer pairs.

Samples are built shard by shard and stored in one memory-mapped file (ouro.training.store), so that a collection of any
size fits. ouro.training.rows draws the regions and questions of a sample for each epoch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ouro.core.control_tokens import break_control_tokens, count_broken_tokens
from ouro.core.records import Box, Image, QAPair, Region, Rejected, Scene

Originals = Mapping[str, Sequence[tuple[str, str]]]  # image id -> the collection's own questions and answers


class QuestionAnswer(NamedTuple):
    """A question, its answer, and its aspect ("" for the collection's own questions)."""

    question: str
    answer: str
    aspect: str = ""


class SampleRegion(NamedTuple):
    """A sub-region: its box (pixels), its level in the tree, and its merged description ("" without one)."""

    region_id: str
    box: Box
    level: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its supervision. `size`: width and height, pixels; `path` is relative to the images' folder."""

    image_id: str
    path: str
    size: tuple[int, int]
    parts: tuple[SampleRegion, ...]
    description: str
    pairs: tuple[QuestionAnswer, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        return tuple(part.box for part in self.parts)


class SampleSet(NamedTuple):
    """Samples and rejected images: images in = samples + rejected."""

    samples: list[Sample]
    rejected: list[Rejected]


def original_pairs(questions: Iterable[tuple[str, str, Sequence[str]]]) -> dict[str, list[tuple[str, str]]]:
    """(image id, question, answers of all annotators) -> by image, each question with its most frequent answer."""
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for image_id, question, answers in questions:
        pairs[image_id].append((question, max(answers, key=answers.count)))
    return dict(pairs)


def make_samples(
    supervision: str,
    images: Sequence[Image],
    regions: Iterable[Region],
    scenes: Iterable[Scene] = (),
    pairs: Iterable[QAPair] = (),
    originals: Originals | None = None,
) -> SampleSet:
    """One sample per image, by train.supervision:

    ours    the merged description and the synthesized pairs
    orig    the collection's first human caption and its own pairs (OURO Table 6, "Orig.")
    both    the caption and the merged description joined to one text, and the pairs of both (VILA^2 section 2.1
            concatenates original and generated captions)

    Rejected: "no_description", for an image without a caption or description to train on. Control tokens in texts are
    broken (ouro.core.control_tokens): captions and pairs of the collection come from strangers.
    """
    parts, texts, pairs_by_image = _group_by_image(regions, list(scenes), pairs)
    collection_pairs = originals or {}
    result = SampleSet([], [])
    for image in images:
        descriptions = [*image.captions[:1]] if supervision != "ours" else []
        descriptions += [texts[image.image_id]] if supervision != "orig" and image.image_id in texts else []
        questions = (
            [QuestionAnswer(*pair) for pair in collection_pairs.get(image.image_id, ())]
            if supervision != "ours"
            else []
        )
        questions += pairs_by_image[image.image_id] if supervision != "orig" else []
        if not "".join(descriptions).strip():
            result.rejected.append(Rejected("train", image.image_id, "no_description", f"supervision {supervision}"))
            continue
        description = " ".join(text.strip() for text in descriptions)
        size = (image.width, image.height)
        sample = Sample(image.image_id, image.path, size, tuple(parts[image.image_id]), description, tuple(questions))
        result.samples.append(_break_tokens(sample))
    return result


def _break_tokens(sample: Sample) -> Sample:
    """A sample without control tokens in its texts."""

    def clean(text: str) -> str:
        return break_control_tokens(text).text

    parts = tuple(part._replace(text=clean(part.text)) for part in sample.parts)
    pairs = tuple(QuestionAnswer(clean(p.question), clean(p.answer), p.aspect) for p in sample.pairs)
    return replace(sample, parts=parts, description=clean(sample.description), pairs=pairs)


def count_tokens(sample: Sample) -> int:
    """How many control tokens stand broken in the texts that the sample is trained on."""
    texts = [sample.description, *(text for pair in sample.pairs for text in (pair.question, pair.answer))]
    return sum(map(count_broken_tokens, texts))


def _group_by_image(
    regions: Iterable[Region], scenes: Sequence[Scene], pairs: Iterable[QAPair]
) -> tuple[Mapping[str, list[SampleRegion]], dict[str, str], Mapping[str, list[QuestionAnswer]]]:
    region_texts = {region_id: text for scene in scenes for region_id, text in scene.region_texts}
    parts: dict[str, list[SampleRegion]] = defaultdict(list)
    pairs_by_image: dict[str, list[QuestionAnswer]] = defaultdict(list)
    for r in regions:
        if r.parent_id is not None:
            parts[r.image_id].append(SampleRegion(r.region_id, r.box, r.level, region_texts.get(r.region_id, "")))
    for p in pairs:
        pairs_by_image[p.image_id].append(QuestionAnswer(p.question, p.answer, p.aspect))
    return parts, {scene.image_id: scene.text for scene in scenes}, pairs_by_image
