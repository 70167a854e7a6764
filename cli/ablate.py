"""`ouro ablate`: a grid over params, several seeds an arm."""

from __future__ import annotations

from typing import Annotated

import typer


def ablate(
    grid_name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A grid of the paper: k (Table 5), annotations (Table 6).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=V1,V2", help="Values of a param. May be repeated."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Trainings an arm: seeds 0 to N - 1.")] = 3,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of every arm, instead of params.yaml's.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Its folder below ablations/; by default from the grid."),
    ] = None,
) -> None:
    """Compare settings: train every arm of a grid with several seeds, and score all on the same questions.

    Needs the annotations of `ouro bootstrap`. Each arm and seed is a cached stage of DVC and a nested MLflow run: what
    is up to date is not run again, a killed ablation goes on. Ends with table and figure beside the paper's own.
    docs/ablations.md says what the numbers mean.

    \b
    Examples:
      ouro ablate k
      ouro ablate annotations --seeds 5
      ouro ablate --set train.k=0,5 --set train.selection=random,informative --seeds 3
      ouro ablate k --set train.k=0,5 --epochs 4 --name short
    """
    from flows.ablate import run

    run(grid_name, set_ or [], seeds, epochs, name)
