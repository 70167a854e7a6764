"""What benchmarks are asked about in tests: files with pictures, small collections with questions; scripted models."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmark_cases import FIXTURES
from PIL import Image as PILImage

from ouro.benchmarks.items import Item
from ouro.benchmarks.loaders.registry import benchmark
from ouro.core.artifacts import write_json, write_shard
from ouro.core.layout import Layout
from ouro.core.records import Box, Image, Region
from ouro.nano.scenes import draw_scene, render
from ouro.vision.protocols import Request
from tasks import benchmark_sources

COLORS = ("red", "green", "blue", "black")


class Scripted:
    """Answers what `reply` says in batches of `size`, and remembers what it was asked."""

    def __init__(self, reply: Callable[[Request], str] = lambda r: "no", size: int = 64) -> None:
        self.reply, self.size = reply, size
        self.asked: list[Request] = []
        self.lengths: set[int] = set()

    def generate(
        self, requests: Sequence[Request], *, max_new_tokens: int, progress: Callable[[int], None] | None = None,
        on_replies: Callable[[Mapping[int, str]], None] | None = None,
    ) -> list[str]:  # fmt: skip
        self.lengths.add(max_new_tokens)
        replies: list[str] = []
        for start in range(0, len(requests), self.size):
            batch = requests[start : start + self.size]
            self.asked += batch
            replies += [self.reply(request) for request in batch]
            if on_replies:
                on_replies({start + i: replies[start + i] for i in range(len(batch))})
        return replies


class Logging(Scripted):
    """Sees (`seeing`), writes every request into a file, and kills its process after `batches` batches."""

    def __init__(self, log: Path, size: int, batches: int | None = None) -> None:
        super().__init__(self._logged, size)
        self.log, self.left = log, batches

    def _logged(self, request: Request) -> str:
        if self.left is not None and len(self.asked) > self.left * self.size:
            os.kill(os.getpid(), signal.SIGKILL)
        with self.log.open("a") as file:
            file.write(json.dumps([request.prompt, number(request)]) + "\n")
        return seeing(request)


def fill(data: Path, names: Sequence[str]) -> Path:
    """The fixtures of benchmarks as a person has them: their files, and a drawn picture under every name."""
    for name in names:
        for file in (FIXTURES / name).iterdir():
            if file.is_file():
                (data / name).mkdir(parents=True, exist_ok=True)
                (data / name / file.name).write_bytes(file.read_bytes())
        source = benchmark_sources.open_source(benchmark(name), data, 10**8)
        for i, item in enumerate(one for one in source.load() if isinstance(one, Item)):
            path = data / name / "images" / item.image
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                picture = PILImage.fromarray(render(draw_scene(np.random.default_rng([len(name), i]))))
                picture.save(path, "PNG")
    return data


def collection(root: Path, images: int) -> Layout:
    """Images i0, i1, ... whose first pixel says their number, with two questions each: a quarter has each of COLORS,
    every second one a star. Two regions each, the larger one second."""
    layout = Layout(root / "data", root / ".ouro/cache")
    names = [f"i{k}" for k in range(images)]
    (layout.images / "shard-00000").mkdir(parents=True)
    for k, name in enumerate(names):
        PILImage.new("RGB", (60, 60), (k, 0, 0)).save(layout.images / f"shard-00000/{name}.png")
    records = [Image(name, f"shard-00000/{name}.png", 60, 60, "drawn", "test") for name in names]
    write_shard(layout.images / "shard-00000.parquet", Image, records, n_in=images)
    regions = [region for name in names for region in _regions(name)]
    write_shard(layout.regions / "shard-00000.parquet", Region, regions, n_in=len(regions))
    answers = [
        (f"i{k}", question, answer, kind) for k in range(images)
        for question, answer, kind in (
            ("what color?", COLORS[k % 4], "color"), ("a star?", ("yes", "no")[k % 2], "existence")
        )
    ]  # fmt: skip
    write_questions(layout, answers)
    return layout


def _regions(image: str) -> list[Region]:
    boxes: list[Box] = [(0, 0, 60, 60), (0, 0, 40, 30), (0, 0, 50, 40)]
    return [
        Region(f"{image}/{i}", image, f"{image}/0" if i else None, int(i > 0), box, 1.0, "rpn" if i else "image")
        for i, box in enumerate(boxes)
    ]


def write_questions(layout: Layout, answers: Sequence[tuple[str, str, str, str]]) -> None:
    """(image, question, answer, question type) as ingest writes them, ten annotators of one mind."""
    questions = [{"question_id": i, "image_id": a[0], "question": a[1]} for i, a in enumerate(answers)]
    annotations = [
        {"question_id": i, "image_id": a[0], "question_type": a[3], "answers": [{"answer": a[2]}] * 10}
        for i, a in enumerate(answers)
    ]
    write_json(layout.annotations / "test_questions.json", {"questions": questions})
    write_json(layout.annotations / "test_annotations.json", {"annotations": annotations})


def number(request: Request) -> int:
    """Of the picture that is shown."""
    pixel = request.images[0].getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return int(pixel[0])


def seeing(request: Request) -> str:
    """A model that sees: it answers of the picture that it is shown."""
    k = number(request)
    return COLORS[k % 4] if "color" in request.prompt else ("yes", "no")[k % 2]


def blind(request: Request) -> str:
    """A model without eyes."""
    return "Red." if "color" in request.prompt else "yes"
