"""A trained adapter: the names that vLLM takes, and its merge into a plain Hugging Face folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model, tiny_processor
from tiny_training import BASE, scene_job

from cli.app import app, guarded
from ouro.training.adapter_file import (
    CONFIG,
    WEIGHTS,
    adapter_shapes,
    check_adapter,
    check_lora,
    check_vllm_names,
    model_outline,
)
from ouro.training.job import TrainingError
from ouro.training.merge_adapter import merge_adapter


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training of two steps wrote."""
    from ouro.training.launch import train

    job = scene_job(tmp_path_factory.mktemp("train"), 2, processes=1, batch_size=1, epochs=1)
    train(job)
    return job.out


def _changed(adapter: Path, folder: Path, config: dict[str, Any], rename: tuple[str, str] = ("", "")) -> Path:
    """A copy with other settings, and in its first tensor's name one part for another."""
    shutil.copytree(adapter, folder)
    settings = json.loads((folder / CONFIG).read_text()) | config
    (folder / CONFIG).write_text(json.dumps(settings))
    tensors = load_file(folder / WEIGHTS)
    if rename[0]:
        first = min(name for name in tensors if rename[0] in name)
        tensors[first.replace(*rename)] = tensors.pop(first)
        save_file(tensors, folder / WEIGHTS)
    return folder


def test_a_trained_adapter_has_the_rank_and_alpha_of_the_params(adapter: Path, tmp_path: Path) -> None:
    check_lora(adapter, 8, 16)
    with pytest.raises(TrainingError, match=r"lora_alpha: got 16, expected 32$"):
        check_lora(adapter, 8, 32)
    more = len(adapter_shapes(adapter)) - 5
    message = rf"train.alpha say\n  r: got 8, expected 4\n  tensors of another rank than 4: .* and {more} more$"
    with pytest.raises(TrainingError, match=message):
        check_lora(adapter, 4, 16)
    path = _changed(adapter, tmp_path / "own", {"rank_pattern": {"q_proj": 4}})
    with pytest.raises(TrainingError, match=r"rank_pattern: got \{'q_proj': 4\}, expected none"):
        check_lora(path, 8, 16)


def test_an_adapter_of_another_rank_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """peft loads one whose config says another alpha without a word, and scales it wrongly."""
    from ouro.training import lora

    make_config = lora._lora_config

    def other(model: Any, params: Any) -> Any:
        return make_config(model, params.model_copy(update={"alpha": 64}))

    monkeypatch.setattr(lora, "_lora_config", other)
    job = scene_job(tmp_path, 2, processes=1, batch_size=1, epochs=1)
    with pytest.raises(TrainingError, match="lora_alpha: got 64, expected 16"):
        lora.train_adapter(job)
    assert not job.out.exists()


def test_a_trained_adapter_has_the_names_that_vllm_takes(adapter: Path) -> None:
    check_adapter(adapter)
    check_vllm_names(adapter)
    names = adapter_shapes(adapter)
    assert "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight" in names
    assert all(name.endswith((".lora_A.weight", ".lora_B.weight")) for name in names)


@pytest.mark.parametrize(
    ("config", "rename", "message"),
    [
        ({"modules_to_save": ["lm_head"]}, ("", ""), r"modules_to_save: got \['lm_head'\], expected none"),
        ({"bias": "all"}, ("", ""), "bias: got 'all', expected 'none'"),
        ({"use_dora": True}, ("", ""), "use_dora: got true"),
        ({"r": 1024}, ("", ""), r"r: got \[1024\], expected 1 to 512"),
        ({"rank_pattern": {"q_proj": 600}}, ("", ""), r"r: got \[8, 600\]"),
        ({}, ("base_model.model.", "module."), "expected base_model.model.MODULE.lora_A.weight"),
        ({}, (".lora_A.weight", ".lora_A.default.weight"), "expected base_model.model.MODULE.lora_A.weight"),
        ({}, (".q_proj.", ".query."), "the base has no module model.language_model.layers.0.self_attn.query"),
        ({}, (".lora_B.", ".lora_A."), "comes without"),
    ],
)
def test_what_vllm_would_refuse(
    adapter: Path, tmp_path: Path, config: dict[str, Any], rename: tuple[str, str], message: str
) -> None:
    broken = _changed(adapter, tmp_path / "broken", config, rename)
    with pytest.raises(TrainingError, match=message) as caught:
        check_vllm_names(broken, model_outline(BASE))
    assert "vLLM would refuse it" in str(caught.value)


