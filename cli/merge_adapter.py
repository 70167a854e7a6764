"""`ouro merge-adapter ADAPTER --out DIR`: a trained adapter and its base as one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Dtype = Literal["float32", "bfloat16"]


def merge_adapter(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="What the stage train wrote.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the model goes; a new folder.")],
    base: Annotated[
        str | None, typer.Option(metavar="NAME", help="The adapter's base, where it lies; by default where it lay.")
    ] = None,
    dtype: Annotated[Dtype, typer.Option(help="Of the stored weights: exact, or half as large.")] = "float32",
) -> None:
    """Merge a trained adapter into its base: a plain Hugging Face folder, for any server or trainer.

    \b
    Examples:
      ouro merge-adapter models/adapter --out models/second
      ouro merge-adapter models/adapter --out models/second --dtype bfloat16
      ouro merge-adapter runs/adapter --out runs/merged --base models/Qwen2-VL-7B-Instruct
    """
    from ouro.training.merge_adapter import merge_adapter as merge
    from tasks import screen

    base_name = merge(adapter, out, base or "", dtype)
    screen.say(f"merge-adapter: {base_name} + {adapter}, {dtype}")
    screen.say(f"{out}: ouro annotate photos --model {out} ..., or: vllm serve {out.resolve()}")
