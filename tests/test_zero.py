"""DeepSpeed: what its file may say, and (slow) the same losses under ZeRO-2 and ZeRO-3 as without."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_training import BASE, curve, start

from ouro.training.job import TrainingError
from ouro.training.zero import assert_enabled, check_enabled, deepspeed_config, is_complete
from ouro.training.zero_file import KEYS, TOP_LEVEL, problems


def _written(folder: Path, config: Any) -> str:
    path = folder / "mine.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return str(path)


def _refused(folder: Path, config: Any) -> str:
    with pytest.raises(TrainingError) as caught:
        deepspeed_config(_written(folder, config))
    return str(caught.value)


def test_the_shipped_files_are_good_and_build_without_a_compiler() -> None:
    for stage in (2, 3):
        config = deepspeed_config(f"zero{stage}")
        assert config["zero_optimization"]["stage"] == stage
        assert config["optimizer"]["params"]["torch_adam"] is True
        assert config["train_micro_batch_size_per_gpu"] == config["optimizer"]["params"]["lr"] == "auto"


def test_a_path_counts_from_the_root(tmp_path: Path) -> None:
    _written(tmp_path, {"zero_optimization": {"stage": 1}})
    assert deepspeed_config("mine.json", tmp_path) == {"zero_optimization": {"stage": 1}}
    with pytest.raises(TrainingError, match=r"got 'zero4', no file .*; expected one of zero2, zero3, or the path"):
        deepspeed_config("zero4")


def test_deepspeed_itself_takes_an_unknown_key_in_silence() -> None:
    """The reason for all this; when it fails, DeepSpeed has learned to refuse them."""
    from deepspeed.runtime.config import DeepSpeedConfig

    DeepSpeedConfig({"train_micro_batch_size_per_gpu": 1, "zero_optimisation": {"stage": 3}})


def test_the_keys_listed_are_those_that_the_installed_deepspeed_asks_a_file_for() -> None:
    """Fails when a new DeepSpeed knows other keys than TOP_LEVEL and KEYS; bring them up to date."""
    from deepspeed import DeepSpeedConfig

    class Recorder(dict[str, Any]):
        def __init__(self, values: Any = ()) -> None:
            super().__init__(values)
            self.keys_asked: set[str] = set()

        def get(self, key: str, default: Any = None) -> Any:
            self.keys_asked.add(key)
            return super().get(key, default)

        def __contains__(self, key: object) -> bool:
            self.keys_asked.add(str(key))
            return super().__contains__(key)

        def __getitem__(self, key: str) -> Any:
            self.keys_asked.add(key)
            return super().__getitem__(key)

        def keys(self) -> Any:
            return self

    examples = {"optimizer": {"type": "AdamW"}, "scheduler": {"type": "WarmupLR"}}
    sections = {name: Recorder(examples.get(name, {})) for name in KEYS}
    file = Recorder({"train_micro_batch_size_per_gpu": 1, **sections})
    DeepSpeedConfig(file)
    refused = {key for key in file.keys_asked if any("has been removed" in line for line in problems({key: True}))}
    assert file.keys_asked - refused == TOP_LEVEL
    assert {name: section.keys_asked for name, section in sections.items()} == KEYS


def test_all_problems_of_a_file_come_at_once_each_with_its_fix(tmp_path: Path) -> None:
    message = _refused(
        tmp_path,
        {
            "zero_optimisation": {},
            "zero_optimization": {"stage": 5, "overlap_com": True, "offload_optimizer": {"device": "disk"}},
            "bf16": {"enable": True},
            "fp16": 3,
            "optimizer": {"type": "AdamW", "parms": {}, "params": {"lr": 0.1, "beta": 1}},
            "scheduler": {"type": "Warmup"},
            "train_batch_size": 64,
            "steps_per_print": "auto",
            "activation_checkpointing": {"profil": True},
            "elasticity": {},
        },
    )
    assert "14 problem(s)" in message.splitlines()[0]
    for line in (
        "zero_optimisation: unknown to the installed DeepSpeed, which would take no notice of it; did you mean",
        "zero_optimization.stage: got 5",
        "zero_optimization.overlap_com: unknown to the installed DeepSpeed, which would take no notice of it; did you "
        "mean 'overlap_comm'?",
        "zero_optimization.offload_optimizer.device: got 'disk'",
        "bf16.enable: unknown",
        "fp16: got 3, expected a section",
        "optimizer.parms: unknown",
        'optimizer.params.lr: got 0.1, expected "auto" or no such key; train.learning_rate decides it',
        "optimizer.params.beta: unknown",
        "scheduler.type: got 'Warmup', expected one of LRRangeTest",
        'train_batch_size: got 64, expected "auto"',
        'steps_per_print: got "auto", which nobody fills in',
        "activation_checkpointing.profil: unknown",
        "elasticity: Elastic training has been removed",
    ):
        assert f"\n  {line}" in message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "got a list, expected an object"),
        ('{"bf16": {}, "bf16": {}}', "bf16: more than once"),
        ({"steps_per_print": 5}, "zero_optimization: missing"),
        ({"zero_optimization": {"stage": "auto"}}, 'zero_optimization.stage: got "auto", which nobody fills in'),
    ],
)
def test_files_that_are_none(tmp_path: Path, config: Any, message: str) -> None:
    assert message in _refused(tmp_path, config)


@pytest.mark.parametrize(
    "section",
    [
        {"scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": "auto", "total_num_steps": "auto"}}},
        {"activation_checkpointing": {"partition_activations": True, "cpu_checkpointing": True}},
        {"wall_clock_breakdown": True, "steps_per_print": 10, "fp16": {"enabled": False}},
        {"flops_profiler": {"enabled": True, "profile_step": 2}, "aio": {"block_size": 1048576}},
        {"optimizer": {"type": "Lion", "params": {"lr": "auto"}}, "comms_logger": {"enabled": True}},
        {"bf16": {"enabled": "auto", "bf16_master_weights_and_grads": True}, "gradient_allreduce_op": "mean"},
        {"data_types": {"grad_accum_dtype": "fp32"}, "checkpoint": {"parallel_write": {"pipeline_stage": True}}},
    ],
)
def test_what_deepspeed_knows_is_let_through(tmp_path: Path, section: dict[str, Any]) -> None:
    config = {"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}, **section}
    assert deepspeed_config(_written(tmp_path, config)) == config


def _trainer(enabled: bool, stage: int | None = None) -> SimpleNamespace:
    engine = None if stage is None else SimpleNamespace(zero_optimization_stage=lambda: stage)
    added: list[Any] = []
    return SimpleNamespace(is_deepspeed_enabled=enabled, deepspeed=engine, add_callback=added.append, added=added)


def test_a_training_that_silently_goes_without_deepspeed_is_stopped() -> None:
    config = {"zero_optimization": {"stage": 3}}
    with pytest.raises(TrainingError, match="runs without DeepSpeed"):
        assert_enabled(_trainer(False), config)
    with pytest.raises(TrainingError, match="ZeRO stage 2, expected stage 3"):
        assert_enabled(_trainer(True, 2), config)
    assert_enabled(_trainer(True, 3), config)
    waiting = _trainer(True)
    check_enabled(waiting, config)
    with pytest.raises(TrainingError, match="began without a DeepSpeed engine"):
        waiting.added[0].on_train_begin(None, None, None)
    check_enabled(_trainer(False), None)


def test_a_checkpoint_of_deepspeed_is_complete_when_latest_names_its_folder(tmp_path: Path) -> None:
    assert not is_complete(tmp_path)
    (tmp_path / "latest").write_text("global_step4\n")
    assert not is_complete(tmp_path)
    (tmp_path / "global_step4").mkdir()
    for name in ("zero_pp_rank_0_mp_rank_00_model_states.pt", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"):
        assert not is_complete(tmp_path)
        (tmp_path / "global_step4" / name).touch()
    assert is_complete(tmp_path)


# ---- slow: two gloo processes on drawn scenes --------------------------------------------------------

LOSSES = ("loss_desc", "loss_qa", "loss", "grad_norm")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes without DeepSpeed, eight steps in float32."""
    return _trained(tmp_path_factory.mktemp("plain"))


