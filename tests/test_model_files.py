"""A model's folder is refused when it names files elsewhere, pickled weights or code of the hub; with a sentence."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ouro.vision.folders import ModelError, load_options, load_processor
from ouro.vision.grounding import GroundingError, is_local
from ouro.vision.hf import load_model
from tasks.models import MissingModel, require_model

NANO = Path(__file__).parent.parent / "models" / "nano"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder without real weights: what is refused is refused before they are read."""
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "processor_config.json", "tokenizer_config.json", "tokenizer.json"):
        shutil.copy(NANO / name, model)
    (model / "model.safetensors").write_bytes(b"")
    return model


def _change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_whole_folder_is_taken(folder: Path) -> None:
    assert load_options(folder) == {"trust_remote_code": False, "local_files_only": True}


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "../other/model.safetensors", "sub/model.safetensors", "/etc/model.safetensors", "a.pt", 7],
)
@pytest.mark.parametrize("index", ["model.safetensors.index.json", "model.fp16.safetensors.index.json"])
def test_an_index_names_safetensors_of_its_own_folder_alone(folder: Path, name: Any, index: str) -> None:
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": {"a": "model.safetensors", "b": name}}))
    with pytest.raises(ModelError, match=f"{index}: names .*expected a .safetensors file of the same folder"):
        load_options(folder)
    with pytest.raises(MissingModel, match="names"):
        require_model(folder)  # before anything is started


@pytest.mark.parametrize("text", ["[]", "{", "[" * 200_000, '{"weight_map": []}', "\xff"])
def test_an_index_that_is_none_is_a_sentence(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json: "):
        load_options(folder)


def test_an_index_that_names_a_missing_file_says_so(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002-of-00002.safetensors"}}')
    with pytest.raises(ModelError, match=r"'model-00002-of-00002\.safetensors', which is not there"):
        load_options(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"_attn_implementation": "org/repo"},
        {"attn_implementation": "paged|org/repo@main:function"},
        {"_attn_implementation_internal": "org/repo"},
        {"_experts_implementation": "org/repo"},
        {"_attn_implementation": {"text_config": "org/repo", "vision_config": "sdpa"}},
        {"vision_config": {"_attn_implementation": "org/repo"}},
        {"towers": [{"attn_implementation": "org/repo"}]},
    ],
)
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_code_of_the_hub_is_refused_wherever_a_config_names_it(folder: Path, values: dict[str, Any], file: str) -> None:
    if file == "generation_config.json":
        (folder / file).write_text("{}")
    _change(folder / file, **values)
    with pytest.raises(ModelError, match=f"{file}: .*code of the hub, which is never run"):
        load_options(folder)


def test_an_implementation_of_the_library_is_taken(folder: Path) -> None:
    _change(folder / "config.json", _attn_implementation="sdpa", attn_implementation={"text_config": "eager"})
    assert load_options(folder)["local_files_only"]


@pytest.mark.parametrize("name", ["../x.safetensors", "adapter_model.bin", "pytorch_model.bin"])
def test_weights_that_the_config_names_lie_in_the_folder(folder: Path, name: str) -> None:
    _change(folder / "config.json", transformers_weights=name)
    with pytest.raises(ModelError, match="transformers_weights"):
        load_options(folder)


def test_an_adapters_config_beside_the_models_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "../other"}')
    with pytest.raises(ModelError, match=r"adapter_config\.json, by which another model would be loaded"):
        load_options(folder)


def test_a_detector_is_held_to_the_same(folder: Path) -> None:
    _change(folder / "config.json", _attn_implementation="org/repo")
    with pytest.raises(GroundingError, match="code of the hub"):
        is_local(str(folder))


def test_a_model_without_its_processor_is_a_sentence(folder: Path) -> None:
    for name in ("processor_config.json", "tokenizer_config.json", "tokenizer.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=r"cannot be loaded: .*Fix: fetch it whole"):
        load_processor(folder)


@pytest.mark.parametrize("model_type", ["unheard_of", "qwen2_vl"])
def test_remote_code_is_never_advised(folder: Path, model_type: str) -> None:
    auto_map = {"AutoConfig": "configuration.C", "AutoModelForImageTextToText": "modeling.M", "AutoProcessor": "p.P"}
    _change(folder / "config.json", model_type=model_type, auto_map=auto_map)
    _change(folder / "processor_config.json", processor_class="P", auto_map=auto_map)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert "trust_remote_code" not in str(caught.value)
    assert re.search("which Ouro never runs|cannot be loaded", str(caught.value))


def test_weights_that_are_no_safetensors_are_a_sentence(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(folder)
