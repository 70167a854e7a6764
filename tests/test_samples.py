"""Training samples: supervision, what is drawn of them, the file that holds them, and what is turned away."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import sample_rows
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from sample_rows import BASE, job, sample
from tiny_models import tiny_processor

from ouro.core.artifacts import ArtifactError
from ouro.core.params import Train
from ouro.core.records import Image, QAPair, Region, Scene
from ouro.training.admission import filter_samples, read_context_length
from ouro.training.checkpoints import checkpoint_key
from ouro.training.job import TrainingError
from ouro.training.rows import RowDataset, write_draws
from ouro.training.samples import QuestionAnswer, Sample, SampleRegion, make_samples
from ouro.training.selection import Selection, draw_selection, question_coverage, select_regions
from ouro.training.store import SampleFile, read_lengths, store_samples, write_samples
from ouro.vision.encoding import Encoder

# ---- supervision ---------------------------------------------------------------------------------------------


REGIONS = [
    Region("i/0", "i", None, 0, (0.0, 0.0, 256.0, 256.0), 1.0, "image"),
    Region("i/0.0", "i", "i/0", 1, (0.0, 0.0, 99.0, 99.0), 1.0, "rpn"),
]
SCENE = Scene("i", "a merged text", (), (("i/0", "a merged text"), ("i/0.0", "a red star")))
PAIR = QAPair("q", "i", "style", "what color is the star?", "red")
ORIGINALS = {"i": [("is there a table?", "yes")]}


@pytest.mark.parametrize(
    ("supervision", "description", "pairs"),
    [
        ("ours", "a merged text", [("what color is the star?", "red", "style")]),
        ("orig", "a table with some objects", [("is there a table?", "yes", "")]),
        (
            "both",
            "a table with some objects a merged text",
            [("is there a table?", "yes", ""), ("what color is the star?", "red", "style")],
        ),
    ],
)
def test_supervision_by_ours_by_the_collection_and_by_both(supervision: str, description: str, pairs: Any) -> None:
    image = Image("i", "i.png", 256, 200, "s", "train", ("a table with some objects",))
    [one], rejected = make_samples(supervision, [image], REGIONS, [SCENE], [PAIR], ORIGINALS)
    assert (one.description, list(one.pairs), rejected) == (description, pairs, [])
    assert one.parts == (("i/0.0", (0.0, 0.0, 99.0, 99.0), 1, "a red star"),)
    assert (one.boxes, one.size) == (((0.0, 0.0, 99.0, 99.0),), (256, 200))


@pytest.mark.parametrize(("supervision", "captions"), [("orig", ()), ("ours", ("said",)), ("both", (" ",))])
def test_an_image_without_a_text_is_no_sample_and_says_so(supervision: str, captions: tuple[str, ...]) -> None:
    image = Image("i", "i.png", 256, 200, "s", "train", captions)
    sample_set = make_samples(supervision, [image], REGIONS, [], [PAIR], ORIGINALS)
    assert sample_set.samples == []
    assert [(r.record_id, r.reason) for r in sample_set.rejected] == [("i", "no_description")]


# ---- draws ---------------------------------------------------------------------------------------------------

strategies = st.sampled_from(["random", "by-level", "informative"])


@given(st.integers(0, 9), st.integers(0, 12), strategies, st.integers(0, 99))
def test_k_regions_are_drawn_without_replacement_and_the_same_again(k: int, n: int, how: str, seed: int) -> None:
    params = Train(k=k, selection=how)  # type: ignore[arg-type]
    once, second = (draw_selection(sample(n), params, np.random.default_rng(seed)) for _ in range(2))
    assert once == second
    assert len(once.regions) == min(k, n) and list(once.regions) == sorted(set(once.regions))
    assert all(0 <= i < n for i in once.regions)
    assert len(set(once.pairs)) == len(once.pairs) == 5
    assert not draw_selection(sample(n), params, np.random.default_rng(seed), with_regions=False).regions


def test_questions_are_of_one_aspect_each_before_a_second() -> None:
    selection = draw_selection(sample(), Train(questions=2), np.random.default_rng(0)).pairs
    assert {sample().pairs[i].aspect for i in selection} == {"a", "b"}


@given(st.lists(st.integers(1, 4), min_size=1, max_size=20), st.integers(1, 20), st.integers(0, 99))
def test_by_level_serves_levels_evenly(levels: list[int], k: int, seed: int) -> None:
    """No level has two regions more than another that still has some left."""
    parts = [SampleRegion(str(i), (0.0, 0.0, 9.0, 9.0), level) for i, level in enumerate(levels)]
    counts = Counter(levels[i] for i in select_regions(parts, [], k, "by-level", np.random.default_rng(seed)))
    totals = Counter(levels)
    for a in totals:
        for b in totals:
            assert counts[a] <= counts[b] + 1 or counts[b] == totals[b]


def test_informative_regions_are_those_that_the_questions_are_about() -> None:
    """Four parts, two questions: "red star" is in part 2 alone, "milk" in part 3; "a" in all, which says nothing."""
    texts = ["a blue box", "a green ring", "a red star", "a sign that says milk"]
    parts = [SampleRegion(str(i), (0.0, 0.0, 9.0, 9.0), 1, text) for i, text in enumerate(texts)]
    questions = [QuestionAnswer("what color is the star?", "red"), QuestionAnswer("what does the sign say?", "milk")]
    for seed in range(5):
        assert set(select_regions(parts, questions, 2, "informative", np.random.default_rng(seed))) == {2, 3}
    one = Sample("i", "i.png", (9, 9), tuple(parts), "d", tuple(questions))
    assert question_coverage(one, Selection((2, 3), (0, 1))) == 1.0
    assert question_coverage(one, Selection((0, 1), (0, 1))) == 0.0
    # star: log 4 + red: log 4 against sign, says, milk: 3 log 4; "says" is not asked, "sign" and "milk" are
    assert question_coverage(one, Selection((2,), (0, 1))) == pytest.approx(2 / 4)


def test_epochs_differ_and_every_draw_is_recorded(tmp_path: Path) -> None:
    given_job = job([sample(name=str(i)) for i in range(6)], k=3)
    summary = write_draws(given_job, tmp_path / "draws.parquet")
    rows, seen = RowDataset(given_job, None), pq.read_table(tmp_path / "draws.parquet").to_pylist()  # type: ignore[arg-type]
    assert len(seen) == len(rows) == 12
    for index, row in enumerate(seen):
        one, selection = rows.drawn(index)
        assert row["image_id"] == one.image_id and row["epoch"] == index // 6
        assert row["region_ids"] == [one.parts[i].region_id for i in selection.regions]
        assert row["questions"] == list(selection.pairs)
    first, second = ({r["image_id"]: r["region_ids"] for r in seen[s : s + 6]} for s in (0, 6))
    assert first.keys() == second.keys() and first != second
    assert summary["draws.regions"] == 3
    assert sum(v for k, v in summary.items() if "level" in k) == pytest.approx(1)


def test_every_epoch_shows_every_sample_once_in_steps_of_similar_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 70)
    samples = [dataclasses.replace(sample(), description="a " * int(n)) for n in lengths]
    rows = RowDataset(job(samples, batch_size=2, processes=2), None)  # type: ignore[arg-type]
    orders = [[int(i) for i in rows.order(epoch)] for epoch in (0, 1)]
    assert all(sorted(order) == list(range(70)) for order in orders) and orders[0] != orders[1]
    seen = [len(samples[i].description) for i in orders[0][:68]]
    assert sum(4 * max(seen[i : i + 4]) for i in range(0, 68, 4)) < 1.15 * sum(seen)
    shuffled = [len(samples[i].description) for i in np.random.default_rng(1).permutation(70)[:68]]
    assert sum(4 * max(shuffled[i : i + 4]) for i in range(0, 68, 4)) > 1.4 * sum(shuffled)


# ---- the file ------------------------------------------------------------------------------------------------

texts = st.text(max_size=8)
parts = st.builds(SampleRegion, texts, st.tuples(*[st.floats(0, 1e4)] * 4), st.integers(0, 9), texts)
any_sample = st.builds(
    Sample, texts, texts, st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    st.lists(parts, max_size=3).map(tuple), texts,
    st.lists(st.builds(QuestionAnswer, texts, texts, texts), max_size=3).map(tuple),
)  # fmt: skip


@given(shards=st.lists(st.lists(any_sample, max_size=4), max_size=4))
def test_a_sample_file_gives_back_what_was_written(tmp_path_factory: Any, shards: list[list[Sample]]) -> None:
    folder = tmp_path_factory.mktemp("store")
    flat = [s for shard in shards for s in shard]
    file = write_samples(folder / "a.arrow", shards)
    assert list(file) == flat and len(file) == len(flat) and file[1:3] == flat[1:3]
    assert read_lengths(file).tolist() == read_lengths(flat).tolist() == [len(s.description) for s in flat]
    assert (file[-1] if flat else None) == (flat[-1] if flat else None)
    assert list(pickle.loads(pickle.dumps(file))) == flat
    assert write_samples(folder / "b.arrow", shards).fingerprint == file.fingerprint
    with pytest.raises(IndexError):
        file[len(flat)]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.arrow").write_text("no arrow file")
    with pytest.raises(ArtifactError, match="no readable sample file"):
        SampleFile(tmp_path / "x.arrow")


def test_trainings_that_see_other_samples_do_not_meet_in_a_file(tmp_path: Path) -> None:
    one, other = (store_samples(tmp_path, [[sample(name=name)]]) for name in "ab")
    second = store_samples(tmp_path, [[sample(name="a")]])
    assert one.path == second.path != other.path
    assert [s.image_id for s in one] == ["a"] and [s.image_id for s in other] == ["b"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_list_and_its_file_are_the_same_training(tmp_path: Path) -> None:
    samples = [sample(name=str(i)) for i in range(3)]
    file = write_samples(tmp_path / "a.arrow", [samples])
    assert checkpoint_key(job(samples)) == checkpoint_key(job(file)) != checkpoint_key(job(samples[:2]))


def test_worker_processes_make_the_same_rows(tmp_path: Path) -> None:
    """Workers are forked: here a server's threads of another test may be at work."""
    helper = Path(sample_rows.__file__)
    subprocess.run([sys.executable, helper, str(tmp_path)], check=True, cwd=BASE.parent.parent)