def _trained(folder: Path, **params: Any) -> Path:
    process = start(folder, **params)
    process.communicate()
    assert process.returncode == 0
    return folder


def _tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter" / "adapter_model.safetensors")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("stage", "processes"), [("zero2", 2), ("zero3", 2), ("zero3", 1)])
def test_the_losses_are_those_without_deepspeed(plain: Path, tmp_path: Path, stage: str, processes: int) -> None:
    """DeepSpeed divides work, it changes no result; the first use builds an extension for a minute."""
    import torch

    from ouro.vision.adapters import merge_into
    from ouro.vision.hf import load_model

    folder = _trained(tmp_path / "a", deepspeed=stage, processes=processes)
    ours, theirs = curve(folder), curve(plain)
    assert [h["step"] for h in ours] == [h["step"] for h in theirs] == list(range(1, 9))
    print(stage, processes, [(h["loss_desc"], h["loss_qa"]) for h in ours])
    if processes == 2:  # one process takes the mean over both images' tokens, not the mean of two means
        for name in LOSSES:
            assert [h[name] for h in ours] == pytest.approx([h[name] for h in theirs], rel=1e-3, abs=1e-5)
        reference = _tensors(plain)
        assert all(torch.allclose(t, reference[k], rtol=0, atol=1e-3) for k, t in _tensors(folder).items())
    assert _tensors(folder).keys() == _tensors(plain).keys()
    model, processor = load_model(BASE)
    merge_into(model, processor, folder / "adapter")  # raises unless it changes the output


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_a_killed_training_continues_from_deepspeeds_checkpoint(plain: Path, tmp_path: Path, stage: str) -> None:
    import torch

    broken = start(tmp_path, deepspeed=stage)
    assert broken.stdout is not None
    for line in broken.stdout:
        if line.strip() == "5":  # a checkpoint follows every third step
            broken.send_signal(signal.SIGKILL)
            break
    broken.wait()
    assert not (tmp_path / "adapter").exists()
    second = start(tmp_path, deepspeed=stage)
    steps = [int(line) for line in second.communicate()[0].splitlines() if line.isdigit()]
    assert second.returncode == 0 and min(steps) == 4
    assert [h["loss_desc"] for h in curve(tmp_path)] == pytest.approx([h["loss_desc"] for h in curve(plain)], rel=1e-3)
    reference = _tensors(plain)
    assert all(torch.allclose(t, reference[k], rtol=0, atol=1e-3) for k, t in _tensors(tmp_path).items())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_bad_file_is_refused_in_the_workers_by_the_same_words(tmp_path: Path) -> None:
    from tiny_training import scene_job

    from ouro.training.launch import train

    mine = _written(tmp_path, {"zero_optimization": {"stage": 2}, "optimiser": {}})
    with pytest.raises(TrainingError, match="optimiser: unknown to the installed DeepSpeed"):
        train(scene_job(tmp_path / "a", 2, deepspeed=mine))