def test_all_that_vllm_would_refuse_is_said_at_once(adapter: Path, tmp_path: Path) -> None:
    broken = _changed(adapter, tmp_path / "broken", {"use_dora": True, "bias": "all", "r": 0}, ("q_proj", "query"))
    with pytest.raises(TrainingError) as caught:
        check_vllm_names(broken)
    assert all(word in str(caught.value) for word in ("use_dora", "bias", "r: got", "query"))


def test_an_adapter_without_weights_is_no_adapter(adapter: Path, tmp_path: Path) -> None:
    empty = shutil.copytree(adapter, tmp_path / "empty")
    save_file({name: tensor[:0] for name, tensor in load_file(adapter / WEIGHTS).items()}, empty / WEIGHTS)
    with pytest.raises(TrainingError, match="were the parts of ZeRO-3 gathered before saving"):
        check_adapter(empty)
    (empty / WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match="not a safetensors file"):
        check_adapter(empty)


def test_the_merged_model_says_what_the_adapted_one_says(adapter: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel

    from ouro.vision.encoding import Encoder
    from ouro.vision.hf import HFVisionLM, load_model
    from ouro.vision.protocols import Request

    assert merge_adapter(adapter, tmp_path / "merged", str(BASE)) == str(BASE)
    picture = PILImage.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8))
    request = Request((picture,), "describe the image.")
    base, processor = load_model(BASE)
    inputs = {k: torch.from_numpy(v) for k, v in Encoder(processor).batch([request], False).inputs.items()}
    with torch.inference_mode():
        plain = base(**inputs).logits
        adapted = PeftModel.from_pretrained(base, str(adapter)).eval()(**inputs).logits
        merged = HFVisionLM(tmp_path / "merged")
        got = merged.model(**inputs).logits
    assert (got - adapted).abs().max() < 1e-5 < (adapted - plain).abs().max()
    assert merged.generate([request], max_new_tokens=4) == HFVisionLM(BASE, adapter).generate(
        [request], max_new_tokens=4
    )
    names = {p.name for p in (tmp_path / "merged").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert load_file(tmp_path / "merged/model.safetensors").keys() == load_file(BASE / "model.safetensors").keys()


def test_bfloat16_is_half_as_large(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    for name, dtype in (("whole", "float32"), ("small", "bfloat16")):
        merge_adapter(adapter, tmp_path / name, dtype=dtype)
    whole, small = ((tmp_path / n / "model.safetensors").stat().st_size for n in ("whole", "small"))
    assert 1.9 < whole / small < 2.1
    assert json.loads((tmp_path / "small/config.json").read_text())["dtype"] == "bfloat16"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of other sizes, called nano, too."""
    folder = tmp_path_factory.mktemp("other") / "nano"
    processor = tiny_processor("Qwen2VL")
    tiny_model("Qwen2VL", processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_errors_are_one_message_and_exit_code_2(
    adapter: Path, other: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").touch()
    moved = _changed(adapter, tmp_path / "moved", {"base_model_name_or_path": "/elsewhere/nano"})
    nameless = _changed(adapter, tmp_path / "nameless", {"base_model_name_or_path": None})
    for words, message in (
        (
            [str(tmp_path / "none"), "--out", str(tmp_path / "a")],
            "no such folder; expected one with adapter",
        ),
        ([str(adapter), "--out", str(full)], "is not empty; expected a new folder"),
        ([str(adapter), "--out", str(tmp_path / "a"), "--base", str(other)], "but it was trained on"),
        ([str(moved), "--out", str(tmp_path / "a"), "--base", str(other)], "does not fit the base"),
        ([str(moved), "--out", str(tmp_path / "a")], "which is no folder here"),
        ([str(nameless), "--out", str(tmp_path / "a")], "give it with --base"),
    ):
        with pytest.raises(SystemExit) as end:
            raise SystemExit(guarded(lambda words=words: app(["merge-adapter", *words])))
        err = capfd.readouterr().err
        assert end.value.code == 2 and message in " ".join(err.split()) and "Traceback" not in err, err
    assert not (tmp_path / "a").exists() and [p.name for p in full.iterdir()] == ["mine.txt"]


def test_a_failed_merge_leaves_nothing(adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Qwen2VLProcessor

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Qwen2VLProcessor, "save_pretrained", full)
    with pytest.raises(OSError, match="no space"):
        merge_adapter(adapter, tmp_path / "merged")
    assert not list(tmp_path.iterdir())
