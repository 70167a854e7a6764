"""Training with DeepSpeed: reads its config file, checks that it is enabled, and gathers weights that ZeRO-3 has split.

Stages 1 and 2 partition the optimizer's state and the gradients over the processes, stage 3 the weights, too.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ouro.core.files import SOURCE_ROOT
from ouro.core.json_text import parse_json
from ouro.training.job import TrainingError

SHIPPED = Path("profiles/deepspeed")


def deepspeed_file(name_or_path: str, root: Path = SOURCE_ROOT) -> Path:
    """The file of train.deepspeed: "zero2" and "zero3" are shipped, anything else is a path relative to `root`.

    Raises TrainingError when there is no such file.
    """
    shipped = root / SHIPPED / f"{name_or_path}.json"
    path = shipped if shipped.is_file() else root / name_or_path
    if path.is_file():
        return path
    names = ", ".join(sorted(p.stem for p in (root / SHIPPED).glob("*.json")))
    raise TrainingError(
        f"train.deepspeed: got {name_or_path!r}, no file {path}; expected one of {names}, or the path of a DeepSpeed "
        'file (JSON); "" trains without DeepSpeed'
    )


def deepspeed_config(name_or_path: str, root: Path = SOURCE_ROOT) -> dict[str, Any]:
    """The contents of a DeepSpeed file. Raises TrainingError that lists every problem with its fix."""
    path = deepspeed_file(name_or_path, root)
    try:
        config: Any = parse_json(path.read_text("utf-8"), object_pairs_hook=_refuse_repeats)
    except ValueError as error:
        raise TrainingError(f"DeepSpeed file {path}: not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise TrainingError(f"DeepSpeed file {path}: got a {type(config).__name__}, expected an object, {{...}}")
    from ouro.training.zero_file import problems

    if details := problems(config):
        raise TrainingError("\n  ".join([f"DeepSpeed file {path}: {len(details)} problem(s)", *details]))
    return config


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"{', '.join(repeated)}: more than once in a section; keep one")
    return dict(pairs)


def assert_enabled(trainer: Any, config: dict[str, Any]) -> None:
    """Raise TrainingError unless DeepSpeed is enabled in `trainer`, with the ZeRO stage of the config file.

    A launcher may silently ignore DeepSpeed. The stage is checked only once the training has started.
    """
    if not trainer.is_deepspeed_enabled:
        raise TrainingError(
            "train.deepspeed is set, but the trainer runs without DeepSpeed; start the training through "
            "`ouro bootstrap` or, on several machines, torchrun or the deepspeed launcher (`accelerate launch --cpu` "
            "ignores it)"
        )
    engine = getattr(trainer, "deepspeed", None)
    if engine is None:
        return
    expected_stage = int(config["zero_optimization"].get("stage", 0))
    actual_stage = int(engine.zero_optimization_stage())
    if actual_stage != expected_stage:
        raise TrainingError(
            f"train.deepspeed: the engine runs ZeRO stage {actual_stage}, expected stage {expected_stage} of the file; "
            "look for DeepSpeed settings of the launcher, e.g. ACCELERATE_DEEPSPEED_ZERO_STAGE"
        )


class _EnabledCheck(TrainerCallback):
    def __init__(self, trainer: Any, config: dict[str, Any]) -> None:
        self.trainer, self.config = trainer, config

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.deepspeed is None:
            raise TrainingError("train.deepspeed is set, but the training began without a DeepSpeed engine")
        assert_enabled(self.trainer, self.config)


def check_enabled(trainer: Any, config: dict[str, Any] | None) -> None:
    """Call `assert_enabled` now and again when the training starts; does nothing without DeepSpeed (`config` None)."""
    if config is not None:
        assert_enabled(trainer, config)
        trainer.add_callback(_EnabledCheck(trainer, config))


def join_processes(config: dict[str, Any] | None) -> None:
    """Initialise DeepSpeed's process group: without it, ZeRO-3 loads a model as if this were the only process."""
    if config is not None:
        import deepspeed
        import torch

        deepspeed.init_distributed("nccl" if torch.cuda.is_available() else "gloo", verbose=False)


def is_split(model: Any) -> bool:
    """Whether ZeRO-3 has split the weights over the processes."""
    return any(hasattr(p, "ds_id") for p in model.parameters())


@contextmanager
def gathered(model: Any) -> Generator[None]:
    """A context in which trainable weights that ZeRO-3 has split are complete; all processes must enter it."""
    split_weights = [p for p in model.parameters() if p.requires_grad and hasattr(p, "ds_id")]
    if not split_weights:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(split_weights, modifier_rank=None):
        yield


def is_complete(folder: Path) -> bool:
    """Whether a DeepSpeed checkpoint is complete: `latest`, written last, names a folder with every process's state."""
    try:
        tag = (folder / "latest").read_text().strip()
    except OSError:
        return False
    shards = list((folder / tag).glob("*_optim_states.pt")) if tag else []
    ranks = {p.name.split("zero_pp_rank_", 1)[-1].split("_", 1)[0] for p in shards}
    return (
        bool(shards) and ranks == {str(i) for i in range(len(ranks))} and any((folder / tag).glob("*model_states.pt"))
    )
