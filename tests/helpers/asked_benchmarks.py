"""Benchmark folders with pictures, and a model that answers by script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from benchmark_cases import FIXTURES
from PIL import Image as PILImage

from ouro.benchmarks.items import Item
from ouro.benchmarks.loaders.registry import benchmark
from ouro.nano.scenes import draw_scene, render
from ouro.vision.protocols import Request
from tasks import asking

NAMES = ("docvqa", "chartqa", "vqav2", "klc", "scienceqa", "pope")


def fill(data: Path, names: Sequence[str] = NAMES) -> Path:
    """The fixtures of benchmarks as a person has them: their files, and a drawn picture under every name."""
    for name in names:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        source = FIXTURES / name
        for file in source.iterdir():
            if file.is_file():
                (data / name).mkdir(exist_ok=True)
                (data / name / file.name).write_bytes(file.read_bytes())
        opened = asking.open_source(benchmark(name), data, 10**8)
        for number, item in enumerate(one for one in opened.load() if isinstance(one, Item)):
            path = data / name / "images" / item.image
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                picture = PILImage.fromarray(render(draw_scene(np.random.default_rng([len(name), number]))))
                picture.save(path, "PNG")
    return data


class Scripted:
    """Answers what `reply` says, and remembers what it was asked."""

    def __init__(self, reply: Callable[[Request], str] = lambda r: "no") -> None:
        self.reply, self.asked, self.lengths = reply, list[Request](), set[int]()

    def generate(
        self, requests: Sequence[Request], *, max_new_tokens: int, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        self.asked += requests
        self.lengths.add(max_new_tokens)
        return [self.reply(request) for request in requests]
