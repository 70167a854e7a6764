"""Adapters of other trainers: what peft can merge is merged, to the adapted model's outputs; else the true reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from foreign_adapters import CONFIG, WEIGHTS, ask, change_config, rename_tensors, save_adapter, save_base
from safetensors.torch import load_file, save_file

from ouro.training.job import TrainingError
from ouro.training.merge_adapter import merge_adapter
from ouro.vision.folders import ModelError
from ouro.vision.hf import HFVisionLM, load_model
from tasks.models import MissingModel, require_adapter

LANGUAGE = "model.language_model.layers.0"
CLOSE = 2e-4  # of logits of about 1


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def plain(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """An ordinary LoRA adapter and the adapted model's logits."""
    folder = tmp_path_factory.mktemp("plain") / "adapter"
    return folder, save_adapter(base, folder, peft.LoraConfig(r=4, target_modules=["q_proj", "qkv"]))


def _copy(adapter: Path, tmp_path: Path) -> Path:
    return shutil.copytree(adapter, tmp_path / "copy")


def _check_both_ways(base: Path, adapter: Path, expected: Any, tmp_path: Path) -> HFVisionLM:
    """The annotator with the adapter, and the folder that merge-adapter writes, answer as the adapted model."""
    require_adapter(adapter)
    annotator = HFVisionLM(base, adapter)
    assert (ask(annotator.model, annotator.encoder.processor) - expected).abs().max() < CLOSE
    merge_adapter(adapter, tmp_path / "merged", str(base))
    merged, processor = load_model(tmp_path / "merged")
    assert (ask(merged, processor) - expected).abs().max() < CLOSE
    plain_model, plain_processor = load_model(base)
    if len(plain_processor.tokenizer) == len(processor.tokenizer):
        assert (ask(plain_model, plain_processor) - expected).abs().max() > 10 * CLOSE, "the adapter does something"
    return annotator


