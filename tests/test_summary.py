"""The summary of `ouro annotate`, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

from described import NAMES, described

from ouro.core.artifacts import write_shard
from ouro.core.records import Image, QAPair, Rejected, Scene
from ouro.pages.summary import lines, summarise

ROOT = Path(__file__).resolve().parent.parent


def test_the_summary_counts_what_lies_in_the_folder(tmp_path: Path) -> None:
    layout = described(tmp_path)
    refused = [Rejected("ingest", "x.png", "not_an_image"), Rejected("ingest", "y.png", "duplicate")]
    image_id = f"{0:016x}"
    image = Image(image_id, "a.png", 64, 64, "a.png")
    test = Image("t", "t.png", 64, 64, "t.png", split="test")
    write_shard(layout.images / NAMES[0], Image, [image, test], n_in=4, rejected=refused)
    for number, name in enumerate(NAMES[:2]):
        scene = Scene(f"{number:016x}", "a table with a star.", (), ())
        write_shard(layout.scenes / name, Scene, [scene], n_in=1)
        pairs = [
            QAPair(f"q{n}", image_id, aspect, "what?", "it")
            for n, aspect in enumerate(("style", "style", "interactions"))
        ]
        dropped = [Rejected("synthesize", "q9", "leak")]
        write_shard(layout.qa / name, QAPair, pairs, n_in=4, rejected=dropped)
    summary = summarise(layout, ROOT / "models/nano", {"merge": 1.5})
    assert (summary.shards, summary.shards_done) == (4, 2)
    assert (summary.images_in, summary.annotated, summary.held_out) == (7, 2, 1)
    assert summary.images_rejected == {"duplicate": 1, "not_an_image": 1}
    assert (summary.regions, summary.regions_by_level) == (4, {"0": 2, "1": 2})
    assert summary.regions_by_source == {"image": 2, "rpn": 2}
    assert (summary.descriptions, summary.description_words, summary.scene_words) == (4, 20, 10)
    assert summary.scene_tokens == 12  # the full stops are tokens of their own
    assert (summary.pairs, summary.pairs_by_aspect) == (6, {"style": 4, "interactions": 2})
    assert summary.rejected == {"ingest": {"duplicate": 1, "not_an_image": 1}, "synthesize": {"leak": 2}}
    assert json.loads(json.dumps(summary.to_json()))["seconds"] == {"merge": 1.5}
    assert lines(summary)[0] == (
        "images: 7 in, 2 annotated, 1 held out, 2 rejected (duplicate: 1, not_an_image: 1), in 2 of 4 shards: the rest "
        "is not finished"
    )


def test_without_a_tokenizer_tokens_are_not_counted(tmp_path: Path) -> None:
    layout = described(tmp_path)
    for name in NAMES:
        write_shard(layout.scenes / name, Scene, [], n_in=0)
        write_shard(layout.qa / name, QAPair, [], n_in=0)
    summary = summarise(layout, tmp_path / "a-servers-model", {})
    assert summary.scene_tokens is None
    assert not any("tokens" in line for line in lines(summary))
