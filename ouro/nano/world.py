"""The nano world as a collection: image shards, and annotations in the files that real data comes in.

Training images get what human annotators would have written: coarse captions (COCO-caption format) and coarse
questions (VQAv2 format). Held-out images get the fine-grained benchmark, its answers balanced within each
type, so that a constant answer scores at chance. facts.json holds the exact ground truth of all.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as PILImage

from ouro.core.artifacts import read_shard, write_json
from ouro.core.images import encode_png
from ouro.core.params import Ingest
from ouro.core.records import Image
from ouro.ingest.collection import ingest_files
from ouro.ingest.manifest import ManifestEntry
from ouro.nano.language import QA, coarse_caption, coarse_questions, fine_questions
from ouro.nano.scenes import Scene, draw_scene, render

MAX_PER_TYPE = 220  # questions of one type in the benchmark
ANSWERS = 10  # annotators per question in the VQAv2 format; here all agree


class Drawn(NamedTuple):
    """One scene of the collection."""

    name: str
    split: str
    scene: Scene


class ImageQuestion(NamedTuple):
    """A question about one image."""

    image_id: str
    qa: QA


def write_world(
    images: Path, annotations: Path, params: Ingest, seed: int, progress: Callable[[int], None] | None = None
) -> list[Path]:
    """Draw `train_images` + `test_images` scenes into shards and annotation files; returns the shards."""
    drawings = list(_draw(params, seed))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        entries = (_paint(root, one) for one in drawings)
        shards = ingest_files(entries, root, images, params, progress)
    ids = {image.source: image.image_id for shard in shards for image in read_shard(shard, Image)}
    drawings_by_id = {ids[one.name]: one for one in drawings if one.name in ids}
    _write_annotations(annotations, drawings_by_id, np.random.default_rng([seed, 2]))
    return shards


def _draw(params: Ingest, seed: int) -> Iterator[Drawn]:
    for number, (split, n) in enumerate((("train", params.train_images), ("test", params.test_images))):
        rng = np.random.default_rng([seed, number])
        for i in range(n):
            yield Drawn(f"{split}-{i:05d}.png", split, draw_scene(rng))


def _paint(root: Path, one: Drawn) -> ManifestEntry:
    path = root / one.name
    path.write_bytes(encode_png(PILImage.fromarray(render(one.scene))))
    return ManifestEntry(path, one.split, (coarse_caption(one.scene),) if one.split == "train" else ())


def _write_annotations(folder: Path, drawings: dict[str, Drawn], rng: np.random.Generator) -> None:
    train = {image_id: one.scene for image_id, one in drawings.items() if one.split == "train"}
    test = {image_id: one.scene for image_id, one in drawings.items() if one.split == "test"}
    _write_vqa(folder, "train", [ImageQuestion(i, qa) for i, scene in train.items() for qa in coarse_questions(scene)])
    pool = [ImageQuestion(i, qa) for i, scene in test.items() for qa in fine_questions(scene, rng)]
    _write_vqa(folder, "test", balanced(pool, rng))
    write_json(folder / "train_captions.json", _captions(train))
    write_json(folder / "facts.json", {image_id: asdict(one.scene) for image_id, one in drawings.items()})


def balanced(pool: Sequence[ImageQuestion], rng: np.random.Generator, limit: int = MAX_PER_TYPE) -> list[ImageQuestion]:
    """Of each type as many questions for one answer as for any other, at most `limit` a type, in pool order.

    As many answers are kept as leave at least half of the questions that could be; rarer ones are left out.
    """
    groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, question in enumerate(pool):
        groups[question.qa.type][question.qa.answer].append(number)
    indices: list[int] = []
    for answers in groups.values():
        quota = _quota([len(members) for members in answers.values()], limit)
        for members in (m for m in answers.values() if len(m) >= quota):
            indices += [int(i) for i in rng.choice(members, size=quota, replace=False)]
    return [pool[i] for i in sorted(indices)]


def _quota(counts: Sequence[int], limit: int) -> int:
    """The number per answer that keeps most answers, at no more than half the price in questions."""

    def answers(quota: int) -> int:
        return sum(count >= quota for count in counts)

    totals = {q: q * answers(q) for q in range(1, max(counts) + 1) if q * answers(q) <= limit}
    several = {q: n for q, n in totals.items() if answers(q) > 1} or totals
    most = max(several.values())
    return max((q for q, n in several.items() if 2 * n >= most), key=lambda q: (answers(q), totals[q]))


def _write_vqa(folder: Path, split: str, entries: Sequence[ImageQuestion]) -> None:
    questions = [{"question_id": i, "image_id": a.image_id, "question": a.qa.question} for i, a in enumerate(entries)]
    annotations = [
        {
            "question_id": i,
            "image_id": a.image_id,
            "question_type": a.qa.type,
            "answer_type": "other",
            "multiple_choice_answer": a.qa.answer,
            "answers": [
                {"answer_id": n, "answer": a.qa.answer, "answer_confidence": "yes"} for n in range(1, ANSWERS + 1)
            ],
        }
        for i, a in enumerate(entries)
    ]
    write_json(folder / f"{split}_questions.json", {"questions": questions})
    write_json(folder / f"{split}_annotations.json", {"annotations": annotations})


def _captions(scenes: dict[str, Scene]) -> dict[str, Any]:
    """COCO-caption format: one caption an image."""
    return {
        "images": [{"id": image_id, "file_name": f"{image_id}.png"} for image_id in scenes],
        "annotations": [
            {"id": n, "image_id": image_id, "caption": coarse_caption(scene)}
            for n, (image_id, scene) in enumerate(scenes.items())
        ],
    }
