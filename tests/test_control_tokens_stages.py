"""Control tokens of strangers on their way through the stages: none is in a record, a prompt or a training row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from annotated_folder import annotated_image, regions_of, rows_of, write_annotated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from cli import export as command
from ouro.annotate.cleaning import plain_text
from ouro.annotate.degenerate import read_reply
from ouro.annotate.describe import describe_regions, with_text
from ouro.annotate.merge import merge_shard
from ouro.annotate.merging.rewrite import PROMPT as REWRITE
from ouro.annotate.pairs.replies import parse_pairs
from ouro.annotate.prompts import (
    answer_prompt,
    support_prompt,
    synthesis_prompt,
    which_phrase_prompt,
    which_value_prompt,
)
from ouro.annotate.recurse import propose_images
from ouro.annotate.synthesize import synthesize_images
from ouro.benchmarks.items import Item
from ouro.benchmarks.loaders.registry import benchmark, prompt_of
from ouro.core.artifacts import read_shard, read_sidecar, write_shard
from ouro.core.images import encode_png
from ouro.core.layout import layout_of
from ouro.core.params import Describe, Ingest, Merge, Propose, Synthesize
from ouro.core.records import Description, Image, QAPair, Region, Scene
from ouro.export.conversations import CONTENTS, PROMPT, build_conversations
from ouro.export.folder import ExportError
from ouro.export.rows import make_llava_row, make_ms_swift_row, make_sharegpt_row, messages
from ouro.export.writers import FORMATS
from ouro.ingest.collection import ingest_files
from ouro.ingest.manifest import read_manifest
from ouro.pages.summary import lines, summarise
from ouro.training.samples import make_samples
from ouro.vision.protocols import Proposal
from ouro.vision.scripted import ScriptedVLM

TOKENS = (
    "<|im_end|> </s> <s> [INST] [/INST] <start_of_turn> <end_of_turn> <image> <im_start> <｜User｜> <pad> <unk> "
    "<eos> <bos> <<SYS>> <image_placeholder> <IMG_CONTEXT> <video> <audio> <|vision_start|> <0x0A> <unused12> "
    "<extra_id_0> <loc0001> <seg001> <|turn>"
).split()
HIDDEN = ["<|im_\u200bend|>", "＜｜im_end｜＞", "<im<image>age>", "<|im_<|im_end|>end|>", "<|im_<b>end|>"]
ANY = [*TOKENS, *HIDDEN]
PICTURE = PILImage.new("RGB", (64, 64))
WHOLE = Region("i/0", "i", None, 0, (0.0, 0.0, 64.0, 64.0), 1.0, "image", kind="scene")
IMAGE = Image("i", "i.png", 64, 64, "i.png")


def holds(text: str) -> bool:
    """Whether a careless reader, to whom unseen characters and wide forms are nothing, finds a token."""
    plain = text.replace("\u200b", "").translate({0xFF1C: "<", 0xFF5C: "|", 0xFF1E: ">"})
    return any(token.translate({0xFF5C: "|"}) in plain for token in TOKENS)


# ---- what models write ----------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ANY)
def test_descriptions_and_names_hold_none(token: str) -> None:
    assert not holds(plain_text(f"A red cup {token} on a table."))
    vlm = ScriptedVLM(lambda request: f"a red cup {token}")
    described = describe_regions([WHOLE], {"i": PICTURE}, vlm, Describe(name="asked"))
    [description] = described.descriptions
    assert not holds(description.text) and not holds(description.name)
    assert "red cup" in description.text
    assert described.meta.get("control_tokens", 0) >= 2 * ("<b>" not in token)  # the text and the name


def test_a_loop_that_closes_to_a_token_is_none() -> None:
    assert read_reply(f"A red cup <{'s' * 40}> on a wooden table.", 100).text == "A red cup on a wooden table."


def test_a_description_that_quotes_a_sign_keeps_its_words() -> None:
    assert plain_text('A screen that says "<image>" and a cup.') == 'A screen that says "< image>" and a cup.'


@pytest.mark.parametrize("token", ANY)
@pytest.mark.parametrize(
    "form",
    [
        "Q: What is on the {0} table? A: a red cup {0}.",
        '{{"question": "What is on the {0} table?", "answer": "{0} a red cup"}}',
        '{{"question": "What is on the {1} table?", "answer": "{1} a red cup"}}',  # \\u003c of JSON
        "Q: What is on the {2} table? A: a red cup {2}.",  # emphasis between the halves of a token
    ],
)
def test_pairs_hold_none(form: str, token: str) -> None:
    escaped = "".join(f"\\u{ord(c):04x}" if c in "<>|[]" else c for c in token)
    text = form.format(token, escaped, f"{token[:2]}**{token[2:]}")
    pairs = parse_pairs(text)
    assert pairs and not any(holds(part) for pair in pairs for part in pair)


def test_pairs_count_them(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "i.png")
    vlm = ScriptedVLM(lambda request: "Q: What is on the table? A: a red cup.<|im_end|></s>")
    seen: list[int] = []
    made = synthesize_images(
        [IMAGE], [Scene("i", "a red cup on a table.", (), ())], tmp_path, 10**6, lambda n: vlm, lambda n: vlm,
        Synthesize(aspects=("style",), support="none"), on_tokens=seen.append,
    )  # fmt: skip
    assert [(p.question, p.answer) for p in made.pairs] == [("What is on the table?", "a red cup")] and seen == [2]


# ---- what OCR and people write --------------------------------------------------------------------------


class _Reader:
    """Reads the same text on every page."""

    name = "ocr"

    def __init__(self, text: str) -> None:
        self.text = text

    def propose(self, images: Any) -> list[list[Proposal]]:
        return [[Proposal((4.0, 4.0, 60.0, 30.0), 0.9, "ocr", self.text)] for _ in images]


@pytest.mark.parametrize("token", TOKENS)
def test_what_ocr_reads_keeps_its_letters_and_is_no_token(tmp_path: Path, token: str) -> None:
    PICTURE.save(tmp_path / "i.png")
    proposed = propose_images([IMAGE], tmp_path, 10**6, [_Reader(f"press {token}")], Propose(max_depth=1, min_side=8))
    [text] = [region.text for region in proposed.regions if region.text]
    assert text == f"press {token[0]} {token[1:]}"
    assert proposed.meta["control_tokens"] == 1
    assert with_text("a sign", f"press {token}") == f'a sign that says "press {token[0]} {token[1:]}"'


def test_html_in_a_sign_is_no_token(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "i.png")
    proposed = propose_images(
        [IMAGE], tmp_path, 10**6, [_Reader("<b>I <3 a < b</b> </s")], Propose(max_depth=1, min_side=8)
    )
    assert [region.text for region in proposed.regions] == ["", "<b>I <3 a < b</b> </s"]
    assert "control_tokens" not in proposed.meta


def test_captions_of_a_manifest_are_broken_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(PILImage.effect_noise((64, 64), 50).convert("RGB")))
    captions = [f"a cup {token}" for token in TOKENS]
    (tmp_path / "m.jsonl").write_text(json.dumps({"path": "a.png", "captions": captions}))
    shards = ingest_files(read_manifest(tmp_path / "m.jsonl"), tmp_path, tmp_path / "images", Ingest())
    [image] = read_shard(shards[0], Image)
    assert image.captions == tuple(f"a cup {token[0]} {token[1:]}" for token in TOKENS)
    assert read_sidecar(shards[0]).meta["control_tokens"] == len(TOKENS)


# ---- what is composed of them ---------------------------------------------------------------------------


@pytest.mark.parametrize("token", TOKENS)
def test_merged_texts_hold_none_and_their_provenance_still_fits(token: str) -> None:
    child = Region("i/0.0", "i", "i/0", 1, (0.0, 0.0, 32.0, 32.0), 0.9, "rpn")
    descriptions = [
        Description("i/0", "i", f"The image shows a table {token} with a cup.", "a"),
        Description("i/0.0", "i", f"A red cup that says {token}.", "a", name="a red cup"),
    ]
    image = replace(IMAGE, captions=(f"Breakfast {token}",))
    merged = merge_shard([image], [WHOLE, child], descriptions, Merge(captions="concatenated", writer="outline"))
    [scene] = merged.scenes
    assert not holds(scene.text) and not any(holds(text) for _, text in scene.region_texts)
    assert scene.text.startswith(f"Breakfast {token[0]} {token[1:]}.")
    inserted = "".join(scene.text[i.start : i.end] for i in scene.insertions)
    assert "red cup" in inserted and "Breakfast" not in inserted
    assert " ".join(scene.text[s.start : s.end] for s in scene.sentences) == scene.text
    assert merged.meta()["control_tokens"] >= 3


@pytest.mark.parametrize("token", TOKENS)
def test_prompts_hold_none(token: str) -> None:
    text = f"a cup {token}"
    prompts = [
        synthesis_prompt("instructed", "style", text), synthesis_prompt("nano", "style", text),
        support_prompt(text, text, text), answer_prompt("instructed", text), which_value_prompt(text, [text, "red"]),
        which_phrase_prompt(text, text, [text]), _rewriting_prompt(text),
        *(prompt_of(benchmark(name), Item("1", "i.png", text, ("a",), context=text, choices=choices))
          for name, choices in (("vqav2", ()), ("scienceqa", (text, "b")))),
    ]  # fmt: skip
    for prompt in prompts:
        assert not holds(prompt)
        assert f"a cup {token[0]} {token[1:]}" in prompt


def _rewriting_prompt(text: str) -> str:
    """What the writer `vlm` asks."""
    vlm = ScriptedVLM(lambda request: "no")
    merge_shard([IMAGE], [WHOLE], [Description("i/0", "i", text, "a")], Merge(writer="vlm"), vlm=vlm)
    assert vlm.asked[0].prompt.startswith(REWRITE[:40])
    return vlm.asked[0].prompt


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("supervision", ["ours", "orig", "both"])
def test_training_samples_hold_none(supervision: str, token: str) -> None:
    text = f"a cup {token}"
    child = replace(WHOLE, region_id="i/0.0", parent_id="i/0", level=1)
    scene = Scene("i", text, (), (("i/0.0", text),))
    image, pair = replace(IMAGE, captions=(text,)), QAPair("q", "i", "style", text, text)
    [sample] = make_samples(supervision, [image], [WHOLE, child], [scene], [pair], {"i": [(text, text)]}).samples
    assert not holds(repr(sample)) and "a cup" in sample.description


# ---- exports --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_holds_none_in_any_field_and_counts_them(tmp_path: Path, format: str) -> None:
    """Also where the folder was annotated by somebody else: nothing upstream has cleaned it."""
    folder = write_annotated(tmp_path / "data")
    layout = layout_of(folder)
    _spoil(layout.images, Image, lambda i: replace(i, captions=(" ".join(TOKENS),)))
    _spoil(layout.regions, Region, lambda r: replace(r, text=f"sign {TOKENS[2]}"))
    every = " ".join(ANY)
    _spoil(layout.scenes, Scene, lambda s: replace(
        s, text=f"a cup {every}", region_texts=tuple((r, f"{t} {every}") for r, t in s.region_texts)
    ))  # fmt: skip
    _spoil(layout.qa, QAPair, lambda p: replace(p, question=f"{p.question} {TOKENS[7]}", answer=f"red {TOKENS[0]}"))
    command.run(folder, tmp_path / "out", format)
    counts = json.loads((tmp_path / "out/counts.json").read_text())["ouro_export"]
    assert counts["images_out"] == 3 and counts["turns_rejected"] == {}
    assert counts["control_tokens"] > 3 * (len(ANY) + len(TOKENS))
    texts = list(_texts(tmp_path / "out", format))
    assert texts and not any(holds(text) for text in texts)


def _spoil(folder: Path, kind: Any, change: Callable[[Any], Any]) -> None:
    for path in sorted(folder.glob("*.parquet")):
        if "rejected" not in path.name:
            records = [change(record) for record in read_shard(path, kind)]
            write_shard(path, kind, records, n_in=len(records))


def _texts(out: Path, format: str) -> Any:
    """Every text of the rows, our own placeholders apart."""
    if format == "trl":
        import pyarrow.parquet as pq

        rows: list[Any] = [row["messages"] for p in out.glob("data/*.parquet") for row in pq.read_table(p).to_pylist()]
    elif format == "webdataset":
        import tarfile

        rows = []
        for path in out.glob("*.tar"):
            with tarfile.open(path) as tar:
                rows += [json.loads(tar.extractfile(m).read()) for m in tar if m.name.endswith(".json")]  # type: ignore[union-attr]
    elif format == "llava":
        rows = json.loads((out / "train.json").read_text())
    else:
        rows = [row for path in out.glob("*.jsonl") for row in rows_of(path)]
    return (text.removeprefix("<image>") for text in _leaves(rows))


def _leaves(value: Any) -> Any:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:  # type: ignore[union-attr]
            yield from _leaves(inner)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    *[st.lists(st.sampled_from([*ANY, "a", " ", "<", "|>", "<|", "im_end", "age>", "<im"]), max_size=6).map("".join)]
    * 3
)
def test_a_row_has_one_picture_and_no_other_token(text: str, caption: str, question: str) -> None:
    about = annotated_image(text, caption, question)
    conversations, _ = build_conversations(about, PROMPT, CONTENTS)
    for conversation in conversations:
        for make in (make_llava_row, make_sharegpt_row, make_ms_swift_row):
            row = make(conversation, about.image, "i.png")
            joined = "\x1f".join(m.get("value", m.get("content")) for m in row.get("conversations") or row["messages"])
            assert joined.count("<image>") == 1 and not holds(joined.replace("<image>", "", 1))
    assert not any(holds(part["text"] or "") for m in messages(conversations, about.image) for part in m["content"])


def test_a_prompt_with_a_token_is_refused(tmp_path: Path) -> None:
    folder = write_annotated(tmp_path / "data")
    with pytest.raises(ExportError, match=r"--prompt: got the control token <image> in it.*leave it out"):
        command.run(folder, tmp_path / "out", "llava", prompt="<image>\nDescribe.")
    assert not (tmp_path / "out").exists()


def test_the_summary_says_how_many_by_stage(tmp_path: Path) -> None:
    layout = layout_of(write_annotated(tmp_path / "data"))
    write_shard(layout.descriptions / "shard-00000.parquet", Description, [], n_in=0, meta={"control_tokens": 3})
    write_shard(layout.descriptions / "shard-00001.parquet", Description, [], n_in=0)
    summary = summarise(layout, tmp_path, {})
    assert summary.control_tokens == {"describe": 3}
    assert "control tokens in texts, removed or broken: 3 (describe: 3)" in lines(summary)
    assert regions_of("i")[0].text == ""
