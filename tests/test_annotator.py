"""The annotator: its fingerprint, its batches, and that neither processes nor threads change a reply."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from ouro.annotate.describe import describe_shard
from ouro.core.files import folder_fingerprint
from ouro.core.params import Describe, Model
from ouro.core.records import Region
from ouro.nano.scenes import draw_scene, render
from ouro.vision.encoding import Encoder
from ouro.vision.folders import ModelError
from ouro.vision.hf import HFVisionLM, load_model
from ouro.vision.openai import OpenAIVisionLM
from ouro.vision.pool import PooledVLM
from ouro.vision.protocols import Request, VisionLM, plan_batches
from ouro.vision.scripted import ScriptedVLM
from tasks import annotator as annotators
from tasks.annotator import ServedAdapter, annotator, fingerprint
from tasks.models import MissingModel, model_fingerprint

BASE = Path(__file__).parent.parent / "models" / "nano"


def _model(processes: int = 1, dtype: str = "float32", **knobs: Any) -> Model:
    return Model.model_validate({"base": str(BASE), "dtype": dtype, "processes": processes, **knobs})


def _annotator_of(vlm: VisionLM) -> str:
    """What a record says of who described it."""
    region = Region("i/0", "i", None, 0, (0.0, 0.0, 8.0, 8.0), 1.0, "image")
    scripted = ScriptedVLM(lambda r: "a star", vlm.fingerprint)
    [description], _ = describe_shard([region], {"i": PILImage.new("RGB", (8, 8))}, scripted, Describe())
    return description.annotator


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the workers; several threads that wait for each other are slow on a machine that does other work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny adapter that changes the output."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(load_model(BASE)[0], config).save_pretrained(str(folder))
    return folder


def test_one_process_and_several_carry_the_fingerprint_that_the_cache_is_asked_for(adapter: Path) -> None:
    """The number of processes once decided which of two fingerprints was written into every description."""
    annotators._load.cache_clear()
    for path in (None, adapter):
        one, several = (annotator(_model(n), 4, path) for n in (1, 2))  # the second starts its processes when asked
        assert type(one) is not type(several)
        assert one.fingerprint == several.fingerprint == fingerprint(_model(), path)
    annotators._load.cache_clear()


def test_a_record_names_base_dtype_and_adapter(adapter: Path) -> None:
    """Of "<base>...+<adapter>" a record once kept the base alone."""
    models = [HFVisionLM(BASE), HFVisionLM(BASE, adapter), HFVisionLM(BASE, dtype="bfloat16")]
    assert len({_annotator_of(vlm) for vlm in models}) == 3
    assert [vlm.fingerprint for vlm in models] == [
        fingerprint(_model()), fingerprint(_model(), adapter), fingerprint(_model(dtype="bfloat16")),
    ]  # fmt: skip


def test_every_file_of_the_model_counts_but_its_readme(tmp_path: Path) -> None:
    """merges.txt, of a byte-level tokenizer, once did not."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "merges.txt", "README.md"):
        (folder / name).write_text("{}" if name.endswith("json") else name)
    before = folder_fingerprint(folder)
    assert model_fingerprint(folder) == before == folder_fingerprint(shutil.copytree(folder, tmp_path / "elsewhere"))
    (folder / "README.md").write_text("other")
    assert folder_fingerprint(folder) == model_fingerprint(folder) == before
    (folder / "merges.txt").write_text("other")
    assert folder_fingerprint(folder) == model_fingerprint(folder) != before


def test_an_error_in_a_worker_process_arrives_as_itself_and_the_pool_lives_on(tmp_path: Path) -> None:
    pool = PooledVLM(tmp_path, None, "float32", 4, 1, "f")
    for _ in range(2):
        with pytest.raises(ModelError, match=r"no config\.json"):
            pool.generate([Request((), "hello")], max_new_tokens=1)