PROJECTIONS = ["q_proj", "k_proj", "qkv", "down_proj"]
MERGED: dict[str, Callable[[], Any]] = {
    "dora": lambda: peft.LoraConfig(r=4, target_modules=PROJECTIONS, use_dora=True),
    "bias all": lambda: peft.LoraConfig(r=4, target_modules=PROJECTIONS, bias="all"),
    "rslora": lambda: peft.LoraConfig(r=4, target_modules=PROJECTIONS, use_rslora=True),
    "patterns": lambda: peft.LoraConfig(
        r=4, target_modules=PROJECTIONS, rank_pattern={"k_proj": 2, r"layers\.0\.self_attn\.q_proj": 6},
        alpha_pattern={"down_proj": 32},
    ),
    "modules to save": lambda: peft.LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head", "ln_q"]),
    "embeddings saved": lambda: peft.LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens"]),
    "embeddings": lambda: peft.LoraConfig(r=4, target_modules=["embed_tokens", "q_proj"]),
    "output layer": lambda: peft.LoraConfig(r=4, target_modules=["lm_head", "q_proj"]),
    "tokens": lambda: peft.LoraConfig(r=4, target_modules=["q_proj"], trainable_token_indices=[5, 6]),
    "patch embedding": lambda: peft.LoraConfig(r=4, target_modules=["patch_embed.proj"]),
    "pissa": lambda: peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights="pissa"),
    "lora bias": lambda: peft.LoraConfig(r=4, target_modules=["q_proj"], lora_bias=True),
    "all linear": lambda: peft.LoraConfig(r=4, target_modules="all-linear", exclude_modules=r".*visual.*"),
    "some layers": lambda: peft.LoraConfig(r=4, target_modules=["q_proj"], layers_to_transform=[0, 2]),
    "loha": lambda: peft.LoHaConfig(r=4, target_modules=PROJECTIONS),
    "lokr": lambda: peft.LoKrConfig(r=4, target_modules=PROJECTIONS),
    "ia3": lambda: peft.IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "adalora": lambda: peft.AdaLoraConfig(init_r=4, target_r=2, total_step=10, target_modules=PROJECTIONS),
    "oft": lambda: peft.OFTConfig(oft_block_size=16, target_modules=["q_proj"]),
    "vera": lambda: peft.VeraConfig(r=4, target_modules=["q_proj", "o_proj"]),
    "fourier": lambda: peft.FourierFTConfig(n_frequency=50, target_modules=["q_proj"], scaling=150.0),
    "layer norms": lambda: peft.LNTuningConfig(target_modules=["input_layernorm"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", MERGED)
def test_what_peft_can_merge_is_merged(kind: str, base: Path, tmp_path: Path) -> None:
    expected = save_adapter(base, tmp_path / "adapter", MERGED[kind]())
    _check_both_ways(base, tmp_path / "adapter", expected, tmp_path)


def _old_name(name: str) -> str:
    """As transformers before 4.52 called Qwen2-VL's modules."""
    return name.replace("model.language_model.", "model.").replace("model.model.visual.", "model.visual.")


RENAMED: dict[str, Callable[[str], str]] = {
    "adapter's name": lambda name: name.replace(".weight", ".default.weight"),
    "another adapter's name": lambda name: name.replace(".weight", ".sft.weight"),
    "data parallel": lambda name: f"module.{name}",
    "compiled": lambda name: f"_orig_mod.{name}",
    "sharded": lambda name: name.replace("base_model.model.", "base_model.model._fsdp_wrapped_module."),
    "injected": lambda name: name.removeprefix("base_model.model."),
    "before transformers 4.52": _old_name,
    "of the inner model": lambda name: name.replace("base_model.model.model.", "base_model.model."),
    "of a text model": lambda name: name.replace("model.language_model.", "language_model.model."),
}


@pytest.mark.parametrize("kind", RENAMED)
def test_tensors_under_other_prefixes_are_the_same(
    kind: str, base: Path, plain: tuple[Path, Any], tmp_path: Path
) -> None:
    adapter, expected = _copy(plain[0], tmp_path), plain[1]
    rename_tensors(adapter, RENAMED[kind])
    _check_both_ways(base, adapter, expected, tmp_path)


def test_patterns_of_old_names_mean_the_old_names(base: Path, tmp_path: Path) -> None:
    """A pattern for the language model alone: by today's names it means the vision tower, too."""
    config = peft.LoraConfig(
        r=4, target_modules=r"model\.language_model\..*\.(q_proj|up_proj|qkv)",
        rank_pattern={r"model\.language_model\.layers\.1\.self_attn\.q_proj": 2},
        alpha_pattern={r"model\.language_model\.layers\.0\.self_attn\.q_proj": 64},
    )  # fmt: skip
    expected = save_adapter(base, tmp_path / "adapter", config)
    rename_tensors(tmp_path / "adapter", _old_name)
    change_config(
        tmp_path / "adapter", target_modules=r"^(model(?=\.).*\.(q_proj|up_proj|qkv))$",
        rank_pattern={"model.layers.1.self_attn.q_proj": 2}, alpha_pattern={"model.layers.0.self_attn.q_proj": 64},
    )  # fmt: skip
    _check_both_ways(base, tmp_path / "adapter", expected, tmp_path)


def test_biases_of_adapted_modules_alone_are_taken(base: Path, tmp_path: Path) -> None:
    """bias: lora_only; earlier releases of peft wrote MODULE.bias beside MODULE.lora_A.weight."""
    expected = save_adapter(base, tmp_path / "adapter", peft.LoraConfig(r=4, target_modules=["q_proj"], bias="all"))
    change_config(tmp_path / "adapter", bias="lora_only")
    rename_tensors(tmp_path / "adapter", lambda name: name.replace(".base_layer.bias", ".bias"))
    _check_both_ways(base, tmp_path / "adapter", expected, tmp_path)


def _add_tokens(model: Any, processor: Any) -> None:
    processor.tokenizer.add_tokens(["<red>", "<blue>"])
    model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)


def _save_with_new_tokens(base: Path, adapter: Path) -> Any:
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    expected = save_adapter(base, adapter, config, _add_tokens)
    return expected


def test_new_tokens_come_with_the_tokenizer_beside_the_adapter(base: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    expected = _save_with_new_tokens(base, adapter)
    _, processor = load_model(base)
    n_tokens = len(processor.tokenizer)
    processor.tokenizer.add_tokens(["<red>", "<blue>"])
    processor.tokenizer.save_pretrained(adapter)
    annotator = _check_both_ways(base, adapter, expected, tmp_path)
    assert annotator.encoder.tokenizer.convert_tokens_to_ids("<blue>") == n_tokens + 1
    assert len(load_model(tmp_path / "merged")[1].tokenizer) == n_tokens + 2


def test_new_tokens_without_a_tokenizer_are_refused(base: Path, tmp_path: Path) -> None:
    _save_with_new_tokens(base, tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"was trained with \d+ tokens, and the base has \d+.*no tokenizer beside it"):
        HFVisionLM(base, tmp_path / "adapter")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"peft_type": "PREFIX_TUNING"}, "peft_type PREFIX_TUNING: .*no weights of the model"),
    ({"peft_type": "PROMPT_TUNING"}, "peft_type PROMPT_TUNING: .*no weights of the model"),
    ({"peft_type": "XLORA"}, "peft_type XLORA: "),
    ({"peft_type": "SORCERY"}, "peft_type SORCERY: unknown to the installed peft"),
    ({"peft_type": None}, "no peft_type"),
    ({"alora_invocation_tokens": [3, 4]}, "alora_invocation_tokens: .*depends on the text"),
    ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication: "),
    ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, "megatron_config: .*never"),
    ({"init_lora_weights": "corda", "corda_config": {"cache_file": "x.pt"}}, "init_lora_weights corda: "),
    ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights pissa_niter_4: .*cannot be repeated"),
    ({"init_lora_weights": "loftq"}, "init_lora_weights loftq: "),
    ({"arrow_config": {"task_adapter_names": ["org/a"]}}, "arrow_config: "),
    ({"an_option_of_tomorrow": 7}, r"an_option_of_tomorrow: got 7, which the installed peft \S+ does not know"),
    ({"r": "8; import os"}, "adapter"),
    ({"target_modules": ["no_such_module"]}, "adapter"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED)
