"""Stage merge and the annotator: loaded, and in the address, only where merge.writer, matcher or settle asks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai_server import fake_server, reach_directly
from PIL import Image as PILImage

import tasks.merge
from ouro.annotate.merging.settle import LOOKED, UNDECIDED
from ouro.core.artifacts import read_shard, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Description, Image, Region, Scene
from ouro.nano.scenes import draw_scene, render
from ouro.vision.protocols import ScoringUnavailable
from tasks.merge import address, merge

NANO = str(Path(__file__).resolve().parents[1] / "models/nano")
NAME = "shard-00000.parquet"
LOOKS: dict[str, Any] = {"writer": "outline", "settle": "look", "settle_margin": 0.0}


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """One shard of one picture: the whole says red cup, the close-up of it blue cup."""
    reach_directly(monkeypatch)
    layout = Layout(tmp_path, tmp_path / ".ouro/cache")
    layout.images.mkdir(parents=True)
    PILImage.fromarray(render(draw_scene(np.random.default_rng(0)))).save(layout.images / "0.png")
    whole = Region("0/0", "0", None, 0, (0.0, 0.0, 256.0, 256.0), 1.0, "image")
    cup = Region("0/0.0", "0", "0/0", 1, (20.0, 20.0, 120.0, 120.0), 0.9, "rpn")
    texts = {"0/0": ("A table with a red cup.", "a table"), "0/0.0": ("A blue cup with a handle.", "a blue cup")}
    descriptions = [Description(r, "0", text, "test", name=name) for r, (text, name) in texts.items()]
    write_shard(layout.images / NAME, Image, [Image("0", "0.png", 256, 256, "0.png")], n_in=1)
    write_shard(layout.regions / NAME, Region, [whole, cup], n_in=2)
    write_shard(layout.descriptions / NAME, Description, descriptions, n_in=2)
    return layout


def params(model: dict[str, Any] | None = None, /, **knobs: Any) -> Params:
    return Params.model_validate({"model": {"base": NANO, "processes": 1, **(model or {})}, "merge": knobs})


def no_model(*_: object, **__: object) -> None:
    raise AssertionError("a model was loaded")


@pytest.mark.parametrize("knobs", [{}, {"writer": "outline"}, {"writer": "outline", "settle": "none"}])
def test_without_a_question_no_model_is_loaded(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, knobs: dict[str, str]
) -> None:
    monkeypatch.setattr(tasks.merge, "annotator", no_model)
    monkeypatch.setattr(tasks.merge, "fingerprint", no_model)
    [scene] = read_shard(merge.fn(NAME, layout, params(**knobs)), Scene)
    assert "cup" in scene.text


def test_the_annotator_is_in_the_address_only_where_it_is_asked() -> None:
    """Two dtypes are two annotators of one tokenizer."""

    def differ(**knobs: str) -> bool:
        return address(params({"dtype": "float32"}, **knobs)) != address(params({"dtype": "bfloat16"}, **knobs))

    assert not differ() and not differ(writer="outline", settle="rules")
    assert differ(writer="vlm") and differ(matcher="asked") and differ(settle="look")


def test_the_code_of_the_annotator_and_of_nano_is_in_the_address_where_it_decides() -> None:
    codes = {address(params(writer=writer)).code for writer in ("template", "outline", "vlm")}
    assert len(codes) == 3
    served = params({"backend": "openai", "name": "m"}, writer="vlm")
    assert address(served).code not in codes


def test_conflicts_are_settled_by_looking_with_the_annotator_of_params(layout: Layout) -> None:
    [scene] = read_shard(merge.fn(NAME, layout, params(**LOOKS)), Scene)
    [conflict] = scene.conflicts
    assert sorted(conflict.values) == ["blue", "red"]
    assert conflict.rule == LOOKED and conflict.kept in conflict.values
    out = layout.scenes / NAME
    first = out.read_bytes()
    assert merge.fn(NAME, layout, params(**LOOKS)).read_bytes() == first  # the cached one
    [undecided] = read_shard(merge.fn(NAME, layout, params(**(LOOKS | {"settle_margin": 1.0}))), Scene)
    assert [(c.kept, c.rule) for c in undecided.conflicts] == [("", UNDECIDED)]


def test_matches_are_asked_of_the_annotator_of_params(layout: Layout) -> None:
    [scene] = read_shard(merge.fn(NAME, layout, params(writer="outline", matcher="asked")), Scene)
    assert [m.region_id for m in scene.matches] == ["0/0.0"]


def test_a_server_without_probabilities_ends_the_stage_with_what_to_set(layout: Layout) -> None:
    with fake_server() as server:
        model = {"backend": "openai", "url": server.url, "name": "m"}
        with pytest.raises(ScoringUnavailable, match=r"merge\.settle=rules"):
            merge.fn(NAME, layout, params(model, **LOOKS))
    assert not (layout.scenes / NAME).exists()