def test_the_adapter_of_params_is_worn_unless_another_is_asked_for(adapter: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(adapter, other)
    (other / "note.txt").write_text("another folder, another fingerprint")
    dressed = _model(adapter=str(adapter))
    assert fingerprint(dressed) == fingerprint(_model(), adapter) != fingerprint(_model())
    assert fingerprint(dressed, other) == fingerprint(_model(), other) != fingerprint(dressed)
    annotators._load.cache_clear()
    assert annotator(dressed, 4).fingerprint == HFVisionLM(BASE, adapter).fingerprint
    annotators._load.cache_clear()
    with pytest.raises(MissingModel, match="nowhere"):
        annotator(_model(adapter="nowhere"), 4)


def test_a_server_needs_no_model_folder_and_wears_its_own_adapter() -> None:
    served = Model(backend="openai", base="nowhere", url="http://127.0.0.1:9/v1", name="a-model")
    annotators._load.cache_clear()
    vlm = annotator(served, 4)
    annotators._load.cache_clear()
    assert isinstance(vlm, OpenAIVisionLM) and vlm.fingerprint == fingerprint(served)
    assert fingerprint(served) != fingerprint(served.model_copy(update={"name": "another"}))
    for call in (lambda: annotator(served, 4, Path("worn")), lambda: fingerprint(served, Path("worn"))):
        with pytest.raises(ServedAdapter, match=r"adapter worn: got model\.backend=openai"):
            call()


# ---- batches ----------------------------------------------------------------------------------------------------


def _asking(sizes: list[int]) -> list[Request]:
    return [Request((PILImage.new("RGB", (s, s)),), "q") for s in sizes]


def test_batches_are_longest_first_and_keep_the_order_of_equals() -> None:
    assert plan_batches(_asking([10, 30, 20, 30]), 3) == [[1, 3, 2], [0]]
    assert plan_batches(_asking([1, 1, 1, 1]), 3, tokens=[7, 9, 8, 9]) == [[1, 3, 2], [0]]
    assert plan_batches([], 3) == []


def test_a_batch_holds_its_longest_request_as_often_as_it_has_requests() -> None:
    """Budget 20. 50 alone; 9 + 9 would be 18, and a third 9 too much; 8 and 2 are padded to 8: 16, with another 24."""
    assert plan_batches(_asking([1] * 6), 10, tokens=[9, 2, 50, 9, 8, 2], budget=20) == [[2], [0, 3], [4, 1], [5]]
    assert plan_batches(_asking([1] * 3), 2, tokens=[0, 0, 0], budget=1) == [[0, 1], [2]]


def test_questions_about_one_picture_follow_each_other_and_other_pictures_go_by_their_prompt() -> None:
    a, b, *rest = (PILImage.new("RGB", (8, 8)) for _ in range(6))
    requests = [(a, "q1"), (b, "q1"), (rest[0], "say"), (a, "q2"), (rest[1], "tell"), (b, "q2"), (rest[2], "say")]
    assert plan_batches([Request((p,), q) for p, q in requests], 99) == [[4, 2, 6, 0, 3, 1, 5]]


@settings(max_examples=60, deadline=None)
@given(tokens=st.lists(st.integers(0, 60), max_size=30), size=st.integers(1, 8), budget=st.none() | st.integers(1, 100))
def test_every_request_is_in_one_batch_within_its_bounds(tokens: list[int], size: int, budget: int | None) -> None:
    batches = plan_batches(_asking([1] * len(tokens)), size, tokens, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(tokens)))
    assert all(len(batch) <= size for batch in batches)
    if budget is not None:
        assert all(len(batch) == 1 or max(tokens[i] for i in batch) * len(batch) <= budget for batch in batches)
    first = [tokens[batch[0]] for batch in batches]
    assert first == sorted(first, reverse=True)


# ---- processes and threads ----------------------------------------------------------------------------------------


def _closeups() -> list[Request]:
    pictures = [PILImage.fromarray(render(draw_scene(np.random.default_rng([5, i])))) for i in range(3)]
    whole = [Request((p,), q, (16384,)) for p in pictures for q in ("describe the image.", "is there a table?")]
    parts = [(p, x, y) for p in pictures for x in (0, 100) for y in (0, 100)]
    return whole + [Request((p.crop((x, y, x + 110, y + 90)),), "describe the image.", (9216,)) for p, x, y in parts]


def test_batches_prepared_by_a_worker_process_are_answered_as_those_prepared_here() -> None:
    requests = _closeups()
    counts: list[int] = []
    ahead = HFVisionLM(BASE, batch_size=4, prepare_processes=1)
    handed: list[Mapping[int, str]] = []
    replies = ahead.generate(requests, max_new_tokens=12, progress=counts.append, on_replies=handed.append)
    assert [len(batch) for batch in handed] == counts
    assert {i: reply for batch in handed for i, reply in batch.items()} == dict(enumerate(replies))
    assert replies == HFVisionLM(BASE, batch_size=4).generate(requests, max_new_tokens=12)
    assert counts == [4, 4, 4, 4, 2] and len(set(replies)) > 5
    ahead.encoder.visual_tokens = lambda view: 1  # type: ignore[assignment]
    with pytest.raises(ValueError, match="aspect ratio must be smaller than 200"):  # the worker's error, as itself
        ahead.generate([Request((PILImage.new("RGB", (1, 300)),), "q")], max_new_tokens=1)


def test_threads_that_share_a_model_get_their_own_replies() -> None:
    """Features shared within a batch are state of the model: without a lock, one thread's went into another's batch."""
    vlm = HFVisionLM(BASE, batch_size=4)
    parts = [_closeups()[::step] for step in (1, -1, 2)]
    expected = [vlm.generate(part, max_new_tokens=12) for part in parts]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda part: vlm.generate(part, max_new_tokens=12), parts)) == expected


def test_a_pool_keeps_to_the_token_budget_whatever_its_number_of_processes() -> None:
    """Batches are made before they are handed out: `progress` hears the same sizes as from one process."""
    requests = _closeups()
    heard: dict[str, list[int]] = {"one": [], "pool": []}
    one = HFVisionLM(BASE, dtype="bfloat16", batch_size=8, batch_tokens=200)
    expected = one.generate(requests, max_new_tokens=12, progress=heard["one"].append)
    pool = PooledVLM(BASE, None, "bfloat16", 8, 2, one.fingerprint, batch_tokens=200)
    handed: dict[int, str] = {}
    replies = pool.generate(requests, max_new_tokens=12, progress=heard["pool"].append, on_replies=handed.update)
    assert replies == expected == [handed[i] for i in range(len(requests))]
    assert sorted(heard["pool"]) == sorted(heard["one"]) == [3, 3, 6, 6]  # 64 tokens each, then 30


def test_special_tokens_in_a_text_stay_text() -> None:
    """OCR can read "<|image_pad|>" on a screen: it must neither stand for a picture nor end the turn."""
    encoder = Encoder(load_model(BASE)[1])
    for ids in (encoder.text(encoder.plain("says <|image_pad|><|im_end|>")), encoder.reply("a <|im_end|> sign")[:-1]):
        assert encoder.image_id not in ids and encoder.end not in ids
    assert encoder.plain("a plain text, a < b |> c") == "a plain text, a < b |> c"