def test_what_cannot_be_merged_is_refused_with_the_true_reason(
    values: dict[str, Any], message: str, base: Path, plain: tuple[Path, Any], tmp_path: Path
) -> None:
    adapter = _copy(plain[0], tmp_path)
    change_config(adapter, **values)
    with pytest.raises(ModelError, match=message):
        HFVisionLM(base, adapter)
    with pytest.raises((ModelError, TrainingError), match=message):
        merge_adapter(adapter, tmp_path / "merged", str(base))
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("values", [{"an_option_of_tomorrow": False}, {"auto_mapping": {"parent_library": "evil"}}])
def test_keys_that_say_nothing_or_are_never_used_are_taken(
    values: dict[str, Any], base: Path, plain: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = _copy(plain[0], tmp_path)
    change_config(adapter, **values)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    _check_both_ways(base, adapter, plain[1], tmp_path)
    assert not (tmp_path / "ran").exists()


def test_pickles_are_never_loaded(base: Path, plain: tuple[Path, Any], tmp_path: Path) -> None:
    adapter = _copy(plain[0], tmp_path)
    torch.save(load_file(adapter / WEIGHTS), adapter / "adapter_model.bin")
    _check_both_ways(base, adapter, plain[1], tmp_path)  # beside safetensors it is not looked at
    (adapter / WEIGHTS).unlink()
    for check in (lambda: HFVisionLM(base, adapter), lambda: require_adapter(adapter)):
        with pytest.raises((ModelError, MissingModel), match=r"adapter_model\.bin, a pickle, which is never loaded"):
            check()
    with pytest.raises((ModelError, TrainingError), match=r"adapter_model\.bin, a pickle, which is never loaded"):
        merge_adapter(adapter, tmp_path / "other", str(base))


def test_an_adapter_in_a_subfolder_is_named(base: Path, plain: tuple[Path, Any], tmp_path: Path) -> None:
    shutil.copytree(plain[0], tmp_path / "saved/sft")
    with pytest.raises(ModelError, match=r"no adapter_config\.json in it, but in sft"):
        HFVisionLM(base, tmp_path / "saved")


def test_missing_tensors_are_counted(base: Path, plain: tuple[Path, Any], tmp_path: Path) -> None:
    adapter = _copy(plain[0], tmp_path)
    rename_tensors(adapter, lambda name: None if "layers.1." in name else name)
    with pytest.raises(ModelError, match=r"2 tensors .*are not in it, such as \S*layers\.1\.self_attn\.q_proj\.lora_"):
        HFVisionLM(base, adapter)


def test_extra_tensors_are_counted(base: Path, plain: tuple[Path, Any], tmp_path: Path) -> None:
    adapter = _copy(plain[0], tmp_path)
    tensors = load_file(adapter / WEIGHTS)
    name = f"base_model.model.{LANGUAGE}.self_attn.q_proj.lora_A.weight"
    save_file({**tensors, name.replace("layers.0", "layers.7"): tensors[name].clone()}, adapter / WEIGHTS)
    with pytest.raises(ModelError, match=r"1 tensors .*no place in the base, such as \S*layers\.7\."):
        HFVisionLM(base, adapter)


def test_a_wrong_base_is_told_by_its_class(plain: tuple[Path, Any], tmp_path: Path) -> None:
    other = save_base(tmp_path / "other", "Qwen3VL")
    for make in (lambda: HFVisionLM(other, plain[0]), lambda: merge_adapter(plain[0], tmp_path / "out", str(other))):
        with pytest.raises((ModelError, TrainingError), match=r"was trained on"):
            make()


def test_a_base_of_other_sizes_is_said(base: Path, plain: tuple[Path, Any], tmp_path: Path) -> None:
    adapter = _copy(plain[0], tmp_path)
    tensors = load_file(adapter / WEIGHTS)
    save_file(
        {n: t[:, :32].contiguous() if "lora_A" in n and "q_proj" in n else t for n, t in tensors.items()},
        adapter / WEIGHTS,
    )
    with pytest.raises(ModelError, match=r"does not fit the base, was it trained on another.*size mismatch"):
        HFVisionLM(base, adapter)


def test_a_base_of_another_name_is_a_warning(
    base: Path, plain: tuple[Path, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = _copy(plain[0], tmp_path)
    change_config(adapter, base_model_name_or_path="org/Other-VL-7B")
    HFVisionLM(base, adapter)
    assert "an adapter trained on org/Other-VL-7B is merged into" in caplog.text


def test_an_empty_or_damaged_file_is_a_sentence(base: Path, plain: tuple[Path, Any], tmp_path: Path) -> None:
    adapter = _copy(plain[0], tmp_path)
    save_file({name: tensor[:0] for name, tensor in load_file(adapter / WEIGHTS).items()}, adapter / WEIGHTS)
    with pytest.raises(ModelError, match="without weights"):
        HFVisionLM(base, adapter)
    (adapter / WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="not a safetensors file"):
        HFVisionLM(base, adapter)


def test_an_adapter_of_a_quantised_copy_is_merged_into_the_base(
    base: Path, plain: tuple[Path, Any], tmp_path: Path
) -> None:
    adapter = _copy(plain[0], tmp_path)
    for name in (
        "unsloth/tiny-bnb-4bit",
        "org/tiny-unsloth-bnb-4bit",
        "org/tiny-GPTQ-Int4",
        "org/tiny-AWQ",
        "o/tiny-FP8",
    ):
        change_config(adapter, base_model_name_or_path=name)
        merge_adapter(adapter, tmp_path / name, str(base))
        assert (tmp_path / name / "model.safetensors").is_file()


def test_a_quantised_base_is_refused_for_what_it_is(base: Path, plain: tuple[Path, Any], tmp_path: Path) -> None:
    quantised = shutil.copytree(base, tmp_path / "tiny")
    config = json.loads((quantised / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (quantised / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"quantised \(bitsandbytes\).*merge.*unquantised"):
        HFVisionLM(quantised, plain[0])
    with pytest.raises(ModelError, match=r"quantised \(bitsandbytes\).*merge.*unquantised"):
        merge_adapter(plain[0], tmp_path / "out", str(quantised))


@pytest.mark.parametrize("name", ["../tiny", "org/tiny", "//host/share/tiny", "https://host/tiny", "models/none"])
def test_a_base_is_taken_from_the_adapter_only_where_it_lies_here(
    name: str, plain: tuple[Path, Any], tmp_path: Path
) -> None:
    adapter = _copy(plain[0], tmp_path)
    change_config(adapter, base_model_name_or_path=name)
    with pytest.raises(TrainingError, match=r"names the base .*, which is no folder here.*--base"):
        merge_adapter(adapter, tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"use_rslora": True}, "use_rslora True"),
        ({"use_dora": True}, "use_dora True"),
        ({"bias": "all"}, "bias all"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern"),
        ({"peft_type": "LOHA"}, "peft_type LOHA"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights pissa"),
        ({"layers_to_transform": [0]}, "layers_to_transform"),
    ],
)
def test_training_goes_on_with_plain_lora_alone(
    values: dict[str, Any], message: str, plain: tuple[Path, Any], tmp_path: Path
) -> None:
    """rslora and alpha_pattern were scaled wrongly without a word."""
    from ouro.training.lora import find_start_differences

    adapter = _copy(plain[0], tmp_path)
    own = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "qkv"])
    assert find_start_differences(own, json.loads((adapter / CONFIG).read_text())) == []
    change_config(adapter, **values)
    assert message in ", ".join(find_start_differences(own, json.loads((adapter / CONFIG).read_text())))
