"""The nano world and its shipped model: exact facts, a writer that invents nothing, a base with the wanted gap."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from ouro.annotate.pairs.replies import parse_pairs
from ouro.annotate.prompts import ASPECTS
from ouro.core.crops import crop
from ouro.nano import language as say
from ouro.nano.facts import quality, stated_facts, true_facts
from ouro.nano.ideal import merged_description
from ouro.nano.scenes import SIZE, Item, Scene, draw_scene, render
from ouro.nano.writer import TemplateWriter
from ouro.vision.adapters import merge_into
from ouro.vision.folders import ModelError
from ouro.vision.hf import HFVisionLM, load_model
from ouro.vision.protocols import Request

BASE = Path(__file__).parent.parent / "models" / "nano"
SCENES = [draw_scene(np.random.default_rng([77, i])) for i in range(24)]


def test_same_seed_same_scene_same_pixels() -> None:
    redrawn_scene = draw_scene(np.random.default_rng([77, 0]))
    assert redrawn_scene == SCENES[0]
    assert np.array_equal(render(redrawn_scene), render(SCENES[0]))


def test_things_are_inside_the_scene_and_names_are_unique_in_their_holder() -> None:
    for scene in SCENES:
        for holder in (*(c.items for c in scene.containers), scene.loose):
            assert len({i.shape for i in holder}) == len(holder) == len({i.color for i in holder})
            assert all(0 <= v <= 256 for i in holder for v in i.box)


def test_a_perfect_description_states_every_fact_and_no_other() -> None:
    for scene in SCENES:
        assert stated_facts(merged_description(scene)) == true_facts(asdict(scene))


def test_quality_counts_a_false_color_against_precision_and_recall() -> None:
    scene = next(s for s in SCENES if s.containers[0].items)
    item = scene.containers[0].items[0]
    other = "red" if item.color != "red" else "blue"
    text = merged_description(scene)
    wrong = text.replace(f"a {item.name} at", f"a {other} {item.pattern} {item.shape} at", 1)
    q = quality([(wrong, asdict(scene))])
    assert (q.stated, q.true, q.right) == (q.true, len(true_facts(asdict(scene))), q.true - 1)


def test_the_template_writer_writes_only_what_holds() -> None:
    rng = np.random.default_rng(0)
    for scene in SCENES:
        text = merged_description(scene)
        for aspect in ASPECTS:
            [reply] = TemplateWriter().generate(
                [Request((), f"{text} write questions about {aspect}.")], max_new_tokens=1
            )
            truth = {(q.question, q.answer) for q in say.aspect_pairs(scene, aspect, rng)}
            assert {tuple(p) for p in parse_pairs(reply) if p.answer != "no"} == {t for t in truth if t[1] != "no"}


def test_the_template_writer_refuses_other_prompts() -> None:
    with pytest.raises(ValueError, match=r"set synthesize\.template to nano"):
        TemplateWriter().generate([Request((), "Write something.")], max_new_tokens=1)


def _closeups() -> tuple[list[Request], list[str]]:
    requests, truth = [], []
    for scene in SCENES:
        picture = PILImage.fromarray(render(scene))
        for item in scene.items:
            view = crop(picture, tuple(map(float, item.box)), 0.06)  # type: ignore[arg-type]
            requests.append(Request((view,), say.DESCRIBE, (9216,)))
            truth.append(say.item_caption(item))
    return requests, truth


def test_the_base_describes_closeups_in_full_and_whole_scenes_coarsely() -> None:
    vlm = HFVisionLM(BASE)
    requests, truth = _closeups()
    replies = vlm.generate(requests, max_new_tokens=16)
    assert np.mean([a == b for a, b in zip(replies, truth, strict=True)]) > 0.9
    whole = [Request((PILImage.fromarray(render(s)),), say.DESCRIBE) for s in SCENES]
    coarse = vlm.generate(whole, max_new_tokens=24)
    assert np.mean([a == say.coarse_caption(s) for a, s in zip(coarse, SCENES, strict=True)]) > 0.8


def test_questions_about_one_picture_share_its_features_and_get_the_same_answers() -> None:
    """Four questions about two pictures and a crop, with the pictures given once, and given as copies."""
    pictures = [PILImage.fromarray(render(s)) for s in SCENES[:2]]
    crops = [p.crop((0, 0, 128, 128)) for p in pictures]
    questions = [
        (0, "describe the image."),
        (1, "is there a table?"),
        (0, "is there a box?"),
        (1, "describe the image."),
    ]
    vlm = HFVisionLM(BASE)
    patches: list[int] = []
    vlm.model.model.visual.register_forward_pre_hook(lambda _, args: patches.append(int(args[0].shape[0])))

    def answers(copy: bool) -> list[str]:
        views_by_question = [
            (pictures[i].copy(), crops[i].copy()) if copy else (pictures[i], crops[i]) for i, _ in questions
        ]
        requests = [
            Request(views, q, (16384, 9216)) for views, (_, q) in zip(views_by_question, questions, strict=True)
        ]
        return vlm.generate(requests, max_new_tokens=12)

    assert answers(copy=False) == answers(copy=True)
    assert patches == [2 * (256 + 144), 4 * (256 + 144)]


def test_unusable_model_folders_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="pickled weights are refused"):
        load_model(tmp_path)


def test_an_adapter_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model, processor = load_model(BASE)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(str(tmp_path))  # B is 0
    with pytest.raises(ModelError, match="does not change"):
        merge_into(load_model(BASE)[0], processor, tmp_path)


def test_the_writer_writes_the_same_in_every_process() -> None:
    """It once walked over a set of facts: where a description contradicts itself, hash order decided."""
    spots = " ".join(f"the table has a red solid star at the {s}." for s in ("top left", "top right", "bottom left"))
    prompt = f"a table at the top left. {spots} write questions about spatial relationships."
    code = f"from ouro.nano.writer import _write; print(_write({prompt!r}))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            cwd=BASE.parent.parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(6)
    }
    assert len(outputs) == 1 and "where is the star on the table?" in outputs.pop()


# ---- questions against the geometry of the scene -------------------------------------------------------------------

NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
AT = r"(?:on|in) the (?P<holder>\w+)"
QUESTIONS = {
    "color": rf"what color is the (?P<shape>\w+) {AT}\?",
    "pattern": rf"what pattern is the (?P<shape>\w+) {AT}\?",
    "shape": rf"what shape is the (?P<color>\w+) object {AT}\?",
    "where": rf"where is the (?P<what>\w+)(?: {AT})?\?",
    "neighbour": rf"what is (?P<side>left of|right of|above|below) the (?P<shape>\w+) {AT}\?",
    "count": rf"how many objects are {AT}\?",
    "count_shape": r"how many (?P<plural>\w+) are there\?",
    "existence": r"is there a (?P<color>\w+) (?P<shape>\w+)\?",
    "sign": rf"what does the sign {AT} say\?",
}
WHOLE = (0, 0, SIZE, SIZE)


def _center(box: tuple[int, int, int, int]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _quadrant(box: tuple[int, int, int, int], frame: tuple[int, int, int, int]) -> str:
    (x, y), (mid_x, mid_y) = _center(box), _center(frame)
    return f"{'top' if y < mid_y else 'bottom'} {'left' if x < mid_x else 'right'}"


def _beside(items: tuple[Item, ...], item: Item, side: str, frame: tuple[int, int, int, int]) -> list[str]:
    """Shapes of the items in the same row or column of `frame` whose center lies to that side of the asked one's."""
    axis = 0 if side in ("left of", "right of") else 1
    sign = -1 if side in ("left of", "above") else 1
    line = _quadrant(item.box, frame).split()[axis]  # "top" or "bottom" along x, "left" or "right" along y
    start = _center(item.box)[axis]
    mates = [i for i in items if _quadrant(i.box, frame).split()[axis] == line]
    return [i.shape for i in mates if sign * (_center(i.box)[axis] - start) > 0]


