"""`ouro train DIR`: an adapter, trained on a folder that was annotated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Dataset, ParamsFile, Profile, Set, read_params


def train(
    folder: Dataset,
    out: Annotated[Path | None, typer.Option(help="Where the adapter goes; by default DIR/adapter.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="The base that learns; by default model.base of the params.")
    ] = None,
    track: Annotated[bool, typer.Option("--track/--no-track", help="Whether MLflow gets the losses.")] = True,
    set_: Set = None,
    params: ParamsFile = None,
    profile: Profile = None,
) -> None:
    """Train a LoRA adapter on annotated images: full image + k regions, description and questions (eq. 6, 7).

    Steps and losses go to the screen, to MLflow and to Prefect. A run that was killed goes on from its last
    checkpoint; a finished one is restored. Several processes: train.processes; DeepSpeed: train.deepspeed.

    \b
    Examples:
      ouro train out/photos
      ouro train out/photos --out out/adapter --set train.k=3 --set train.selection=informative
      ouro train data --profile paper --model models/Qwen2-VL-7B-Instruct --set train.deepspeed=zero2
      ouro train out/photos --no-track
    """
    from flows.train_folder import run

    train_params = read_params(params, profile, set_)
    if model is not None:
        train_params = train_params.model_copy(update={"model": train_params.model.model_copy(update={"base": model})})
    run(folder, out or folder / "adapter", train_params, track)
