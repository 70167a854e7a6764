"""The nano world as a collection: ids, splits, balance, determinism."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ouro.benchmarks.items import Item
from ouro.benchmarks.loaders.general import own_questions
from ouro.core.artifacts import read_all
from ouro.core.params import Ingest
from ouro.core.records import Image
from ouro.nano.language import QA
from ouro.nano.world import ImageQuestion, balanced, write_world

SMALL = Ingest(train_images=6, test_images=8, shard_images=5)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_world(root / "images", root / "annotations", SMALL, seed=3)
    return root


def test_every_scene_is_stored_and_captions_go_to_training_images_only(world: Path) -> None:
    images = read_all(world / "images", Image)
    assert Counter(i.split for i in images) == {"train": 6, "test": 8}
    assert all(bool(i.captions) == (i.split == "train") for i in images)
    assert all((world / "images" / i.path).is_file() for i in images)


def questions(world: Path, split: str) -> list[Item]:
    files = [world / f"annotations/{split}_{name}.json" for name in ("questions", "annotations")]
    return [one for one in own_questions(files) if isinstance(one, Item)]


def test_held_out_questions_are_about_held_out_images_only(world: Path) -> None:
    split = {i.image_id: i.split for i in read_all(world / "images", Image)}
    for name in ("train", "test"):
        items = questions(world, name)
        assert items
        assert {split[item.image] for item in items} == {name}


def test_facts_hold_the_ground_truth_of_every_image(world: Path) -> None:
    facts = json.loads((world / "annotations/facts.json").read_text())
    assert set(facts) == {i.image_id for i in read_all(world / "images", Image)}
    assert all(scene["containers"][0]["items"] for scene in facts.values())


def test_benchmark_answers_are_exactly_balanced_within_each_type(world: Path) -> None:
    counts: dict[str, Counter[str]] = {}
    for item in questions(world, "test"):
        counts.setdefault(item.kind, Counter())[item.references[0]] += 1
    assert all(len(set(answers.values())) == 1 for answers in counts.values())


def test_the_quota_drops_an_answer_only_where_it_costs_more_than_half() -> None:
    """5 yes, 4 no, 1 maybe: four each of yes and no (8) beat one of each (3); with 2 maybe, two of each (6) do."""
    pool = [ImageQuestion("i", QA("t", "?", a)) for a in ["yes"] * 5 + ["no"] * 4 + ["maybe"]]
    counts = Counter(a.qa.answer for a in balanced(pool, np.random.default_rng(0)))
    assert counts == {"yes": 4, "no": 4}
    pool.append(ImageQuestion("i", QA("t", "?", "maybe")))
    counts = Counter(a.qa.answer for a in balanced(pool, np.random.default_rng(0)))
    assert counts == {"yes": 2, "no": 2, "maybe": 2}


def test_the_limit_of_a_type_holds() -> None:
    pool = [ImageQuestion("i", QA("t", "?", a)) for a in ["yes", "no"] * 50]
    counts = Counter(a.qa.answer for a in balanced(pool, np.random.default_rng(0), limit=21))
    assert counts == {"yes": 10, "no": 10}


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(world: Path, tmp_path: Path) -> None:
    def digest(root: Path) -> dict[str, bytes]:
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    write_world(tmp_path / "a/images", tmp_path / "a/annotations", SMALL, seed=3)
    write_world(tmp_path / "b/images", tmp_path / "b/annotations", SMALL, seed=4)
    assert digest(tmp_path / "a") == digest(world)
    assert not set(digest(tmp_path / "b")) >= {k for k in digest(world) if k.endswith(".png")}