def test_an_image_that_vanishes_or_breaks_in_mid_training_is_named(tmp_path: Path) -> None:
    rows = RowDataset(job([sample()], tmp_path), Encoder(tiny_processor("Qwen2VL")))
    with pytest.raises(TrainingError, match=r"image i: .*i\.png cannot be read"):
        rows[0]
    (tmp_path / "i.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(TrainingError, match="image i: "):
        rows[0]


# ---- what is turned away -------------------------------------------------------------------------------------


def test_what_does_not_fit_is_given_up_in_order(tmp_path: Path) -> None:
    """64 x 64 px are 4 visual tokens of 28 px a side; the frames of picture and turn make the rest."""
    PILImage.new("RGB", (64, 64)).save(tmp_path / "i.png")
    encoder = Encoder(tiny_processor("Qwen2VL"))
    one = sample(3, 2)
    alone = len(encoder.prefix([(1, 4, 4)]))
    described = len(encoder.prompt("describe.", 1)) + len(encoder.reply("a table"))

    def at(context: int, original: Sample = one) -> Any:
        return filter_samples([original], tmp_path, encoder, Train(k=2), "describe.", context)

    assert at(10_000).samples == [one]
    assert [(r.record_id, r.reason) for r in at(alone + described - 1).rejected] == [("i", "too_long")]
    tight = at(alone + described)
    assert (tight.samples[0].parts, len(tight.samples[0].pairs)) == ((), 2)
    assert tight.removals == Counter(regions=3)
    wordy = dataclasses.replace(one, pairs=(QuestionAnswer("what is it? " * 9, "yes"), one.pairs[0]))
    assert at(alone + described, wordy).samples[0].pairs == (one.pairs[0],)
    gone = dataclasses.replace(one, path="gone.png")
    assert [(r.reason, len(at(99, gone).samples)) for r in at(99, gone).rejected] == [("missing_image", 0)]


def test_any_k_regions_fit_that_are_left(tmp_path: Path) -> None:
    PILImage.new("RGB", (64, 64)).save(tmp_path / "i.png")
    encoder, params = Encoder(tiny_processor("Qwen2VL")), Train(k=2)
    boxes = [(0.0, 0.0, float(n), float(n)) for n in (30, 60, 90, 120)]
    one = dataclasses.replace(sample(), parts=tuple(SampleRegion(str(i), b, 1) for i, b in enumerate(boxes)))
    whole = len(encoder.prefix([(1, 4, 4)])) + len(encoder.prompt("describe.", 1)) + len(encoder.reply("a table"))
    for room in range(60):
        [left] = filter_samples([one], tmp_path, encoder, params, "describe.", whole + room).samples
        sizes = sorted(encoder.visual_tokens(((int(p.box[2]),) * 2, params.region_max_pixels)) + 2 for p in left.parts)
        assert sum(sizes[-2:]) <= room


def test_a_base_without_m_rope_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava", "text_config": {"rope_parameters": {}}}))
    with pytest.raises(TrainingError, match=r"'llava' without M-RoPE; expected one of the families Qwen2-VL"):
        read_context_length(tmp_path, Train())
    assert read_context_length(BASE, Train()) == 2048
    assert read_context_length(BASE, Train(max_tokens=100)) == 100
