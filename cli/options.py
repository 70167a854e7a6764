"""Options that several commands share, and the params that they give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from ouro.core.params import Params

Backend = Literal["hf", "openai"]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one param, e.g. train.k=3. May be repeated."),
]
ParamsFile = Annotated[
    Path | None,
    typer.Option("--params", metavar="FILE", help="Read params from FILE instead of params.yaml."),
]
Profile = Annotated[str | None, typer.Option(metavar="NAME", help="Read params from profiles/NAME.yaml, e.g. paper.")]
WhoRuns = Annotated[Backend | None, typer.Option(help="Who runs the model: this machine (hf), or a server.")]
AskAgain = Annotated[bool, typer.Option("--ask-again", help="Use no kept reply: ask the model everything anew.")]
Url = Annotated[
    str | None, typer.Option(metavar="URL", help="That server: any OpenAI-compatible one (vLLM, SGLang, ...).")
]
Dataset = Annotated[Path, typer.Argument(metavar="DIR", help="What `ouro annotate --out` wrote, or data.")]
Form = Literal["table", "markdown", "json"]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def read_params(file: Path | None, profile: str | None, overrides: list[str] | None) -> Params:
    """What --params, --profile and --set say. Raises ParamsError."""
    from ouro.core.params import load_params
    from tasks.settings import params_file

    return load_params(params_file(file, profile), tuple(overrides or []))
