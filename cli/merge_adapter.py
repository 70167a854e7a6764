"""`ouro merge-adapter ADAPTER --out DIR`: a trained adapter and its base as one model."""

from __future__ import annotations

from pathlib import Path

from ouro.training.merge_adapter import merge_adapter
from tasks import screen


def run(adapter: Path, out: Path, base: str | None = None, dtype: str = "float32") -> None:
    """The command. Raises TrainingError and ModelError."""
    used = merge_adapter(adapter, out, base or "", dtype)
    screen.say(f"merge-adapter: {used} + {adapter}, {dtype}")
    screen.say(f"{out}: ouro annotate photos --model {out} ..., or: vllm serve {out.resolve()}")