def _answers(scene: Scene, qa: say.QA) -> list[str]:
    """Every right answer to a question, looked up in the scene's boxes and attributes."""
    match = re.fullmatch(QUESTIONS[qa.type], qa.question)
    assert match, f"{qa} has another form than its type"
    fields = match.groupdict()
    container = next((c for c in scene.containers if c.kind == fields.get("holder")), None)
    assert container or fields.get("holder") in (None, "floor"), qa
    items = container.items if container else scene.loose if fields.get("holder") else scene.items
    frame = container.box if container else WHOLE
    if qa.type in ("color", "pattern"):
        return [getattr(i, qa.type) for i in items if i.shape == fields["shape"]]
    if qa.type == "shape":
        return [i.shape for i in items if i.color == fields["color"]]
    if qa.type == "where":
        things = [(i.shape, i.box) for i in items] if container else [(c.kind, c.box) for c in scene.containers]
        return [_quadrant(box, frame) for name, box in things if name == fields["what"]]
    if qa.type == "neighbour":
        [item] = [i for i in items if i.shape == fields["shape"]]
        return _beside(items, item, fields["side"], frame)
    if qa.type == "count":
        return [NUMBER_WORDS[len(items)]]
    if qa.type == "count_shape":
        return [NUMBER_WORDS[sum(fields["plural"] in (f"{i.shape}s", f"{i.shape}es") for i in items)]]
    if qa.type == "existence":
        return ["yes" if any((i.color, i.shape) == (fields["color"], fields["shape"]) for i in items) else "no"]
    assert container and container.sign, qa
    return [container.sign.word]


def _neighbouring(scene: Scene) -> int:
    """Ordered pairs of items that share a row or a column of their container."""
    places = [[_quadrant(i.box, c.box).split() for i in c.items] for c in scene.containers]
    return sum(sum(p == q for p, q in zip(a, b, strict=True)) == 1 for items in places for a in items for b in items)


def test_fine_questions_have_one_right_answer_by_the_geometry_of_the_scene() -> None:
    rng = np.random.default_rng(5)
    counts: dict[str, int] = dict.fromkeys(QUESTIONS, 0)
    answers: dict[str, set[str]] = {kind: set() for kind in QUESTIONS}
    scenes = [draw_scene(np.random.default_rng([78, i])) for i in range(40)]
    for scene in scenes:
        for qa in say.fine_questions(scene, rng):
            assert [qa.answer] == _answers(scene, qa), (qa, scene)
            counts[qa.type] += 1
            answers[qa.type].add(qa.answer)
    items, holders = sum(len(s.items) for s in scenes), sum(len(s.containers) for s in scenes)
    n_contained = items - sum(len(s.loose) for s in scenes)
    assert counts == {
        "color": items, "pattern": items, "shape": items, "where": n_contained + holders, "count": holders,
        "neighbour": sum(map(_neighbouring, scenes)), "existence": 2 * len(scenes),
        "count_shape": sum(len({i.shape for i in s.items}) for s in scenes),
        "sign": sum(c.sign is not None for s in scenes for c in s.containers),
    }  # fmt: skip
    assert answers["existence"] == {"yes", "no"} and len(answers["where"]) == 4 and len(answers["neighbour"]) == 8
